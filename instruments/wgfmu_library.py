"""The vendor's WGFMU instrument library, `wgfmu.dll`, bound by ctypes; see `instruments.wgfmu` for what it is for.

Signatures as in the public header `wgfmu.h` of 2008, `_stdcall`. The library is loaded only when it is asked for; it
exists for Windows, needs the maker's I/O libraries, and holds one session at a time.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_int
from typing import Any

import numpy as np

from instruments.errors import ConfigError
from instruments.wgfmu_functions import Floats, WgfmuError

NAME = "wgfmu.dll"
_INTS, _DOUBLES = POINTER(c_int), POINTER(c_double)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "openSession": (c_char_p,), "closeSession": (), "initialize": (), "clear": (),
    "getChannelIdSize": (_INTS,), "getChannelIds": (_INTS, _INTS),
    "getErrorSummarySize": (_INTS,), "getErrorSummary": (c_char_p, _INTS),
    "setOperationMode": (c_int, c_int), "setForceVoltageRange": (c_int, c_int), "setMeasureMode": (c_int, c_int),
    "setMeasureVoltageRange": (c_int, c_int), "setMeasureCurrentRange": (c_int, c_int),
    "setMeasureEnabled": (c_int, c_int), "connect": (c_int,), "disconnect": (c_int,),
    "createPattern": (c_char_p, c_double), "addVectors": (c_char_p, _DOUBLES, _DOUBLES, c_int),
    "setMeasureEvent": (c_char_p, c_char_p, c_double, c_int, c_double, c_double, c_int),
    "setRangeEvent": (c_char_p, c_char_p, c_double, c_int), "addSequence": (c_int, c_char_p, c_double),
    "execute": (), "waitUntilCompleted": (), "abort": (), "getStatus": (_INTS, _DOUBLES, _DOUBLES),
    "getMeasureValueSize": (c_int, _INTS, _INTS),
    "getMeasureValues": (c_int, c_int, _INTS, _DOUBLES, _DOUBLES),
    "dcforceVoltage": (c_int, c_double), "dcmeasureValue": (c_int, _DOUBLES),
}  # fmt: skip
"""Functions used, without their prefix WGFMU_; all return an int."""
_DISABLED, _ENABLED = 7000, 7001


def load(path: str = NAME) -> "VendorLibrary":
    """The installed library.

    Args:
        path: its file, or its name where the system looks for libraries.

    Raises:
        ConfigError: it isn't installed, can't be loaded here, or lacks a function.
    """
    loader: Any = getattr(ctypes, "WinDLL", ctypes.CDLL)  # _stdcall, and WinDLL, exist on Windows only
    try:
        return VendorLibrary(loader(path))
    except OSError as error:
        raise ConfigError(
            f"WGFMU: {path} can't be loaded ({error}); install the B1530A instrument library, or use the twin"
        ) from error


class VendorLibrary:
    """A `WgfmuLibrary` over a loaded shared library."""

    def __init__(self, dll: Any) -> None:
        """Take over the functions; ConfigError if one is missing."""
        self._calls: dict[str, Any] = {}
        for name, arguments in SIGNATURES.items():
            try:
                function = getattr(dll, "WGFMU_" + name)
            except AttributeError as error:
                raise ConfigError(f"WGFMU: the library has no function WGFMU_{name}; is it the right one?") from error
            function.argtypes, function.restype = list(arguments), c_int
            self._calls[name] = function

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._calls[name](*arguments)
        if code < 0:
            raise WgfmuError(code, f"WGFMU_{name}{self._summary()}")

    def _summary(self) -> str:
        size = c_int(0)
        if self._calls["getErrorSummarySize"](byref(size)) < 0 or size.value <= 0:
            return ""
        text = ctypes.create_string_buffer(size.value + 1)
        self._calls["getErrorSummary"](text, byref(size))
        return f": {text.value.decode('ascii', 'replace').strip()}"

    def open_session(self, address: str) -> None:
        """WGFMU_openSession."""
        self._call("openSession", address.encode())

    def close_session(self) -> None:
        """WGFMU_closeSession."""
        self._call("closeSession")

    def initialize(self) -> None:
        """WGFMU_initialize."""
        self._call("initialize")

    def clear(self) -> None:
        """WGFMU_clear."""
        self._call("clear")

    def channel_ids(self) -> list[int]:
        """WGFMU_getChannelIds."""
        size = c_int(0)
        self._call("getChannelIdSize", byref(size))
        found = (c_int * max(1, size.value))()
        self._call("getChannelIds", found, byref(size))
        return list(found[: size.value])

    def set_operation_mode(self, channel: int, mode: int) -> None:
        """WGFMU_setOperationMode."""
        self._call("setOperationMode", channel, mode)

    def set_force_voltage_range(self, channel: int, force_range: int) -> None:
        """WGFMU_setForceVoltageRange."""
        self._call("setForceVoltageRange", channel, force_range)

    def set_measure_mode(self, channel: int, mode: int) -> None:
        """WGFMU_setMeasureMode."""
        self._call("setMeasureMode", channel, mode)

    def set_measure_voltage_range(self, channel: int, voltage_range: int) -> None:
        """WGFMU_setMeasureVoltageRange."""
        self._call("setMeasureVoltageRange", channel, voltage_range)

    def set_measure_current_range(self, channel: int, current_range: int) -> None:
        """WGFMU_setMeasureCurrentRange."""
        self._call("setMeasureCurrentRange", channel, current_range)

    def set_measure_enabled(self, channel: int, enabled: bool) -> None:
        """WGFMU_setMeasureEnabled."""
        self._call("setMeasureEnabled", channel, _ENABLED if enabled else _DISABLED)

    def connect(self, channel: int) -> None:
        """WGFMU_connect."""
        self._call("connect", channel)

    def disconnect(self, channel: int) -> None:
        """WGFMU_disconnect."""
        self._call("disconnect", channel)

    def create_pattern(self, pattern: str, volts: float) -> None:
        """WGFMU_createPattern."""
        self._call("createPattern", pattern.encode(), volts)

    def add_vectors(self, pattern: str, durations: Sequence[float], volts: Sequence[float]) -> None:
        """WGFMU_addVectors."""
        count = len(durations)
        self._call("addVectors", pattern.encode(), (c_double * count)(*durations), (c_double * count)(*volts), count)

    def set_measure_event(
        self, pattern: str, event: str, time: float, points: int, interval: float, average: float, data: int
    ) -> None:
        """WGFMU_setMeasureEvent."""
        self._call("setMeasureEvent", pattern.encode(), event.encode(), time, points, interval, average, data)

    def set_range_event(self, pattern: str, event: str, time: float, current_range: int) -> None:
        """WGFMU_setRangeEvent."""
        self._call("setRangeEvent", pattern.encode(), event.encode(), time, current_range)

    def add_sequence(self, channel: int, pattern: str, loops: float) -> None:
        """WGFMU_addSequence."""
        self._call("addSequence", channel, pattern.encode(), loops)

    def execute(self) -> None:
        """WGFMU_execute."""
        self._call("execute")

    def wait_until_completed(self) -> None:
        """WGFMU_waitUntilCompleted."""
        self._call("waitUntilCompleted")

    def abort(self) -> None:
        """WGFMU_abort."""
        self._call("abort")

    def status(self) -> tuple[int, float, float]:
        """WGFMU_getStatus."""
        state, elapsed, total = c_int(0), c_double(0.0), c_double(0.0)
        self._call("getStatus", byref(state), byref(elapsed), byref(total))
        return state.value, elapsed.value, total.value

    def measure_value_size(self, channel: int) -> tuple[int, int]:
        """WGFMU_getMeasureValueSize."""
        there, total = c_int(0), c_int(0)
        self._call("getMeasureValueSize", channel, byref(there), byref(total))
        return there.value, total.value

    def measure_values(self, channel: int, offset: int, size: int) -> tuple[Floats, Floats]:
        """WGFMU_getMeasureValues."""
        count = c_int(size)
        times, values = (c_double * max(1, size))(), (c_double * max(1, size))()
        self._call("getMeasureValues", channel, offset, byref(count), times, values)
        return np.array(times[: count.value]), np.array(values[: count.value])

    def dc_force_voltage(self, channel: int, volts: float) -> None:
        """WGFMU_dcforceVoltage."""
        self._call("dcforceVoltage", channel, volts)

    def dc_measure_value(self, channel: int) -> float:
        """WGFMU_dcmeasureValue."""
        value = c_double(0.0)
        self._call("dcmeasureValue", channel, byref(value))
        return value.value
