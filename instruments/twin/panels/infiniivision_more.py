"""What a simulated InfiniiVision oscilloscope does with its records beyond handing them out, and the rest of its panel.

Measurements, voltmeter, screen images, stored set-ups, and plain settings. Certain (programmer's guides): headers;
9.9E+37 for what can't be measured; the fields of `:MEASure:RESults?`. Uncertain: the interval and type that VRMS takes
when none is given (here the display, DC); with which decimals numbers are written.

Maths functions, the spectrum and reference waveforms are in `infiniivision_sources`.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instruments.twin.panels import infiniivision_table as table
from instruments.twin.panels.infiniivision_sources import FFT, REFERENCE, Sources
from instruments.twin.panels.scpi import Call, Entry, Reply, ScpiError, Tree, block, choice, forms, number
from instruments.twin.panels.scpi_state import Value, shown
from instruments.twin.panels.scpi_table import define_table
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
        self._defined = {"THR": "PERC,+9.00000E+01,+5.00000E+01,+1.00000E+01", "DEL": "+1,+1"}
        for part in (table.ACQUISITION, table.INPUTS, table.TRIGGER, table.SCREEN, table.MATHS, table.GENERATOR):
            define_table(panel.settings, part, shown, lambda v: f"+{int(float(v))}")
        self.sources = Sources(panel, tree)
        self._source, self.waveform = self.sources.number, self.sources.waveform
        tree.add_all(self._measuring())
        tree.add_all(self._system())

    def forget(self) -> None:
        """After a reset: no measurements on the screen."""
        self._installed.clear()

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
            "MEASure:ALL": Entry(lambda call: None),
            "MEASure:STATistics:INCRement": Entry(lambda call: None),
            "MEASure:VRATio": Entry(lambda call: None, self._ratio),
            "MEASure:TEDGe": Entry(None, self._time_of_edge),
            "MEASure:TVALue": Entry(None, self._time_of_value),
            "MEASure:DEFine": Entry(self._define, self._definition),
            "DVM:CURRent": Entry(None, lambda call: self._voltmeter(str(self._settings.get("DVM:MODE")))),
            "DVM:FREQuency": Entry(None, lambda call: self._voltmeter("FREQ")),
            "MARKer:XDELta": Entry(None, lambda call: shown(self._between("X"))),
            "MARKer:DYDX": Entry(None, lambda call: self._slope()),
            "MARKer:YDELta": Entry(None, lambda call: shown(self._between("Y"))),
        }

    def _sources(self) -> tuple[str, str]:
        get = self._settings.values.get
        return str(get("measure source 1", "CHAN1")), str(get("measure source 2", "CHAN2"))

    def _set_sources(self, call: Call) -> None:
        found = [self._source(text) for text in call.only(2)]
        for k, source in enumerate(found, 1):
            self._settings.values[f"measure source {k}"] = self.sources.name(source)

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
            label = f"{forms(name)[1]}({','.join(str(s) if s > 0 else 'M' for s in sources)})"
            fields += [label, *every.values()] if wanted == "ON" else [every[wanted]]
        return ",".join(fields)

    def _volts_at(self, call: Call) -> str:
        time, *rest = call.only(2)
        record = self.waveform(self._chosen(rest, 1)[0])
        at = number(time, -5000, 5000, "s")
        if record is None or not record.first <= at <= record.first + record.step * len(record.volts):
            return NOT_FOUND
        return shown(float(record.volts[min(len(record.volts) - 1, round((at - record.first) / record.step))]))

    def _ratio(self, call: Call) -> str:
        """Of the AC rms values of two sources, dB."""
        args = list(call.args)
        if args and args[0].upper()[:4] in ("CYCL", "DISP"):
            args.pop(0)
        one, other = (self._value("ac rms", [source]) for source in self._chosen(args, 2))
        return shown(20 * math.log10(one / other)) if one and other else NOT_FOUND

    def _time_of_edge(self, call: Call) -> str:
        """`:MEASure:TEDGe? <slope><occurrence>[,<source>]`: when the record passes its middle, s."""
        text, *rest = call.only(2)
        nth = int(number(text, -1000, 1000))
        record = self.waveform(self._chosen(rest, 1)[0])
        times = [] if record is None else [t for t, up in record.edges if up == (nth > 0)]
        return shown(times[abs(nth) - 1]) if 0 < abs(nth) <= len(times) else NOT_FOUND

    def _time_of_value(self, call: Call) -> str:
        """`:MEASure:TVALue? <value>,<slope><occurrence>[,<source>]`: when the record passes a level, s."""
        level, text, *rest = call.only(3, 2)
        value, nth = number(level, unit="V"), int(number(text, -1000, 1000))
        record = self.waveform(self._chosen(rest, 1)[0])
        if record is None or nth == 0:
            return NOT_FOUND
        above = record.volts >= value
        before, after = (~above[:-1], above[1:]) if nth > 0 else (above[:-1], ~above[1:])
        found = np.flatnonzero(before & after)
        if abs(nth) > len(found):
            return NOT_FOUND
        k = int(found[abs(nth) - 1])
        a, b = float(record.volts[k]), float(record.volts[k + 1])
        return shown(record.first + (k + (value - a) / (b - a)) * record.step)

    def _define(self, call: Call) -> None:
        """`:MEASure:DEFine THResholds,...` or `DELay,...`: kept and told; the measurements use 10, 50 and 90 %."""
        kind, *rest = call.only(6, 2)
        word = choice(kind, ("THResholds", "DELay"))
        if word == "THR":
            how = choice(rest[0], ("STANdard", "PERCent", "ABSolute"))
            limits = [number(text, unit="V") for text in rest[1:4]]
            if how == "STAN":
                how, limits = "PERC", [90.0, 50.0, 10.0]
            if len(limits) != 3 or not limits[0] > limits[1] > limits[2]:
                raise ScpiError(-222, "thresholds are upper, middle, lower")
            self._defined[word] = ",".join((how, *map(shown, limits)))
        else:
            self._defined[word] = ",".join(f"{int(number(text, -1000, 1000)):+d}" for text in rest[:2])

    def _definition(self, call: Call) -> str:
        return self._defined[choice(call.only(2)[0], ("THResholds", "DELay"))]

    def counted(self) -> str:
        """What the counter shows: of the last record."""
        if not self._settings.get("COUNter:ENABle"):
            return NOT_FOUND
        kind = {"FREQ": "frequency", "PER": "period", "TOT": "rising edges"}[str(self._settings.get("COUNter:MODE"))]
        value = self._value(kind, [self._source(str(self._settings.get("COUNter:SOURce")))])
        return NOT_FOUND if value is None else shown(value)

    def _voltmeter(self, mode: str) -> str:
        if not self._settings.get("DVM:ENABle"):
            return NOT_FOUND
        kind = {"ACRM": "ac rms", "DC": "mean", "DCRM": "rms", "FREQ": "frequency"}[mode]
        value = self._value(kind, [self._source(str(self._settings.get("DVM:SOURce")))])
        return NOT_FOUND if value is None else shown(value)

    def _slope(self) -> str:
        run = self._between("X")
        return shown(self._between("Y") / run) if run else NOT_FOUND

    def _between(self, axis: str) -> float:
        value = self._settings.number
        return value(f"MARKer:{axis}2Position") - value(f"MARKer:{axis}1Position")

    # Everything else

    def _system(self) -> dict[str, Entry]:
        settings, panel = self._settings, self._panel
        return {
            "DISPlay:DATA": Entry(None, self._image),
            "HCOPy:SDUMp:DATA": Entry(None, self._image),
            "DISPlay:CLEar": Entry(lambda call: None),
            "CDISplay": Entry(lambda call: None),
            "BLANk": Entry(self._view(False)),
            "VIEW": Entry(self._view(True)),
            "STATus": Entry(None, lambda call: str(int(self._on(self._source(call.only()[0]))))),
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
                source = self._source(text)
                if source > 0:
                    self._settings.put("CHANnel<n>:DISPlay", on, source)
                elif source <= REFERENCE:
                    self._settings.put("WMEMory<n>:DISPlay", on, REFERENCE - source)
                else:
                    self._settings.put("FFT:DISPlay" if source == FFT else "FUNCtion:DISPlay", on)

        return write

    def _on(self, source: int) -> bool:
        get = self._settings.get
        if source > 0:
            return bool(get("CHANnel<n>:DISPlay", source))
        if source <= REFERENCE:
            return bool(get("WMEMory<n>:DISPlay", REFERENCE - source))
        return bool(get("FFT:DISPlay" if source == FFT else "FUNCtion:DISPlay"))

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
            form = "BMP"  # of more colours than were asked for
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
