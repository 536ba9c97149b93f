"""What a simulated InfiniiVision oscilloscope does with its records beyond handing them out, and the rest of its panel.

Measurements, voltmeter, screen images, stored set-ups, and plain settings. Certain (programmer's guides): headers;
9.9E+37 for what can't be measured; the fields of `:MEASure:RESults?`. Uncertain: the interval and type that VRMS takes
when none is given (here the display, DC); with which decimals numbers are written.

A maths function adds, subtracts or multiplies two channels, whether it is shown or not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from instruments.twin.panels import infiniivision_table as table
from instruments.twin.panels.infiniivision_waveform import LEVELS, SCREEN_LEVELS
from instruments.twin.panels.scpi import Call, Entry, Reply, ScpiError, Tree, block, choice, forms, number
from instruments.twin.panels.scpi_state import Value, shown
from instruments.twin.panels.scpi_table import define_table
from instruments.twin.scope_front_end import Input, Record
from instruments.twin.scope_measurements import MEASUREMENTS, Waveform, delay, phase
from instruments.twin.scope_picture import bmp, draw, png

if TYPE_CHECKING:
    from instruments.twin.panels.infiniivision import InfiniiVisionPanel

NOT_FOUND = "+9.9E+37"
SETUPS = 10
LIMITED = 20e6
"""Bandwidth with the limit on, Hz."""
_NAMES = {
    "VMAX": "max", "VMIN": "min", "VPP": "peak to peak", "VBASe": "base", "VTOP": "top", "VAMPlitude": "amplitude",
    "VAVerage": "mean", "VRMS": "rms", "SDEViation": "ac rms", "AREa": "area", "PERiod": "period",
    "FREQuency": "frequency", "COUNter": "frequency", "RISetime": "rise", "FALLtime": "fall",
    "PWIDth": "positive width", "NWIDth": "negative width", "DUTYcycle": "duty", "NDUTy": "negative duty",
    "OVERshoot": "overshoot", "PREShoot": "preshoot", "XMAX": "time of max", "XMIN": "time of min",
    "PEDGes": "rising edges", "NEDGes": "falling edges", "PPULses": "positive pulses", "NPULses": "negative pulses",
    "BRATe": "bit rate", "BWIDth": "burst",
}  # fmt: skip
_CYCLES = {"mean": "cycle mean", "rms": "cycle rms"}
_PAIRS: dict[str, Callable[[Waveform, Waveform], float | None]] = {"DELay": delay, "PHASe": phase}
_STATISTICS = ("CURR", "MIN", "MAX", "MEAN", "STDD", "COUN")


class Extras:
    """The headers that `InfiniiVisionPanel` has beside acquisition and waveforms."""

    def __init__(self, panel: "InfiniiVisionPanel", tree: Tree) -> None:
        self._panel, self._settings = panel, panel.settings
        self._setups: dict[int, dict[str, Value]] = {}
        self._installed: list[tuple[str, tuple[int, ...]]] = []
        for part in (table.ACQUISITION, table.INPUTS, table.TRIGGER, table.SCREEN, table.MATHS):
            define_table(panel.settings, part, shown, lambda v: f"+{int(float(v))}")
        tree.add_all(self._measuring())
        tree.add_all(self._system())

    def forget(self) -> None:
        """After a reset: no measurements on the screen."""
        self._installed.clear()

    # Sources

    def _source(self, text: str) -> int:
        """Number of a channel, or 0 for the maths function."""
        names = (*(f"CHANnel{n}" for n in range(1, self._panel.channels + 1)), "FUNCtion", "MATH")
        word = choice(text, names)
        return int(word[4:]) if word.startswith("CHAN") else 0

    def waveform(self, source: int) -> Waveform | None:
        """A channel's (or the maths function's) last record in volts; None if there is none."""
        record = self._panel.digitizer.record
        return None if record is None else self._volts(record, source)

    def _volts(self, record: Record, source: int) -> Waveform | None:
        if source == 0:
            return self._function(record)
        if source not in record.codes:
            return None
        used = record.plan.inputs[source]
        volts = record.codes[source].astype(np.float64) * (used.span / 65536) + used.centre
        return Waveform(volts, record.plan.step, record.plan.first)

    def _function(self, record: Record) -> Waveform | None:
        get = self._settings.get
        a, b = (self._volts(record, self._source(str(get(f"FUNCtion:SOURce{k}")))) for k in (1, 2))
        if a is None or b is None:
            return None
        how = {"ADD": np.add, "SUBT": np.subtract, "MULT": np.multiply}[str(get("FUNCtion:OPERation"))]
        return Waveform(how(a.volts, b.volts), a.step, a.first)

    def with_maths(self, record: Record) -> Record | None:
        """A record with the maths function as channel 0, on its own scale; None if it can't be computed."""
        function = self._function(record)
        if function is None:
            return None
        value = self._settings.number
        used = Input(None, value("FUNCtion:RANGe") * LEVELS / SCREEN_LEVELS, value("FUNCtion:OFFSet"), math.inf, 0.0)
        codes = np.clip(np.rint((function.volts - used.centre) * (65536 / used.span)), -32768, 32767).astype(np.int16)
        plan = replace(record.plan, inputs={**record.plan.inputs, 0: used})
        return Record(plan, {**record.codes, 0: codes}, record.run, record.trigger)

    # Measurements

    def _measuring(self) -> dict[str, Entry]:
        entries = {name: Entry(self._install(name), self._measure(name)) for name in (*_NAMES, *_PAIRS)}
        return {
            **{f"MEASure:{name}": entry for name, entry in entries.items()},
            "MEASure:SOURce": Entry(self._set_sources, lambda call: ",".join(self._sources())),
            "MEASure:CLEar": Entry(lambda call: self._installed.clear()),
            "MEASure:STATistics:RESet": Entry(lambda call: None),
            "MEASure:RESults": Entry(None, self._results),
            "MEASure:VTIMe": Entry(None, self._volts_at),
            "DVM:CURRent": Entry(None, lambda call: self._voltmeter(str(self._settings.get("DVM:MODE")))),
            "DVM:FREQuency": Entry(None, lambda call: self._voltmeter("FREQ")),
            "MARKer:XDELta": Entry(None, lambda call: shown(self._between("X"))),
            "MARKer:YDELta": Entry(None, lambda call: shown(self._between("Y"))),
        }

    def _sources(self) -> tuple[str, str]:
        get = self._settings.values.get
        return str(get("measure source 1", "CHAN1")), str(get("measure source 2", "CHAN2"))

    def _set_sources(self, call: Call) -> None:
        found = [self._source(text) for text in call.only(2)]
        for k, source in enumerate(found, 1):
            self._settings.values[f"measure source {k}"] = f"CHAN{source}" if source else "FUNC"

    def _chosen(self, args: Sequence[str], most: int) -> tuple[int, ...]:
        """Sources named among the parameters, the set ones in place of those that aren't."""
        named = [self._source(text) for text in args]
        if len(named) > most:
            raise ScpiError(-108)
        return tuple(named + [self._source(s) for s in self._sources()[len(named) : most]])

    def _parsed(self, name: str, args: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        """Which quantity of which sources a measurement's parameters mean."""
        kind, rest = _NAMES.get(name, name), list(args)
        spanned = name in ("VAVerage", "VRMS", "AREa") and bool(rest) and rest[0].upper()[:4] in ("CYCL", "DISP")
        if spanned and choice(rest.pop(0), ("CYCLe", "DISPlay")) == "CYCL":
            kind = _CYCLES.get(kind, kind)
        if name == "VRMS" and rest and rest[0].upper() in ("AC", "DC") and rest.pop(0).upper() == "AC":
            kind = "ac rms"
        return kind, self._chosen(rest, 2 if name in _PAIRS else 1)

    def _value(self, kind: str, sources: Sequence[int]) -> float | None:
        records = [self.waveform(source) for source in sources]
        if any(record is None or not len(record.volts) for record in records):
            return None
        found = [record for record in records if record is not None]
        return _PAIRS[kind](found[0], found[1]) if kind in _PAIRS else MEASUREMENTS[kind](found[0])

    def _measure(self, name: str) -> Callable[[Call], str]:
        def query(call: Call) -> str:
            value = self._value(*self._parsed(name, call.args))
            return NOT_FOUND if value is None else shown(value)

        return query

    def _install(self, name: str) -> Callable[[Call], None]:
        def write(call: Call) -> None:
            _, sources = self._parsed(name, call.args)
            self._installed = [entry for entry in self._installed if entry != (name, sources)] + [(name, sources)]

        return write

    def _results(self, call: Call) -> str:
        # One record is kept, so every statistic is of one value.
        wanted = str(self._settings.get("MEASure:STATistics"))
        fields: list[str] = []
        for name, sources in self._installed:
            value = self._value(_NAMES.get(name, name), sources)
            text = NOT_FOUND if value is None else shown(value)
            every = dict(zip(_STATISTICS, (text, text, text, text, shown(0.0), "1"), strict=True))
            label = f"{forms(name)[1]}({','.join(str(s) if s else 'M' for s in sources)})"
            fields += [label, *every.values()] if wanted == "ON" else [every[wanted]]
        return ",".join(fields)

    def _volts_at(self, call: Call) -> str:
        time, *rest = call.only(2)
        record = self.waveform(self._chosen(rest, 1)[0])
        at = number(time, -5000, 5000, "s")
        if record is None or not record.first <= at <= record.first + record.step * len(record.volts):
            return NOT_FOUND
        return shown(float(record.volts[min(len(record.volts) - 1, round((at - record.first) / record.step))]))

    def _voltmeter(self, mode: str) -> str:
        if not self._settings.get("DVM:ENABle"):
            return NOT_FOUND
        kind = {"ACRM": "ac rms", "DC": "mean", "DCRM": "rms", "FREQ": "frequency"}[mode]
        value = self._value(kind, [self._source(str(self._settings.get("DVM:SOURce")))])
        return NOT_FOUND if value is None else shown(value)

    def _between(self, axis: str) -> float:
        value = self._settings.number
        return value(f"MARKer:{axis}2Position") - value(f"MARKer:{axis}1Position")

    # Everything else

    def _system(self) -> dict[str, Entry]:
        settings, panel = self._settings, self._panel
        clock = panel.clock
        return {
            "DISPlay:DATA": Entry(None, self._image),
            "DISPlay:CLEar": Entry(lambda call: None),
            "CDISplay": Entry(lambda call: None),
            "BLANk": Entry(self._view(False)),
            "VIEW": Entry(self._view(True)),
            "STATus": Entry(None, lambda call: f"{settings.get('CHANnel<n>:DISPlay', self._source(call.only()[0])):d}"),
            "CHANnel<n>:BANDwidth": Entry(self._limit, lambda call: shown(self._limited(call))),
            "CHANnel<n>": Entry(None, self._describe_channel),
            "TIMebase": Entry(None, self._describe_timebase),
            "SERial": Entry(None, lambda call: panel.status.identity.split(",")[2]),
            "RSTate": Entry(None, lambda call: self._state()),
            "SAVE:SETup[:STARt]": Entry(self._save),
            "RECall:SETup[:STARt]": Entry(self._recall),
            "*SAV": Entry(self._save),
            "*RCL": Entry(self._recall),
            "*LRN": Entry(None, lambda call: b":SYST:SET " + block(settings.saved(), 8)),
            "SYSTem:TIME": Entry(None, lambda call: _time_of_day(clock.now())),
            "TRIGger:LEVel:ASETup": Entry(self._half_way),
            "WAVeform:SEGMented:COUNt": Entry(None, lambda call: "+0"),
        }

    def _describe_channel(self, call: Call) -> str:
        self._panel.check_channel(call.suffixes)
        n = call.suffixes[0]
        names = ("RANGe", "OFFSet", "COUPling", "IMPedance", "DISPlay", "BWLimit", "INVert", "LABel", "UNITs")
        values = [shown(self._settings.get(f"CHANnel<n>:{name}", n)) for name in names]
        fields = 'RANG {};OFFS {};COUP {};IMP {};DISP {};BWL {};INV {};LAB "{}";UNIT {}'.format(*values)
        return f":CHAN{n}:{fields};PROB {shown(self._panel.attenuation(call))};PROB:SKEW +0.00E+00;STYP SING"

    def _describe_timebase(self, call: Call) -> str:
        mode, reference = self._settings.get("TIMebase:MODE"), self._settings.get("TIMebase:REFerence")
        span, position = (shown(self._settings.number(f"TIMebase:{name}")) for name in ("RANGe", "POSition"))
        return f":TIM:MODE {mode};REF {reference};MAIN:RANG {span};POS {position}"

    def _limit(self, call: Call) -> None:
        self._panel.check_channel(call.suffixes)
        full = self._panel.bandwidth
        self._settings.put("CHANnel<n>:BWLimit", number(call.only()[0], LIMITED, full, "Hz") < full, *call.suffixes)

    def _limited(self, call: Call) -> float:
        self._panel.check_channel(call.suffixes)
        return LIMITED if self._settings.get("CHANnel<n>:BWLimit", *call.suffixes) else self._panel.bandwidth

    def _state(self) -> str:
        digitizer = self._panel.digitizer
        return "STOP" if not digitizer.running else "SING" if digitizer.single else "RUN"

    def _view(self, on: bool) -> Callable[[Call], None]:
        def write(call: Call) -> None:
            for text in call.only(self._panel.channels, 0) or [f"CHAN{n}" for n in range(1, self._panel.channels + 1)]:
                if source := self._source(text):
                    self._settings.put("CHANnel<n>:DISPlay", on, source)
                else:
                    self._settings.put("FUNCtion:DISPlay", on)

        return write

    def _slot(self, call: Call) -> int:
        return int(number(call.only()[0], 0, SETUPS - 1))

    def _save(self, call: Call) -> None:
        self._setups[self._slot(call)] = dict(self._settings.values)

    def _recall(self, call: Call) -> None:
        slot = self._slot(call)
        if slot not in self._setups:
            raise ScpiError(-221, f"set-up {slot} is empty")
        self._settings.values = dict(self._setups[slot])

    def _half_way(self, call: Call) -> None:
        for n in range(1, self._panel.channels + 1):
            if (record := self.waveform(n)) is not None and len(record.volts):
                self._settings.values[f"level CHAN{n}"] = float(record.volts.max() + record.volts.min()) / 2

    def _image(self, call: Call) -> Reply:
        args = call.only(3, 0)
        form = choice(args[0], ("BMP", "BMP8bit", "PNG")) if args else "BMP"
        if form == "BMP8":
            raise ScpiError(-224, "8-bit images are not simulated")
        for palette in args[1:]:
            choice(palette, ("COLor", "GRAYscale", "SCReen"))
        traces = {}
        for n in range(1, self._panel.channels + 1):
            record = self._panel.digitizer.record
            if record is not None and n in record.codes and self._settings.get("CHANnel<n>:DISPlay", n):
                used = record.plan.inputs[n]
                screen = self._settings.number("CHANnel<n>:RANGe", n)
                traces[n] = record.codes[n].astype(np.float64) * (used.span / 65536 / screen) + 0.5
        picture = draw(traces, (10, 8), bool(self._settings.get("HARDcopy:INKSaver")))
        return block(png(picture) if form == "PNG" else bmp(picture), 8)


def _time_of_day(seconds: float) -> str:
    minutes, second = divmod(int(seconds) % 86400, 60)
    return f"+{minutes // 60},+{minutes % 60},+{second}"
