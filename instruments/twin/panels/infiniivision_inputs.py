"""Inputs of a simulated InfiniiVision oscilloscope: scaling, probes, trigger levels.

The probe attenuation scales what is set and read, as if the probe divided.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from instruments.twin.panels.scpi import Call, Entry, Tree, choice, number, quoted
from instruments.twin.panels.scpi_state import shown

if TYPE_CHECKING:
    from instruments.twin.panels.infiniivision import InfiniiVisionPanel

DIVISIONS = 8


def three_digits(value: float) -> float:
    """Three significant digits, as the knobs' fine steps give."""
    return float(f"{value:.3g}")


class Inputs:
    """The headers of channels and edge trigger."""

    def __init__(self, panel: "InfiniiVisionPanel", tree: Tree) -> None:
        self._panel = panel
        define, channel = panel.settings.define, "CHANnel<n>:"
        define(channel + "LABel", "", lambda t: quoted(t)[:10].upper(), lambda v: f'"{v}"')
        define(channel + "OFFSet", 0.0, lambda t: number(t, unit="V"))
        define(channel + "RANGe", 8.0, lambda t: three_digits(number(t, 8e-3, 4e5, "V")))
        define(
            channel + "SCALe",
            8.0,
            lambda t: three_digits(number(t, 1e-3, 5e4, "V")) * DIVISIONS,
            lambda v: shown(float(v) / DIVISIONS),
            channel + "RANGe",
        )
        tree.add(channel + "PROBe", Entry(self._set_probe, lambda call: shown(self.attenuation(call))))
        sources = ("EXTernal", "LINE", *(f"CHANnel{n}" for n in range(1, self._panel.channels + 1)))
        define("TRIGger[:EDGE]:SOURce", "CHAN1", lambda t: choice(t, sources))
        tree.add("TRIGger[:EDGE]:LEVel", Entry(self._set_level(""), self._level("")))
        for name in ("HIGH", "LOW"):
            tree.add(f"TRIGger:LEVel:{name}", Entry(self._set_level(name), self._level(name)))

    def _set_probe(self, call: Call) -> None:
        self._panel.check_channel(call.suffixes)
        attenuation = number(call.only()[0], 0.1, 1e4)
        ratio = attenuation / self.attenuation(call)
        for name in ("CHANnel<n>:RANGe", "CHANnel<n>:OFFSet"):
            self._panel.settings.put(name, self._panel.settings.number(name, *call.suffixes) * ratio, *call.suffixes)
        self._panel.settings.values[f"probe@{call.suffixes[0]}"] = attenuation

    def attenuation(self, call: Call) -> float:
        """Of a channel's probe."""
        self._panel.check_channel(call.suffixes)
        return float(self._panel.settings.values.get(f"probe@{call.suffixes[0]}", 1.0))

    def _level_of(self, which: str, call: Call, at: int) -> str:
        source = choice(call.args[at], self.sources()) if len(call.args) > at else None
        return f"{f'{which} ' if which else ''}level {source or self._panel.settings.get('TRIGger[:EDGE]:SOURce')}"

    def sources(self) -> tuple[str, ...]:
        """What an edge trigger may look at besides the mains."""
        return ("EXTernal", *(f"CHANnel{n}" for n in range(1, self._panel.channels + 1)))

    def _set_level(self, which: str) -> Callable[[Call], None]:
        def write(call: Call) -> None:
            name = self._level_of(which, call, 1)
            limit = 8.0 if name.endswith("EXT") else math.inf
            self._panel.settings.values[name] = number(call.only(2)[0], -limit, limit, "V")

        return write

    def _level(self, which: str) -> Callable[[Call], str]:
        return lambda call: shown(float(self._panel.settings.values.get(self._level_of(which, call, 0), 0.0)))
