"""Drivers with one defect each, as people write them; the conformance suite must find it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from instruments import smu_pair, switch_matrix
from instruments.b1500a import SpotReading
from instruments.builtin_drivers import INFINIIVISION_DRIVER, KEITHLEY_2600_PAIR, KEYSIGHT_B2200
from instruments.drivers import Opening
from instruments.errors import LinkError
from instruments.gates import Rule
from instruments.infiniivision import InfiniiVision
from instruments.oscilloscope import Capture
from instruments.smu_pair import SourceMeasurePair
from instruments.switch_matrix import KeysightB2200


def pair(kind: type[SourceMeasurePair]) -> Any:
    def make(opening: Opening) -> SourceMeasurePair:
        links = [opening.link(channels={"a": 1, "b": 2})]
        links.append(opening.link(str(opening.options["second"]), channels={"a": 3, "b": 4}))
        return kind(links, opening.clock, opening.troubles, opening.limits, opening.lines)

    return replace(KEITHLEY_2600_PAIR, make=make)


class Millivolts(SourceMeasurePair):
    def force_voltage(self, channel: int, volts: float, compliance: float) -> None:
        super().force_voltage(channel, volts / 1000, compliance)


class TwiceTheCurrent(SourceMeasurePair):
    def spot_current(self, channel: int) -> SpotReading:
        found = super().spot_current(channel)
        return replace(found, current=found.current * 2)


class Deaf(SourceMeasurePair):
    """Never looks at the error queue."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for box in self._boxes:
            box.check_errors = lambda: None  # type: ignore[method-assign]  # that is the defect
            box.tell = lambda statements, box=box: box.inst.write(";".join(statements))  # type: ignore[misc]  # as above


class Forgetful(SourceMeasurePair):
    """Takes a flag's word for it that nothing is on, and loses the flag when something goes wrong."""

    driving = True

    def fire(self, channels: Sequence[int]) -> None:
        self.driving = False
        super().fire(channels)
        self.driving = True

    def safe(self) -> list[str]:
        return super().safe() if self.driving else []


class NoSafeState(SourceMeasurePair):
    def safe(self) -> list[str]:
        return []


class HostTimed(SourceMeasurePair):
    def _pulse(self, channel: int, pulse: Any) -> None:
        box, letter = self._place(channel)
        box.tell([f"smu{letter}.source.levelv={pulse.peak:.6G}"])
        self._clock.sleep(pulse.width)
        box.tell([f"smu{letter}.source.levelv={pulse.base:.6G}"])


class Impatient(SourceMeasurePair):
    """Gives a pulse again whose acknowledgement didn't come."""

    def fire(self, channels: Sequence[int]) -> None:
        for last in (False, True):
            try:
                super().fire(channels)
                return
            except Exception:
                self.mend()
                if last:
                    raise


class NeverMends(SourceMeasurePair):
    """Leaves what was late in the buffers."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for box in self._boxes:
            box.mend = lambda: None  # type: ignore[method-assign]  # that is the defect


class Optimist(SourceMeasurePair):
    """A number in place of a reading that didn't come."""

    def spot_current(self, channel: int) -> SpotReading:
        try:
            return super().spot_current(channel)
        except LinkError:
            return SpotReading(0.0, 0, False)


class Trusting(SourceMeasurePair):
    def identify(self) -> str:
        return " + ".join(box.ask("*IDN?") for box in self._boxes)


class OddErrors(SourceMeasurePair):
    def spot_current(self, channel: int) -> SpotReading:
        try:
            return super().spot_current(channel)
        except LinkError as error:
            raise RuntimeError("no reply") from error


class Doubled(SourceMeasurePair):
    """Its pulses last twice as long."""

    def pulse_setup(self, channel: int, base: float, peak: float, width: float, *rest: Any, **more: Any) -> None:
        super().pulse_setup(channel, base, peak, 2 * width)


def _around_the_gate(opening: Opening) -> SourceMeasurePair:
    links = [opening.manager.open_resource(name) for name in opening.entry.resources]
    return SourceMeasurePair(links, opening.clock, opening.troubles, opening.limits, opening.lines)


MILLIVOLTS, TWICE, DEAF, FORGETFUL = pair(Millivolts), pair(TwiceTheCurrent), pair(Deaf), pair(Forgetful)
NO_SAFE_STATE, HOST_TIMED, IMPATIENT = pair(NoSafeState), pair(HostTimed), pair(Impatient)
NEVER_MENDS, OPTIMIST, TRUSTING, ODD_ERRORS = pair(NeverMends), pair(Optimist), pair(Trusting), pair(OddErrors)
DOUBLED = pair(Doubled)
AROUND_THE_GATE = replace(KEITHLEY_2600_PAIR, make=_around_the_gate)
LYING_TABLE = replace(pair(SourceMeasurePair), rules=(Rule(r".*"),))
NO_TABLE = replace(pair(SourceMeasurePair), rules=())
WRONG_WIRES = replace(
    KEITHLEY_2600_PAIR,
    make=lambda opening: SourceMeasurePair(
        [opening.link(), opening.link(str(opening.options["second"]))], opening.clock, opening.troubles, opening.limits,
        opening.lines,
    ),
)  # fmt: skip


# Oscilloscopes


class Transposed(InfiniiVision):
    def read(self) -> Capture:
        found = super().read()
        return replace(found, codes=found.codes.T)


class Crossed(InfiniiVision):
    """The channels' rows in the wrong order."""

    def read(self) -> Capture:
        found = super().read()
        return replace(found, codes=found.codes[::-1])


class Milliseconds(InfiniiVision):
    def read(self) -> Capture:
        found = super().read()
        return replace(found, x_increment=found.x_increment * 1e3, x_origin=found.x_origin * 1e3)


TRANSPOSED, CROSSED, MILLISECONDS = (
    replace(INFINIIVISION_DRIVER, make=lambda opening, kind=kind: kind(opening.link(), opening.clock))  # type: ignore[misc]  # a default binds the loop's class
    for kind in (Transposed, Crossed, Milliseconds)
)
GENERATOR = replace(
    INFINIIVISION_DRIVER, make=lambda opening: InfiniiVision(opening.link(), opening.clock)
)  # whoever has it may try :WGEN


# Matrices


class Shorting(KeysightB2200):
    def close(self, paths: Any) -> None:
        self._tell(f":ROUT:CLOS {switch_matrix._listed(frozenset(paths))}")


SHORTING = replace(
    KEYSIGHT_B2200,
    make=lambda opening: Shorting(opening.link(), opening.clock, opening.troubles),
    rules=(Rule(r":ROUT:CLOS .*"), *switch_matrix.RULES),  # a table that hides what it closes
)
SHORTING_HONESTLY = replace(SHORTING, rules=switch_matrix.RULES)

# Not drivers at all

NOT_A_DRIVER = SourceMeasurePair
WRONG_ROLE = replace(KEITHLEY_2600_PAIR, role="lamp")  # type: ignore[arg-type]  # that is the defect
WRONG_CAPABILITY = replace(KEITHLEY_2600_PAIR, capabilities=frozenset({"flies"}))
BAD_RULE = replace(KEITHLEY_2600_PAIR, rules=(Rule(r"(?P<watts>[0-9]+"), *smu_pair.RULES))
HALF = replace(KEITHLEY_2600_PAIR, make=lambda opening: object())
