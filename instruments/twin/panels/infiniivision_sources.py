"""What a simulated InfiniiVision oscilloscope can measure, show and hand out: channels, maths, spectrum, references.

Numbers stand for sources: a channel's own, 0 the maths function, -1 the spectrum of :FFT, -11 and below the reference
waveforms.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from instruments.twin.panels.infiniivision_math import (
    SPECTRUM_OFFSET,
    SPECTRUM_RANGE,
    TWO,
    combine,
    spectrum,
    transform,
    within,
)
from instruments.twin.panels.infiniivision_waveform import LEVELS, SCREEN_LEVELS
from instruments.twin.panels.scpi import Call, Entry, ScpiError, Tree, choice, number
from instruments.twin.panels.scpi_state import Value, shown
from instruments.twin.scope_front_end import Input, Record
from instruments.twin.scope_measurements import Waveform

if TYPE_CHECKING:
    from instruments.twin.panels.infiniivision import InfiniiVisionPanel

FUNCTION, FFT, REFERENCE = 0, -1, -10
REFERENCES = 2
DIVISIONS = 8
_WORDS = {"FUNC": FUNCTION, "FUNC1": FUNCTION, "MATH": FUNCTION, "MATH1": FUNCTION, "FFT": FFT}


class Sources:
    """Sources of waveforms by name and number."""

    def __init__(self, panel: "InfiniiVisionPanel", tree: Tree) -> None:
        self._panel, self._settings = panel, panel.settings
        self._kept: dict[int, tuple[Record, int]] = {}
        for head in ("FUNCtion", "FFT"):
            self._define_scale(head)
        for head in ("FUNCtion:FFT", "FFT"):
            tree.add(f"{head}:CENTer", self._frequency(head, "CENTer"))
            tree.add(f"{head}:SPAN", self._frequency(head, "SPAN"))
        tree.add("FUNCtion:CLEar", Entry(lambda call: None))
        tree.add("WMEMory<n>:SAVE", Entry(self._keep))
        tree.add("SAVE:WMEMory[:STARt]", Entry(lambda call: None))
        tree.add("WMEMory<n>:CLEar", Entry(lambda call: self._drop(self._reference(call))))
        tree.add("WMEMory<n>:YRANge", Entry(None, lambda call: shown(self._input(self._reference(call)).span)))
        tree.add("WMEMory<n>:YOFFset", Entry(None, lambda call: shown(self._input(self._reference(call)).centre)))

    def _define_scale(self, head: str) -> None:
        def read(text: str) -> Value:
            return number(text, 1e-12, 1e12)

        def per_division(text: str) -> Value:
            return number(text, 1e-12, 1e12) * DIVISIONS

        initial = 8.0 if head == "FUNCtion" else SPECTRUM_RANGE
        self._settings.define(f"{head}:RANGe", initial, read)
        self._settings.define(
            f"{head}:SCALe", initial, per_division, lambda v: shown(float(v) / DIVISIONS), f"{head}:RANGe"
        )

    def _frequency(self, head: str, name: str) -> Entry:
        key = f"{head}:{name}"

        def write(call: Call) -> None:
            self._settings.values[key] = number(call.only()[0], 0.0, 1e12, "Hz")

        return Entry(write, lambda call: shown(self._band(head)[name == "SPAN"]))

    def _band(self, head: str) -> tuple[float, float]:
        """Centre and span, Hz; everything up to half the sample rate if nothing was set."""
        record = self._panel.digitizer.record
        step = self._panel.step() if record is None else record.plan.step
        values = self._settings.values
        span = float(values.get(f"{head}:SPAN", 0.5 / step))
        return float(values.get(f"{head}:CENTer", span / 2)), span

    # Names

    def number(self, text: str) -> int:
        """Number of a source that a parameter names; ScpiError -224."""
        channels = [f"CHANnel{n}" for n in range(1, self._panel.channels + 1)]
        references = [f"WMEMory{n}" for n in range(1, REFERENCES + 1)]
        word = choice(text, (*channels, "FUNCtion", "FUNCtion1", "MATH", "MATH1", "FFT", *references))
        if word.startswith("CHAN"):
            return int(word[4:])
        return REFERENCE - int(word[4:]) if word.startswith("WMEM") else _WORDS[word]

    def name(self, source: int) -> str:
        """Short form of a source's name."""
        if source > 0:
            return f"CHAN{source}"
        return {FUNCTION: "FUNC", FFT: "FFT"}.get(source, f"WMEM{REFERENCE - source}")

    def needed(self) -> set[int]:
        """Channels that the maths function or the spectrum looks at, if they are shown."""
        get = self._settings.get
        names = [str(get(f"FUNCtion:SOURce{k}")) for k in (1, 2)] if get("FUNCtion:DISPlay") else []
        names += [str(get("FFT:SOURce1"))] if get("FFT:DISPlay") else []
        return {self.number(name) for name in names}

    # Waveforms

    def waveform(self, source: int) -> Waveform | None:
        """A source's last record in volts; None if there is none."""
        record = self._panel.digitizer.record
        return None if record is None else self._volts(record, source)

    def _volts(self, record: Record, source: int) -> Waveform | None:
        if source <= REFERENCE:
            kept = self._kept.get(source)
            return None if kept is None else self._volts(*kept)
        if source == FFT:
            return self._spectrum(record, "FFT", self.number(str(self._settings.get("FFT:SOURce1"))))
        if source == FUNCTION:
            return self._function(record)
        if source not in record.codes:
            return None
        used = record.plan.inputs[source]
        volts = record.codes[source].astype(np.float64) * (used.span / 65536) + used.centre
        return Waveform(volts, record.plan.step, record.plan.first)

    def _function(self, record: Record) -> Waveform | None:
        get, value = self._settings.get, self._settings.number
        operation = str(get("FUNCtion:OPERation"))
        one = self.number(str(get("FUNCtion:SOURce1")))
        if operation == "FFT":
            return self._spectrum(record, "FUNCtion:FFT", one)
        a = self._volts(record, one)
        if a is None:
            return None
        if operation in TWO:
            b = self._volts(record, self.number(str(get("FUNCtion:SOURce2"))))
            return None if b is None else combine(operation, a, b)
        corner = value(f"FUNCtion:FREQuency:{'LOWPass' if operation == 'LOWP' else 'HIGHpass'}")
        parameters = {
            "gain": value("FUNCtion:LINear:GAIN"), "offset": value("FUNCtion:LINear:OFFSet"),
            "initial": value("FUNCtion:INTegrate:IOFFset"), "corner": corner,
        }  # fmt: skip
        return transform(operation, a, parameters)

    def _spectrum(self, record: Record, head: str, channel: int) -> Waveform | None:
        source = self._volts(record, channel)
        if source is None:
            return None
        kind = str(self._settings.get(f"{head}:VTYPe"))
        lines = spectrum(source, str(self._settings.get(f"{head}:WINDow")), kind == "DEC")
        centre, span = self._band(head)
        return within(lines, centre - span / 2, centre + span / 2)

    # Records, for the WAVeform commands

    def record(self, record: Record, source: int) -> Record | None:
        """A record that holds a source which is no channel, on that source's own scale; None if there is none."""
        if source <= REFERENCE:
            kept = self._kept.get(source)
            if kept is None:
                return None
            old, at = kept
            plan = replace(old.plan, inputs={source: old.plan.inputs[at]})
            return Record(plan, {source: old.codes[at]}, old.run, old.trigger)
        found = self._volts(record, source)
        if found is None:
            return None
        used = self._input(source)
        codes = np.clip(np.rint((found.volts - used.centre) * (65536 / used.span)), -32768, 32767).astype(np.int16)
        plan = replace(
            record.plan, inputs={source: used}, first=found.first, step=found.step, points=len(found.volts)
        )  # fmt: skip
        return Record(plan, {source: codes}, record.run, record.trigger)

    def _input(self, source: int) -> Input:
        if source <= REFERENCE:
            if source not in self._kept:
                raise ScpiError(-230, "nothing is saved")
            record, at = self._kept[source]
            return record.plan.inputs[at]
        head, values = "FFT" if source == FFT else "FUNCtion", self._settings.values
        span, offset = self._settings.number(f"{head}:RANGe"), self._settings.number(f"{head}:OFFSet")
        if source == FUNCTION and self._settings.get("FUNCtion:OPERation") == "FFT":
            span = float(values.get("FUNCtion:RANGe", SPECTRUM_RANGE))
            offset = float(values.get("FUNCtion:OFFSet", SPECTRUM_OFFSET))
        return Input(None, span * LEVELS / SCREEN_LEVELS, offset, math.inf, 0.0)

    # Reference waveforms

    def _reference(self, call: Call) -> int:
        if not 1 <= call.suffixes[0] <= REFERENCES:
            raise ScpiError(-114)
        return REFERENCE - call.suffixes[0]

    def _keep(self, call: Call) -> None:
        place, source = self._reference(call), self.number(call.only()[0])
        record = self._panel.digitizer.record
        if record is not None and source <= 0:
            record = self.record(record, source)
        if record is None or source not in record.codes:
            raise ScpiError(-230, "nothing to save")
        self._kept[place] = (record, source)

    def _drop(self, place: int) -> None:
        self._kept.pop(place, None)
