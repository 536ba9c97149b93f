"""Checks of analyzers: volts and amperes are what was asked, limits hold, a pulse comes once or is in doubt, ends."""

import numpy as np

from instruments.array import CellArray
from instruments.conformance.subject import TOLERANCE, Failed, Skipped, Subject, expect, refusal
from instruments.errors import DoubtError, InstrumentError, LimitError, LinkError, StationError

ASKED = 0.15
"""V that moves no cell."""
PULSED = 0.4
"""V of a test pulse: below what moves a cell."""
_MOST_STOPS = 12


def volts_at_the_wire(s: Subject) -> str:
    """What is forced is what was asked, in V and with its sign."""
    channel = s.smu("bit_line")
    for volts in (ASKED, -ASKED):
        s.driver.force_voltage(channel, volts, 100e-6)
        found = s.voltage(channel)
        expect(abs(found - volts) <= TOLERANCE, f"{volts:g} V was asked for and {found:g} V stands on the line")
    return f"+-{ASKED:g} V on channel {channel}"


def amps_at_the_wire(s: Subject) -> str:
    """A current is in A, positive out of the channel."""
    world, cells = s.world, s.ready()
    volts = s.station.file.read.volts
    found = cells.read().current
    true = volts * float(world.true_conductance()[s.cell])
    expect(abs(found - true) <= 0.05 * abs(true) + 20e-9, f"{true:.3g} A flow and it reads {found:.3g} A")
    return f"{found:.3g} A at {volts:g} V"


def compliance(s: Subject) -> str:
    """A current at its compliance is held there and says so."""
    _ = s.world
    cells, channel = s.ready(), s.smu("bit_line")
    free = abs(cells.read().current)
    if free < 1e-6:
        raise Skipped("the cell conducts too little to reach a compliance")
    limit = free / 2
    s.driver.force_voltage(channel, s.station.file.read.volts, limit)
    spot = s.driver.spot_current(channel)
    expect(spot.in_compliance, f"the compliance of {limit:.3g} A was reached and the reading doesn't say so")
    expect(abs(spot.current) <= 1.1 * limit, f"{spot.current:.3g} A flow with a compliance of {limit:.3g} A")
    return f"at {limit:.3g} A"


def pulse_as_asked(s: Subject) -> str:
    """A SET and a RESET pulse reach the cell as asked: height, gate, width, once."""
    world, cells = s.world, s.ready()
    told = []
    for kind, sign in (("set", 1), ("reset", -1)):
        before = len(world.ledger)
        cells.pulse(kind, 1.0, 1.5, s.width)  # type: ignore[arg-type]  # literals above
        drives = _pulses(world.ledger.table()[before:])
        expect(len(drives) == 1, f"one {kind.upper()} pulse was asked for and {len(drives)} reached the cell")
        one = drives[0]
        expect(one["kind"].decode() == kind, f"a {kind.upper()} pulse was asked for, {one['kind'].decode()} came")
        expect(
            abs(one["volts"] - sign) <= 0.01 and abs(one["gate"] - 1.5) <= 0.01,
            f"{sign:+d} V at a gate of 1.5 V were asked for, {one['volts']:g} V at {one['gate']:g} V came",
        )
        wide = abs(one["width"] - s.width)
        expect(wide <= 0.1 * s.width + 1e-9, f"{s.width:g} s were asked for, {one['width']:g} s came")
        told.append(f"{one['width']:.3g} s")
    return f"SET and RESET, {told[0]}"


def pulse_in_doubt(s: Subject) -> str:
    """A pulse that isn't acknowledged raises DoubtError and is never repeated."""
    world = s.world
    for lost in ("the first", "every"):
        cells = s.ready()
        before = len(world.ledger)
        state = {"lost": 0}

        def lose(data: bytes, before: int = before, lost: str = lost, state: dict[str, int] = state) -> bytes | None:
            # The settings that go before it are acknowledged; what fails is the line from the pulse on.
            if not len(_pulses(world.ledger.table()[before:])) or (lost == "the first" and state["lost"]):
                return data
            state["lost"] += 1
            return None

        s.wire.reply = lose
        try:
            cells.pulse("set", 1.0, 1.5, s.width)
        except DoubtError:
            raised = "DoubtError"
        except StationError as error:
            raised = type(error).__name__
        else:
            raised = "nothing"
        s.wire.calm()
        given = len(_pulses(world.ledger.table()[before:]))
        expect(given == 1, f"{lost} reply was lost, one pulse was asked for and {given} reached the cell")
        if lost == "every":
            expect(raised == "DoubtError", f"its acknowledgement was lost and it raised {raised}, not DoubtError")
        s.driver.mend()
    return "DoubtError, one pulse"


def errors_raised(s: Subject) -> str:
    """What the instrument objects to is raised by the call that caused it."""
    channel = s.smu("bit_line")
    s.driver.force_voltage(channel, 0.0, 100e-6)
    junk = b":OHMFLOW:NO:SUCH:COMMAND 1"

    def spoil(data: bytes) -> bytes:
        s.wire.write = lambda later: later
        return junk + b";" + data

    s.wire.write = spoil
    with refusal(InstrumentError, "the instrument objected to a message of force_voltage(), which"):
        s.driver.force_voltage(channel, ASKED, 100e-6)
    return "InstrumentError"


def silent_reading(s: Subject) -> str:
    """A reading that doesn't come is a LinkError."""
    channel = s.smu("bit_line")
    s.driver.force_voltage(channel, ASKED, 100e-6)
    s.wire.reply = lambda data: None
    with refusal(LinkError, "no reply came and spot_current()"):
        s.driver.spot_current(channel)
    return "LinkError"


def stale_reading(s: Subject) -> str:
    """A reply that comes after its time-out is not taken for the next one."""
    world = s.world
    s.ready()
    channel, volts = s.smu("bit_line"), s.station.file.read.volts
    device = s.library.instruments[sorted(s.wire.resources)[0]]
    late: list[bytes] = []

    def keep(data: bytes) -> bytes | None:
        late.append(data)
        return None

    s.driver.force_voltage(channel, volts, 100e-6)
    s.wire.reply = keep
    with refusal(LinkError, "no reply came and spot_current()"):
        s.driver.spot_current(channel)
    s.wire.calm()
    for data in late:
        device.deliver(data)
    s.driver.mend()
    try:
        s.driver.force_voltage(channel, -volts, 100e-6)
        found = s.driver.spot_current(channel).current
    except StationError as error:
        raise Failed(f"after a late reply and mend() the old reply is still there: {error}") from error
    true = -volts * float(world.true_conductance()[s.cell])
    expect(
        abs(found - true) <= 0.1 * abs(true) + 50e-9,
        f"after a late reply and mend() it reads {found:.3g} A where {true:.3g} A flow: the old reply is still there",
    )
    return "told apart"


def garbled_reading(s: Subject) -> str:
    """A reading cut in half or garbled is a LinkError, never a number."""
    channel = s.smu("bit_line")
    s.driver.force_voltage(channel, ASKED, 100e-6)
    s.wire.reply = lambda data: b"#?~" + data[-1:]
    with refusal(LinkError, "the reply was garbage and spot_current()"):
        s.driver.spot_current(channel)
    s.wire.calm()
    s.driver.mend()
    return "LinkError"


def limits_refused(s: Subject) -> str:
    """Beyond a limit nothing is sent: LimitError, and the line stays where it was."""
    tried = 0
    for name in ("bit_line", "word_line", "source_line"):
        channel = s.line(name).smu
        if channel is None:
            continue
        s.driver.force_voltage(channel, 0.0, 100e-6)
        interval = getattr(s.limits, name)
        for volts in (interval.high + 0.5, interval.low - 0.5):
            with refusal(LimitError, f"{volts:g} V on the {name.replace('_', ' ')}, outside its limits,"):
                s.driver.force_voltage(channel, volts, 100e-6)
            found = s.voltage(channel)
            expect(interval.low <= found <= interval.high, f"{found:g} V stand on the {name}, outside its limits")
            tried += 1
    with refusal(LimitError, "a compliance beyond the limit"):
        s.driver.force_voltage(s.smu("bit_line"), 0.0, 2 * s.limits.compliance.high)
    return f"{tried} voltages and a current"


def pulse_refused(s: Subject) -> str:
    """A pulse beyond a limit is refused before anything reaches the cell."""
    world, line = s.world, s.line("bit_line")
    cells = s.ready()
    channel = cells.lines.bit_line.pgu
    assert channel is not None, line
    before = len(_pulses(world.ledger.table()))
    height = s.limits.bit_line.high + 0.5
    with refusal(LimitError, f"a pulse of {height:g} V, outside the bit line's limits,"):
        s.driver.pulse_setup(channel, base=0.0, peak=height, width=s.width, edge=20e-9, load=1e6)
        s.driver.fire([channel])
    expect(len(_pulses(world.ledger.table())) == before, "it reached the cell")
    return f"{height:g} V"


def safe_outputs(s: Subject) -> str:
    """The safe state is 0 V and open on every output."""
    _ = s.world
    s.ready()
    s.driver.force_voltage(s.smu("bit_line"), ASKED, 100e-6)
    problems = s.driver.safe()
    expect(not problems, f"safe() says {problems}")
    left = s.outputs()
    expect(not left, f"after safe() there is {left[0] if left else ''}")
    return "0 V and open"


def safe_after_failure(s: Subject) -> str:
    """However a pulse or a read is cut short, no output is left on by safe()."""
    world = s.world
    for stop in range(_MOST_STOPS):
        cells = s.ready()
        count = [0]

        def cut(data: bytes, count: list[int] = count, stop: int = stop) -> bytes:
            count[0] += 1
            if count[0] == stop + 1:
                raise KeyboardInterrupt
            return data

        s.wire.write = cut
        try:
            _work(cells, s.width)
        except KeyboardInterrupt:
            pass
        else:
            s.wire.calm()
            return f"{stop} places to be stopped at"
        s.wire.calm()
        world.clock.sleep(1e-3)
        problems = s.driver.safe()
        left = s.outputs()
        expect(not left, f"stopped at message {stop + 1}, safe() left {left[0] if left else ''}")
        expect(not problems, f"stopped at message {stop + 1}, safe() says {problems}")
    return f"{_MOST_STOPS} places to be stopped at"


def pulse_ends(s: Subject) -> str:
    """A program that dies within a pulse leaves no level on the line: the instrument ends it by itself."""
    world = s.world
    cells = s.ready()
    line = cells.lines.bit_line
    channels = [c for c in (line.smu, line.pgu) if c is not None]
    written = [0]

    def die(data: bytes) -> bytes:
        written[0] += 1
        if any(abs(s.voltage(c)) > 0.9 for c in channels):
            raise KeyboardInterrupt
        return data

    s.wire.write = die
    try:
        cells.pulse("set", 1.0, 1.5, s.width)
    except KeyboardInterrupt:
        raise Failed(
            f"between two messages {s.voltage(channels[0]):g} V stand on the line: a program that dies there leaves "
            "the pulse on; have the instrument time it, in one message"
        ) from None
    world.clock.sleep(2 * s.width)
    level = max(abs(s.voltage(c)) for c in channels)
    expect(level <= TOLERANCE + ASKED, f"after a pulse {level:g} V stand on the line")
    return "timed by the instrument"


def _work(cells: CellArray, width: float) -> None:
    cells.pulse("set", PULSED, 1.0, width)
    cells.read()


def _pulses(drives: np.ndarray) -> np.ndarray:
    """SETs and RESETs among drives."""
    chosen: np.ndarray = drives[drives["kind"] != b"read"]
    return chosen


def read_sacrificial(s: Subject) -> str:
    """On the sacrificial cell: select, read, twice alike."""
    cells = s.ready()
    first, second = cells.read(), cells.read()
    expect(np.isfinite(first.current), f"it read {first.current}")
    spread = abs(first.current - second.current)
    expect(spread <= 0.2 * abs(first.current) + 100e-9, f"{first.current:.3g} A, then {second.current:.3g} A")
    return f"{first.conductance:.3g} S"


def pulse_sacrificial(s: Subject) -> str:
    """On the sacrificial cell: one weak pulse, acknowledged, and the outputs at rest after it."""
    cells = s.ready()
    volts = min(PULSED, s.limits.bit_line.high)
    cells.pulse("set", volts, min(1.0, s.limits.word_line.high), s.width)
    s.driver.check_errors()
    cells.read()
    return f"{volts:g} V, {s.width:g} s"
