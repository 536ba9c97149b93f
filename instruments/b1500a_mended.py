"""pymeasure's B1500 driver without the defects of its release 0.16.

Mended: `read_data` under pandas 3; SPGU period and duration printed without their small digits; SMU ramps that start at
0 V and sleep on the machine's clock; getters that raise (`sampling_mode`, `meas_range_current`, `meas_range_voltage`,
`query_meas_mode`); `read_channels` leaving half a terminator behind; binary replies read byte by byte; error texts cut
at the first comma; `clear()` sending `*CLS`, which a B1500A doesn't know.
"""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pyvisa
from pymeasure.instruments import Channel
from pymeasure.instruments.agilent.agilentB1500 import SMU, SPGU, AgilentB1500, SamplingMode, SPGUOutputMode
from pymeasure.instruments.validators import strict_range

from instruments.b1500a_pulses import number
from instruments.clock import Clock
from instruments.errors import InstrumentError, LinkError
from instruments.link import readable

_ERROR = re.compile(r'\s*(?P<code>[+-]?[0-9]{1,4})\s*(?:,\s*"?(?P<text>[^"]*)"?)?\s*')
QUEUE_LENGTH = 30
"""Errors the instrument keeps (Programming Guide, ERRX?)."""


class RampingSMU(SMU):
    """pymeasure's SMU with getters that work, and ramps from where the output is."""

    def ramp_source(
        self,
        source_type: str,
        source_range: int | str,
        target_output: float,
        comp: float | str = "",
        comp_polarity: int | str = "",
        comp_range: int | str = "",
        stepsize: float = 0.001,
        pause: float = 20e-3,
    ) -> None:
        """Ramp to `target_output` (V or A) in steps of at most `stepsize`, `pause` s apart on the parent's clock.

        A channel that is off, or sources the other quantity, starts from 0. Other parameters as in pymeasure's `force`.
        """
        status = self._query_status_raw()
        key = f"{'DV' if source_type.upper() == 'VOLTAGE' else 'DI'}{self.id}"
        with readable("B1500A, *LRN?"):
            start = float(status[key][1]) if key in status else 0.0
            if not abs(start) <= 200.0:  # V or A; no SMU can, and the ramp would not end
                raise ValueError(f"{key} at {start:g}")
        steps = max(1, math.ceil(abs(target_output - start) / stepsize - 1e-9))
        for level in np.linspace(start, target_output, steps + 1)[1:-1]:
            self.force(source_type, source_range, float(level), comp, comp_polarity, comp_range)
            self.parent.clock.sleep(pause)
        self.force(source_type, source_range, target_output, comp, comp_polarity, comp_range)

    @SMU.meas_range_current.getter
    def meas_range_current(self) -> Any:
        """Control current measurement range; reads a (name, index) tuple. (``RI``)."""
        with readable("B1500A, *LRN? 32"):
            return self.current_ranging.meas(int(self.query_learn(32, "RI")))

    @SMU.meas_range_voltage.getter
    def meas_range_voltage(self) -> Any:
        """Control voltage measurement range; reads a (name, index) tuple. (``RV``)."""
        with readable("B1500A, *LRN? 32"):
            return self.voltage_ranging.meas(int(self.query_learn(32, "RV")))


class ExactSPGU(SPGU):
    """pymeasure's SPGU with period and duration sent to their last digit."""

    period = Channel.control(
        "SPPER?",
        "SPPER %.9G",
        "Control the pulse period of all SPGU channels, s (float strictly 2e-8 to 10). (``SPPER``)",
        validator=strict_range,
        values=[2e-8, 10],
    )

    def set_output_mode(self, mode: Any, condition: float | None = None) -> None:
        """Set free run, a count (1..1e6 pulses) or a duration (1e-6..31556926 s) for all SPGU channels. (``SPRM``)."""
        mode = SPGUOutputMode.get(mode)
        if mode != SPGUOutputMode.DURATION or condition is None:
            super().set_output_mode(mode, condition)
            return
        self.write(f"SPRM {mode.value}, {number(strict_range(condition, [1e-6, 31_556_926]))}")


class MendedB1500(AgilentB1500):
    """`AgilentB1500`, working; `clock` is where its ramps wait."""

    # pymeasure looks two names up for every one, to guard those of dynamic properties; this class has none of them.
    __getattribute__ = object.__getattribute__

    def __init__(self, adapter: Any, *, clock: Clock, **kwargs: Any) -> None:
        """Attach to an instrument; nothing is sent. Arguments as in pymeasure's `Instrument`."""
        self.clock = clock
        super().__init__(adapter, kwargs.pop("name", "Keysight B1500A"), **kwargs)

    def check_errors(self) -> list[Any]:
        """Read the error queue until it is empty.

        Raises:
            InstrumentError: with the instrument's codes and texts.
        """
        problems = self._errors()
        if problems:
            raise InstrumentError(f"B1500A reports {'; '.join(problems)}")
        return []

    def _errors(self) -> list[str]:
        problems = []
        for _ in range(QUEUE_LENGTH + 1):
            match = _ERROR.fullmatch(self.ask("ERRX?"))
            if match is None:
                raise LinkError("B1500A: the reply to ERRX? is unreadable; another program may be reading too")
            if int(match["code"]) == 0:
                break
            problems.append(f"error {int(match['code'])}: {match['text'] or 'no text'}")
        return problems

    def clear(self) -> None:
        """Empty the output buffer and the error queue (a B1500A has no ``*CLS``)."""
        self.write("BC")
        self._errors()

    def initialize_all_smus(self) -> None:
        """Make `smu1`, `smu2`, ... for the SMUs found, in slot order."""
        found = [(slot, kind) for slot, kind in self.query_modules().items() if "SMU" in kind and kind != "WGFMU"]
        for i, (slot, kind) in enumerate(found, 1):
            self.add_child(RampingSMU, i, collection="smus", prefix="smu", smu_type=kind, name=f"SMU{i}", slot=slot)
            self._smu_references[slot] = self.smus[i]
            self._smu_names[slot] = f"SMU{i}"

    def initialize_all_spgus(self) -> None:
        """Make `spgu6`, ... for the SPGUs found, named by slot."""
        for slot, kind in self.query_modules().items():
            if kind == "SPGU":
                self.add_child(ExactSPGU, slot, collection="spgus", prefix="spgu")

    @AgilentB1500.sampling_mode.getter
    def sampling_mode(self) -> Any:
        """Control sampling mode, linear or logarithmic. (``ML``)."""
        with readable("B1500A, *LRN? 47"):
            return SamplingMode(int(self.query_learn(47)["ML"]))

    def query_modules(self) -> Any:
        """Modules by slot. (``UNT?``)."""
        with readable("B1500A, UNT?"):
            modules = super().query_modules()
            if any(slot not in range(1, 11) for slot in modules):
                raise ValueError(f"{len(modules)} modules in 10 slots")
            return modules

    def query_learn(self, query_type: int | str) -> Any:
        """Settings as the instrument tells them, by command. (``*LRN?``)."""
        with readable("B1500A, *LRN?"):
            return super().query_learn(query_type)

    def query_learn_header(self, query_type: int | str, **kwargs: Any) -> Any:
        """Settings as the instrument tells them, in words; arguments as pymeasure's. (``*LRN?``)."""
        with readable("B1500A, *LRN?"):
            return super().query_learn_header(query_type, **kwargs)

    def query_meas_mode(self) -> dict[str, Any]:
        """Measurement mode and channels, as far as they were set."""
        settings = self.query_learn_header(31)
        return {k: settings[k] for k in ("Measurement Mode", "Measurement Channels") if k in settings}

    def read_data(self, number_of_points: int) -> pd.DataFrame:
        """Read one line of data: a row for each of `number_of_points`, a column for each channel and quantity."""
        with readable("B1500A, data"):
            items = [self._data_format.format_single(item) for item in self.read().strip().split(",")]
        if number_of_points < 1 or len(items) % number_of_points:
            raise InstrumentError(f"B1500A: {len(items)} data can't be {number_of_points} points")
        width = len(items) // number_of_points
        values = [[item[3] for item in items[k : k + width]] for k in range(0, len(items), width)]
        return pd.DataFrame(values, columns=[" ".join(map(str, item[1:3])) for item in items[:width]])

    def read_channels(self, nchannels: int) -> tuple[Any, ...]:
        """Read one point of `nchannels` data: (status, channel, quantity, value) of each."""
        raw = self.read_bytes(self._data_format.size * nchannels)
        if raw.endswith(b"\r"):
            self.read_bytes(1)  # the terminator's other half would begin the next reply
        with readable("B1500A, data"):
            text = raw.decode("ascii").strip("\r\n,")
            return tuple(self._data_format.format_single(item) for item in text.split(","))

    def read_bytes(self, count: int, **kwargs: Any) -> bytes:
        """Read `count` bytes; -1 reads one whole reply with its terminator, in one VISA call where there is VISA."""
        connection = getattr(self.adapter, "connection", None)
        if count >= 0 or not isinstance(connection, pyvisa.resources.MessageBasedResource):
            data: bytes = super().read_bytes(count, **kwargs)
            return data
        with connection.ignore_warning(pyvisa.constants.StatusCode.success_max_count_read):
            end, connection.read_termination = connection.read_termination, None
            try:
                return connection.read_raw()
            finally:
                connection.read_termination = end
