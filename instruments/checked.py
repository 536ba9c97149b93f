"""What is asked of somebody else's analyzer is checked by meaning, before its driver hears of it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

from instruments.array import Spot
from instruments.errors import LimitError
from instruments.limits import Limits, Range
from instruments.roles import AnalyzerDriver


class CheckedAnalyzer:
    """An `AnalyzerDriver` around a plug-in's: volts, currents and widths pass the limits, then the request goes on.

    The gate at the wire checks the driver's messages by the driver's own table; here, nothing of the driver is trusted.

    Args:
        driver: the plug-in's.
        limits: what the device stands.
        channels: analyzer channel -> line.
    """

    def __init__(self, driver: AnalyzerDriver, limits: Limits, channels: Mapping[int, str]) -> None:
        self.driver = driver
        self._limits, self._channels = limits, channels

    def _volts(self, channel: int, what: str, *volts: float) -> None:
        line = self._channels.get(channel)
        for value in volts:
            if line is None and value != 0:
                raise LimitError(f"{what}: channel {channel} is not wired to the array; nothing was sent")
            if line is not None:
                cast(Range, getattr(self._limits, line)).check(value, f"{what} on channel {channel}")

    def identify(self) -> str:
        """See `AnalyzerDriver`."""
        return self.driver.identify()

    def check_errors(self) -> Sequence[Any]:
        """See `AnalyzerDriver`."""
        return self.driver.check_errors()

    def force_voltage(self, channel: int, volts: float, compliance: float) -> None:
        """See `AnalyzerDriver`."""
        self._volts(channel, "forced voltage", volts)
        self._limits.compliance.check(abs(compliance), f"compliance on channel {channel}")
        self.driver.force_voltage(channel, volts, compliance)

    def spot_current(self, channel: int) -> Spot:
        """See `AnalyzerDriver`."""
        return self.driver.spot_current(channel)

    def use_high_speed_adc(self, channels: list[int], averaging: int) -> None:
        """See `AnalyzerDriver`."""
        self.driver.use_high_speed_adc(channels, averaging)

    def use_high_resolution_adc(self, channels: list[int], plc: int) -> None:
        """See `AnalyzerDriver`."""
        self.driver.use_high_resolution_adc(channels, plc)

    def pulse_setup(self, channel: int, *, base: float, peak: float, width: float, edge: float, load: float) -> None:
        """See `AnalyzerDriver`."""
        self._volts(channel, "pulse", base, peak)
        if base or peak:
            self._limits.pulse_width.check(width, f"pulse on channel {channel}: width")
        self.driver.pulse_setup(channel, base=base, peak=peak, width=width, edge=edge, load=load)

    def fire(self, channels: list[int]) -> None:
        """See `AnalyzerDriver`."""
        self.driver.fire(channels)

    def connect_selector(self, port: int, state: Literal["smu", "pgu", "open"]) -> None:
        """See `AnalyzerDriver`."""
        self.driver.connect_selector(port, state)

    def together(self) -> AbstractContextManager[None]:
        """See `AnalyzerDriver`."""
        return self.driver.together()

    def mend(self) -> None:
        """See `AnalyzerDriver`."""
        self.driver.mend()

    def safe(self) -> list[str]:
        """See `AnalyzerDriver`."""
        return self.driver.safe()
