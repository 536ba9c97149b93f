"""What a simulated Tektronix MSO does beyond acquiring: measurements, its file system, screen images, dynamic items.

Certain (programmer manual of the 4, 5 and 6 Series MSO): headers; `LIST?` of named items; READFile sends a file as it
is. Uncertain: what is replied where nothing can be measured (here 9.91E+37, the standard's not-a-number).

Every measurement is of the one record there is, so its statistics are of one value. Buses, searches, plots and maths
waveforms can be added, listed and deleted, but have no data.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from instruments.twin.panels import tektronix_table as table
from instruments.twin.panels.scpi import (
    Call,
    Entry,
    Reply,
    ScpiError,
    Tree,
    abbreviated,
    boolean,
    forms,
    quoted,
)
from instruments.twin.panels.scpi_state import Value
from instruments.twin.panels.scpi_table import define_table
from instruments.twin.panels.tektronix_files import Files
from instruments.twin.panels.tektronix_waveform import engineering
from instruments.twin.scope_measurements import MEASUREMENTS, Waveform, delay, phase

if TYPE_CHECKING:
    from instruments.twin.panels.tektronix_mso import TektronixPanel

NOT_FOUND = "9.91E+37"
_TYPES = {
    "MAXIMUM": "max", "MINIMUM": "min", "PK2Pk": "peak to peak", "BASE": "base", "TOP": "top", "HIGH": "top",
    "LOW": "base", "AMPLITUDE": "amplitude", "MEAN": "mean", "RMS": "rms", "ACRMS": "ac rms", "AREA": "area",
    "PERIOD": "period", "FREQUENCY": "frequency", "RISETIME": "rise", "FALLTIME": "fall", "PWIDTH": "positive width",
    "NWIDTH": "negative width", "PDUTY": "duty", "NDUTY": "negative duty", "POVERSHOOT": "overshoot",
    "NOVERSHOOT": "preshoot", "RISESLEWRATE": "rise slew", "FALLSLEWRATE": "fall slew", "DELAY": "delay",
    "PHASE": "phase",
}  # fmt: skip
_UNITS = {
    **dict.fromkeys(("FREQUENCY",), '"Hz"'),
    **dict.fromkeys(("PERIOD", "RISETIME", "FALLTIME", "PWIDTH", "NWIDTH", "DELAY", "BURSTWIDTH"), '"s"'),
    **dict.fromkeys(("PDUTY", "NDUTY", "POVERSHOOT", "NOVERSHOOT"), '"%"'),
    "PHASE": '"degrees"', "AREA": '"Vs"', "RISESLEWRATE": '"V/s"', "FALLSLEWRATE": '"V/s"',
}  # fmt: skip
_PAIRS: dict[str, Callable[[Waveform, Waveform], float | None]] = {"delay": delay, "phase": phase}
_ITEMS = {"BUS": "B", "HISTogram": "HIST", "MATH": "MATH", "MEASTABle": "TABLE", "PLOT": "PLOT", "POWer": "POWER",
          "REF": "REF", "SEARCH": "SEARCH"}  # fmt: skip
_STATISTICS = ("MEAN", "MAXimum", "MINimum")


class Extras:
    """The headers that `TektronixPanel` has beside acquisition and waveforms."""

    def __init__(self, panel: "TektronixPanel", tree: Tree) -> None:
        self._panel, self._settings = panel, panel.settings
        self._items: dict[str, list[str]] = {kind: [] for kind in _ITEMS}
        self._measured: dict[int, dict[str, str]] = {}
        self._files = Files(panel)

        def whole(value: Value) -> str:
            return str(int(float(value)))

        for part in (table.ACQUISITION, table.INPUTS, table.TRIGGER, table.SCREEN):
            define_table(panel.settings, part, engineering, whole, panel.word, abbreviated)
        tree.add_all(self._measuring())
        tree.add_all(self._files.commands())
        tree.add_all(self._fixed())
        for kind in _ITEMS:
            tree.add_all(self._named(kind))

    def forget(self) -> None:
        """After a reset: no measurements, no added items; files stay."""
        self._measured.clear()
        for found in self._items.values():
            found.clear()

    # Measurements

    def _measuring(self) -> dict[str, Entry]:
        prefix = "MEASUrement:MEAS<n>:"
        results = {
            f"{prefix}RESUlts:{span}:{name}": Entry(None, self._result)
            for span in ("CURRentacq", "ALLAcqs")
            for name in _STATISTICS
        }
        constant = {
            f"{prefix}RESUlts:{span}:{name}": Entry(None, self._constant(text))
            for span in ("CURRentacq", "ALLAcqs")
            for name, text in (("STDDev", "0.0"), ("PK2PK", "0.0"), ("POPUlation", "1"))
        }
        return {
            **results,
            **constant,
            f"{prefix}MEAN": Entry(None, self._result),
            f"{prefix}STDdev": Entry(None, self._constant("0.0")),
            f"{prefix}COUNt": Entry(None, self._constant("1")),
            f"{prefix}UNIts": Entry(None, self._unit),
            f"{prefix}YUNIts": Entry(None, self._unit),
            f"{prefix}VALue": Entry(None, self._result),
            f"{prefix}MAXimum": Entry(None, self._result),
            f"{prefix}MINImum": Entry(None, self._result),
            f"{prefix}TYPe": self._item_setting("type", lambda t: self._type(t)),
            f"{prefix}SOUrce": self._item_setting("source 1", self._source),
            f"{prefix}SOUrce1": self._item_setting("source 1", self._source),
            f"{prefix}SOUrce2": self._item_setting("source 2", self._source),
            f"{prefix}STATE": self._item_setting("state", lambda t: str(int(boolean(t)))),
            f"{prefix}DISPlaystat:ENABle": self._item_setting("badge", lambda t: str(int(boolean(t)))),
            "MEASUrement:ADDMEAS": Entry(self._add_measurement),
            "MEASUrement:ADDNew": Entry(lambda call: _drop(self._open(self._number(call)))),
            "MEASUrement:DELete": Entry(self._delete_measurement),
            "MEASUrement:DELETEALL": Entry(lambda call: self._measured.clear()),
            "MEASUrement:LIST": Entry(None, lambda call: self._listed([f"MEAS{n}" for n in sorted(self._measured)])),
        }

    def _unit(self, call: Call) -> str:
        if call.suffixes[0] not in self._measured:
            raise ScpiError(-221, f"MEAS{call.suffixes[0]} is not there")
        return _UNITS.get(self._measured[call.suffixes[0]]["type"], '"V"')

    def _constant(self, text: str) -> Callable[[Call], str]:
        def query(call: Call) -> str:
            return text if self._result(call) != NOT_FOUND else NOT_FOUND

        return query

    def _type(self, text: str) -> str:
        return next(word.upper() for word in _TYPES if forms(word)[1] == abbreviated(text, _TYPES))

    def _source(self, text: str) -> str:
        return abbreviated(text, [f"CH{n}" for n in range(1, self._panel.channels + 1)])

    def _open(self, item: int) -> dict[str, str]:
        fresh = {"type": "AMPLITUDE", "source 1": "CH1", "source 2": "CH1", "state": "1", "badge": "0"}
        return self._measured.setdefault(item, fresh)

    def _number(self, call: Call) -> int:
        name = quoted(call.only()[0]).upper()
        if not (name.startswith("MEAS") and name[4:].isdecimal() and 1 <= int(name[4:]) <= 99):
            raise ScpiError(-224, name)
        return int(name[4:])

    def _add_measurement(self, call: Call) -> None:
        kind = self._type(call.only()[0])
        self._open(next(n for n in range(1, 10_000) if n not in self._measured))["type"] = kind

    def _delete_measurement(self, call: Call) -> None:
        if self._measured.pop(self._number(call), None) is None:
            raise ScpiError(-221, "no such measurement")

    def _item_setting(self, key: str, read: Callable[[str], str]) -> Entry:
        def write(call: Call) -> None:
            if not 1 <= call.suffixes[0] <= 99:
                raise ScpiError(-114)
            value = read(call.only()[0])
            self._open(call.suffixes[0])[key] = value

        def query(call: Call) -> str:
            if call.suffixes[0] not in self._measured:
                raise ScpiError(-221, f"MEAS{call.suffixes[0]} is not there")
            return self._measured[call.suffixes[0]][key]

        return Entry(write, query)

    def waveform(self, channel: int) -> Waveform | None:
        """A channel's last record in volts; None if there is none."""
        record = self._panel.digitizer.record
        if record is None or channel not in record.codes:
            return None
        used = record.plan.inputs[channel]
        volts = record.codes[channel].astype(np.float64) * (used.span / 65536) + used.centre
        return Waveform(volts, record.plan.step, record.plan.first)

    def _result(self, call: Call) -> str:
        item = self._measured.get(call.suffixes[0])
        if item is None:
            raise ScpiError(-221, f"MEAS{call.suffixes[0]} is not there")
        kind = next(kind for word, kind in _TYPES.items() if word.upper() == item["type"])
        records = [self.waveform(int(item[f"source {k}"][2:])) for k in ((1, 2) if kind in _PAIRS else (1,))]
        found = [record for record in records if record is not None and len(record.volts)]
        if len(found) < len(records):
            return NOT_FOUND
        value = _PAIRS[kind](found[0], found[1]) if kind in _PAIRS else MEASUREMENTS[kind](found[0])
        return NOT_FOUND if value is None else engineering(value)

    # Items with names

    def _named(self, kind: str) -> dict[str, Entry]:
        def item(call: Call) -> str:
            name, prefix = quoted(call.only()[0]).upper(), _ITEMS[kind]
            if not (name.startswith(prefix) and name[len(prefix) :].isdecimal()):
                raise ScpiError(-224, name)
            return name

        def add(call: Call) -> None:
            name = item(call)
            if name not in self._items[kind]:
                self._items[kind].append(name)

        def delete(call: Call) -> None:
            name = item(call)
            if name not in self._items[kind]:
                raise ScpiError(-221, f"{name} is not there")
            self._items[kind].remove(name)

        return {
            f"{kind}:ADDNew": Entry(add),
            f"{kind}:DELete": Entry(delete),
            f"{kind}:LIST": Entry(None, lambda call: self._listed(self._items[kind])),
        }

    def _listed(self, names: list[str]) -> str:
        return ",".join(names) if names else "NONE"

    # What is as it is

    def _fixed(self) -> dict[str, Entry]:
        panel = self._panel

        def says(text: str) -> Entry:
            return Entry(None, lambda call: text)

        def of_channel(text: str) -> Entry:
            def query(call: Call) -> Reply:
                panel.check_channel(call.suffixes)
                return text

            return Entry(None, query)

        def ignored(*allowed: str) -> Entry:
            return Entry(lambda call: None if not allowed else _drop(abbreviated(call.only()[0], allowed)))

        return {
            "CH<n>:PROBETYPE": of_channel("ANALOG"),
            "CH<n>:PROBe:ID:SERnumber": of_channel('"N/A"'),
            "CH<n>:PROBe:ID:TYPe": of_channel('"1X"'),
            "CH<n>:PROBe:GAIN": of_channel("1.0000"),
            "CH<n>:PROBe:RESistance": of_channel("1.0000E+6"),
            "CH<n>:PROBe:UNIts": of_channel('"V"'),
            "DATa:SOUrce:AVAILable": Entry(None, lambda call: self._available()),
            "DISplay:WAVEView<n>:CH<n>:STATE": Entry(self._show, self._shown),
            "SELect:CH<n>": Entry(self._select, self._selected),
            "CH<n>:PROBe:MODel": of_channel('"1X"'),
            "ACQuire:NUMACq": Entry(None, lambda call: str(panel.digitizer.count)),
            "ACQuire:MAXSamplerate": Entry(None, lambda call: engineering(panel.most_rate)),
            "ACQuire:SEQuence:CURrent": Entry(None, lambda call: str(min(1, panel.digitizer.count))),
            "MEASUrement:CLEARSNapshot": ignored(),
            "CALibrate:INTERNal": Entry(lambda call: _drop(call.only(0, 0))),
            "CALibrate:INTERNal:STATus": says("PASS"),
            "*CAL": says("0"),
            "DIAg:STATE": Entry(
                lambda call: _drop(abbreviated(call.only()[0], ("EXECute", "ABOrt"))), lambda call: "PASS"
            ),
            "DATE": Entry(lambda call: _drop(quoted(call.only()[0])), lambda call: '"2000-01-01"'),
            "TOTaluptime": says("1"),
            "SCOPEApp": ignored("REBOOT"),
            "FPAnel:PRESS": Entry(self._press),
            "CONFIGuration:ANALOg:NUMCHANnels": says(str(panel.channels)),
            "CONFIGuration:ANALOg:BANDWidth": Entry(None, lambda call: engineering(panel.bandwidth)),
            "HORizontal:DIVisions": says("10"),
            "HORizontal:ACQDURATION": Entry(None, lambda call: engineering(panel.duration())),
            "LICense:APPID": Entry(None, lambda call: '""'),
            "LICense:COUNt": says("0"),
            "LICense:LIST": says('""'),
            "ID": Entry(None, lambda call: panel.status.identity.replace(",", "/", 1)),
            "AUTOSet": Entry(self._autoset),
            "CLEAR": ignored(),
            "UNLock": ignored("ALL"),
            "REM": Entry(lambda call: _drop(quoted(call.only()[0]))),
            "TRIGger:A": Entry(self._half_way),
        }

    def _available(self) -> str:
        channels = range(1, self._panel.channels + 1)
        return ",".join(f"CH{n}" for n in channels if self._settings.get("shown", n)) or "NONE"

    def _show(self, call: Call) -> None:
        self._panel.check_channel(call.suffixes[1:])
        self._settings.put("shown", boolean(call.only()[0]), call.suffixes[1])

    def _shown(self, call: Call) -> str:
        self._panel.check_channel(call.suffixes[1:])
        return str(int(bool(self._settings.get("shown", call.suffixes[1]))))

    def _select(self, call: Call) -> None:
        self._panel.check_channel(call.suffixes)
        self._settings.put("shown", boolean(call.only()[0]), *call.suffixes)

    def _selected(self, call: Call) -> str:
        self._panel.check_channel(call.suffixes)
        return str(int(bool(self._settings.get("shown", *call.suffixes))))

    def _press(self, call: Call) -> None:
        """`FPAnel:PRESS`: those keys that a command can do as well."""
        key = abbreviated(call.only()[0], ("AUTOset", "DEFaultsetup", "FORCetrig", "RUnstop", "SINGleseq", "CLEAR"))
        digitizer = self._panel.digitizer
        if key == "AUTO":
            self._autoset(Call(("EXECUTE",), ()))
        elif key == "DEF":
            self._panel.factory()
        elif key == "FORC":
            digitizer.force()
        elif key == "SING":
            digitizer.arm(True)
        elif key == "RU":
            digitizer.stop() if digitizer.running else digitizer.arm(False)

    def _autoset(self, call: Call) -> None:
        # There may be no signal to look at before a run: what is known is the span of the circuit, +-10 V at most.
        abbreviated(call.only()[0], ("EXECute",))
        for n in range(1, self._panel.channels + 1):
            self._settings.put("CH<n>:SCAle", 1.0, n)
            self._settings.put("CH<n>:OFFSet", 0.0, n)
        self._settings.put("TRIGger:A:MODe", "AUTO")
        self._panel.digitizer.arm(False)

    def _half_way(self, call: Call) -> None:
        abbreviated(call.only()[0], ("SETLevel",))
        source = str(self._settings.get("TRIGger:A:EDGE:SOUrce"))
        if source.startswith("CH") and (record := self.waveform(int(source[2:]))) is not None:
            middle = float(record.volts.max() + record.volts.min()) / 2
            self._settings.put("TRIGger:A:LEVel:CH<n>", middle, int(source[2:]))


def _drop(value: object) -> None:
    """For what is checked and not used."""
