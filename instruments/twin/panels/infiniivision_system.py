"""Registers, date, calibration and files of a simulated InfiniiVision oscilloscope.

Source: programmer's guides of the 1000, 2000 and 3000T X-Series. Uncertain: bits of the registers beyond those that a
driver waits for, which are never set here. There is no USB stick: saving and recalling files is error -252.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from instruments.twin.panels.scpi import Call, Entry, ScpiError, block, choice, number, quoted
from instruments.twin.panels.scpi_state import shown

if TYPE_CHECKING:
    from instruments.twin.panels.infiniivision import InfiniiVisionPanel

OPERATION, TRIGGERED = 128, 1
_REGISTERS = ("HWERegister", "MTERegister", "OVLRegister")
_MONTHS = ("JANuary", "FEBruary", "MARch", "APRil", "MAY", "JUNe", "JULy", "AUGust", "SEPtember", "OCTober",
           "NOVember", "DECember")  # fmt: skip


class System:
    """The headers of this part."""

    def __init__(self, panel: "InfiniiVisionPanel") -> None:
        self._panel = panel
        self._masks = {"OPEE": 0, "HWEenable": 0, "MTEenable": 0, "OVLenable": 0}
        self._date = (2000, 1, 1)
        self._clock_offset = 0.0
        self._labels = b""

    def summary(self) -> int:
        """Further bits of the status byte: 7 operation register, 0 trigger."""
        operation = bool(self._panel.latched() & self._masks["OPEE"])
        return OPERATION * operation + TRIGGERED * self._panel.digitizer.trigger_event

    def commands(self) -> dict[str, Entry]:
        """All of them."""
        registers = {f"{name}:CONDition": Entry(None, lambda call: "+0") for name in _REGISTERS}
        no_stick = ("SAVE:IMAGe[:STARt]", "SAVE:WAVeform[:STARt]", "SAVE:MULTi[:STARt]", "SAVE:LISTer[:STARt]",
                    "RECall:WMEMory<n>[:STARt]", "RECall:MASK[:STARt]", "SAVE:MASK[:STARt]")  # fmt: skip
        return {
            **{name: self._mask(name) for name in self._masks},
            **registers,
            **{f"{name}[:EVENt]": Entry(None, lambda call: "+0") for name in _REGISTERS},
            **{name: Entry(self._no_stick) for name in no_stick},
            "SYSTem:DATE": Entry(self._set_date, lambda call: ",".join(f"{n:+d}" for n in self._date)),
            "SYSTem:TIME": Entry(self._set_time, lambda call: self._time()),
            "SYSTem:DIDentifier": Entry(None, lambda call: '"0"'),
            "SYSTem:PERSona[:MANufacturer]": Entry(None, lambda call: self._panel.status.identity.split(",")[0]),
            "HARDcopy:STARt": Entry(lambda call: None),
            "HARDcopy:PRINter:LIST": Entry(None, lambda call: ""),
            "HARDcopy:ABORt": Entry(lambda call: None),
            "DISPlay:LABList": Entry(self._set_labels, lambda call: block(self._labels, 8)),
            "DISPlay:MESSage:CLEar": Entry(lambda call: None),
            "CALibrate:DATE": Entry(None, lambda call: "+1,+JAN,+2020"),
            "CALibrate:TIME": Entry(None, lambda call: "+12,+0,+0"),
            "CALibrate:PROTected": Entry(None, lambda call: "PROT"),
            "CALibrate:STATus": Entry(None, lambda call: '+0,"Calibrated"'),
            "CALibrate:TEMPerature": Entry(None, lambda call: shown(0.0)),
            "CHANnel<n>:PROTection": Entry(self._protect, self._protection),
            "CHANnel<n>:PROBe:MODel": Entry(None, self._no_probe),
            "EXTernal": Entry(None, lambda call: ":EXT:BWL 0;RANG +8.00000E+00;UNIT VOLT;PROB +1.00000E+00"),
            "COUNter:CURRent": Entry(None, lambda call: self._panel.counted()),
            "COUNter:TOTalize:CLEar": Entry(lambda call: None),
            "WAVeform:SEGMented:TTAG": Entry(None, lambda call: shown(0.0)),
            "ACQuire:SEGMented:ANALyze": Entry(lambda call: None),
            "TRIGger:GLITch:RANGe": Entry(self._set_span, lambda call: self._span()),
            "TRIGger:PATTern": Entry(self._set_pattern, lambda call: self._pattern()),
        }

    def _mask(self, name: str) -> Entry:
        def write(call: Call) -> None:
            self._masks[name] = int(number(call.only()[0], 0, 65535))

        return Entry(write, lambda call: f"+{self._masks[name]}")

    @staticmethod
    def _no_stick(call: Call) -> None:
        for text in call.args[:1]:
            quoted(text)
        raise ScpiError(-252, "no USB stick")

    def _set_labels(self, call: Call) -> None:
        text = call.only()[0]
        digits = text[1:2]
        if not text.startswith("#") or not digits.isdecimal() or not text[2 : 2 + int(digits)].isdecimal():
            raise ScpiError(-161, "a list of labels is a block")
        self._labels = text[2 + int(digits) :].encode("latin-1", "replace")

    def _set_date(self, call: Call) -> None:
        year, month, day = call.only(3, 3)
        months = [m.upper()[:3] for m in _MONTHS]
        at = int(number(month, 1, 12)) if not month[:1].isalpha() else months.index(choice(month, _MONTHS)[:3]) + 1
        self._date = (int(number(year, 1990, 2100)), at, int(number(day, 1, 31)))

    def _set_time(self, call: Call) -> None:
        hours, minutes, seconds = (
            number(text, 0, top) for text, top in zip(call.only(3, 3), (23, 59, 59), strict=True)
        )  # fmt: skip
        self._clock_offset = 3600 * hours + 60 * minutes + seconds - self._panel.clock.now()

    def _time(self) -> str:
        minutes, second = divmod(int(self._panel.clock.now() + self._clock_offset) % 86400, 60)
        return f"{minutes // 60:+d},{minutes % 60:+d},{second:+d}"

    def _protect(self, call: Call) -> None:
        self._panel.check_channel(call.suffixes)
        choice(call.only()[0], ("CLEar",))

    def _protection(self, call: Call) -> str:
        self._panel.check_channel(call.suffixes)
        return "NORM"

    def _no_probe(self, call: Call) -> str:
        self._panel.check_channel(call.suffixes)
        return "NONE"

    # Triggers that are told of with several values

    def _set_span(self, call: Call) -> None:
        less, greater = (number(text, 2e-9, 10, "s") for text in call.only(2, 2))
        self._panel.settings.put("TRIGger:GLITch:LESSthan", less)
        self._panel.settings.put("TRIGger:GLITch:GREaterthan", greater)

    def _span(self) -> str:
        value: Callable[[str], float] = self._panel.settings.number
        return f"{shown(value('TRIGger:GLITch:LESSthan'))},{shown(value('TRIGger:GLITch:GREaterthan'))}"

    def _set_pattern(self, call: Call) -> None:
        text = quoted(call.only(3)[0]).upper()
        if not text or set(text) - set("01XRF"):
            raise ScpiError(-224, text)
        self._panel.settings.values["pattern"] = text

    def _pattern(self) -> str:
        return f'"{self._panel.settings.values.get("pattern", "X" * self._panel.channels)}",NONE,POS'
