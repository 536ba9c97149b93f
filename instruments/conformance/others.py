"""Checks of oscilloscopes, boards and switch matrices."""

from typing import Any

import numpy as np

from instruments.conformance.subject import Failed, Skipped, Subject, expect, refusal
from instruments.errors import InstrumentError, LimitError, StationError
from instruments.oscilloscope import Capture, ChannelSetup, Timebase, Trigger
from instruments.switch_matrix import MatrixBoard

_TICKS = 40
_TIMES = Timebase(0.25, 0.02, 2000)
_CHANNELS = {1: ChannelSetup(2.0), 2: ChannelSetup(2.0)}


class _Witness:
    """Sees the board's runs beside the oscilloscope."""

    def __init__(self) -> None:
        self.run: Any = None

    def on_run(self, run: Any) -> None:
        self.run = run


def _captured(s: Subject) -> tuple[Capture, Any]:
    """A record of a run of the board, and the run as the twin has it."""
    world = s.world
    if (
        "compute" not in s.station.openings["board"].registered.driver.capabilities
        if "board" in s.station.openings
        else True
    ):
        raise Skipped("no board here makes a signal")
    board, witness = s.station.board, _Witness()
    world.scopes.append(witness)
    try:
        board.mode("compute")
        board.set_initial_state(0.3, -0.2)
        s.driver.configure(_CHANNELS, _TIMES, Trigger("EXT", 1.65, "rising"))
        s.driver.arm()
        board.start_run(_TICKS)
        s.driver.wait(5.0)
        board.wait_done()
        return s.driver.read(), witness.run
    finally:
        world.scopes.remove(witness)
        board.safe()


def scope_axes(s: Subject) -> str:
    """A record has a row a channel, in ascending order, and a column a sample."""
    capture, _ = _captured(s)
    codes = np.asarray(capture.codes)
    expect(tuple(capture.channels) == (1, 2), f"channels 1 and 2 were asked for, {capture.channels} came")
    expect(codes.ndim == 2 and codes.shape[0] == 2, f"codes have shape {codes.shape}, (channels, samples) are (2, n)")
    expect(codes.shape[1] >= _TIMES.points, f"{codes.shape[1]} samples came, at least {_TIMES.points} were asked for")
    expect(codes.dtype == np.int16, f"codes are {codes.dtype}, not int16")
    for name in ("y_increment", "y_origin", "y_reference"):
        found = np.shape(getattr(capture, name))
        expect(found == (2,), f"{name} has shape {found}, one value a channel is (2,)")
    return f"{codes.shape}"


def scope_times(s: Subject) -> str:
    """Its times are seconds after the trigger and cover what was asked."""
    capture, _ = _captured(s)
    times = capture.times
    expect(capture.x_increment > 0, f"x_increment is {capture.x_increment} s")
    length = times[-1] - times[0] + capture.x_increment
    expect(length >= 0.98 * _TIMES.duration_s, f"the record lasts {length:g} s, {_TIMES.duration_s:g} s were asked for")
    early = -_TIMES.pre_trigger_s
    expect(
        abs(times[0] - early) <= 0.02 * _TIMES.duration_s + capture.x_increment,
        f"the record begins {times[0]:g} s after the trigger, {early:g} s were asked for",
    )
    return f"{times[0]:.3g} s to {times[-1]:.3g} s"


def scope_volts(s: Subject) -> str:
    """Its volts are those at the probes, each channel's own."""
    capture, run = _captured(s)
    panel = s.library.instruments[sorted(s.wire.resources)[0]].panel
    times, volts = capture.times, capture.volts
    # Away from the steps of the DACs, where bandwidth and jitter of the trigger would be compared.
    chosen = np.linspace(0, len(times) - 1, 400).astype(int)
    for row, channel in enumerate(capture.channels):
        true = run.sample([panel.probes[channel]], times[chosen])[0]
        error = float(np.median(np.abs(volts[row, chosen] - true)))
        size = _CHANNELS[channel].range_v
        expect(error <= 0.02 * size, f"channel {channel} is {error:g} V off in the middle, of a range of {size:g} V")
    return "as at the probes"


def scope_no_trigger(s: Subject) -> str:
    """Without a trigger, waiting ends with InstrumentError."""
    s.driver.configure(_CHANNELS, _TIMES, Trigger("EXT", 1.65, "rising"))
    s.driver.arm()
    with refusal(InstrumentError, "no trigger came and wait()"):
        s.driver.wait(0.5)
    return "InstrumentError"


def scope_refuses(s: Subject) -> str:
    """A channel that it hasn't is refused before anything is sent."""
    wire = s.wire
    wire.heard.clear()
    with refusal(LimitError, "channel 99 was asked for and configure()"):
        s.driver.configure({99: ChannelSetup(1.0)}, _TIMES, Trigger())
    expect(not wire.heard, f"{wire.heard[:1]} was sent all the same")
    return "LimitError"


def scope_garbage(s: Subject) -> str:
    """A block that is broken is an InstrumentError, not a record."""
    _captured(s)
    s.wire.reply = lambda data: b"#9" + data[1:40] + data[-1:]
    with refusal(InstrumentError, "the reply was broken and read()"):
        s.driver.read()
    return "InstrumentError"


# Boards


def board_selects(s: Subject) -> str:
    """The cell that is selected is the one that was asked for, and the board says so."""
    board, fixture = s.driver, s.world.fixture
    board.mode("program")
    arrays, rows, cols = s.station.file.shape
    for cell in ((0, 0, 0), (arrays - 1, rows - 1, 0), (0, rows // 2, cols - 1)):
        board.select(*cell)
        expect(fixture.selected == cell, f"cell {cell} was asked for, {fixture.selected} is connected")
        expect(board.connected() == ("program", cell), f"{cell} is connected and the board says {board.connected()}")
    return "three cells"


def board_refuses(s: Subject) -> str:
    """A cell that doesn't exist is refused, and so is one in safe mode."""
    _ = s.world
    board = s.driver
    board.mode("program")
    with refusal(StationError, "a cell beyond the array was asked for and select()"):
        board.select(0, 10_000, 0)
    board.safe()
    with refusal(StationError, "the board was safe and select()"):
        board.select(0, 0, 0)
    return "refused"


def board_safe(s: Subject) -> str:
    """The safe state connects no cell."""
    fixture = s.world.fixture
    s.driver.mode("program")
    s.driver.select(0, 1, 1)
    s.driver.safe()
    expect(fixture.selected is None, f"after safe() cell {fixture.selected} is connected")
    return "disconnected"


def geometry(s: Subject) -> str:
    """It has the cells that the station file says."""
    found = tuple(s.driver.geometry())
    enough = len(found) == 3 and all(there >= asked for there, asked in zip(found, s.station.file.shape, strict=True))
    expect(enough, f"it says {found}, the station file {s.station.file.shape}")
    return f"{found}"


# Matrices


def matrix_closes(s: Subject) -> str:
    """Crosspoints close and open as asked, and it says so."""
    matrix = s.driver
    matrix.open_all()
    matrix.close([(1, 1), (2, 9)])
    found = frozenset(matrix.closed())
    expect(found == {(1, 1), (2, 9)}, f"(1, 1) and (2, 9) were closed and it says {sorted(found)}")
    matrix.open([(1, 1)])
    found = frozenset(matrix.closed())
    expect(found == {(2, 9)}, f"(1, 1) was opened and it says {sorted(found)}")
    matrix.open_all()
    expect(not matrix.closed(), f"all were opened and it says {sorted(matrix.closed())}")
    return "as asked"


def matrix_shorts(s: Subject) -> str:
    """Two sources on one line are refused, together and one after the other; nothing closes."""
    _ = s.world
    matrix = s.driver
    matrix.open_all()
    with refusal(LimitError, "two sources on one line were asked for and close()"):
        matrix.close([(1, 5), (2, 5)])
    expect(not matrix.closed(), f"it was refused and {sorted(matrix.closed())} closed all the same")
    matrix.close([(1, 5)])
    with refusal(LimitError, "a second source on a line was asked for and close()"):
        matrix.close([(2, 5)])
    expect(frozenset(matrix.closed()) == {(1, 5)}, f"it was refused and {sorted(matrix.closed())} are closed")
    return "refused"


def matrix_unknown(s: Subject) -> str:
    """A crosspoint that it hasn't is refused."""
    with refusal(StationError, "a crosspoint beyond the matrix was asked for and close()"):
        s.driver.close([(99, 999)])
    return "refused"


def matrix_selects(s: Subject) -> str:
    """Each cell is selected by its three crosspoints, and only it."""
    if not isinstance(s.station.switches, MatrixBoard):
        raise Skipped("the station selects its cells by a board")
    board, fixture = s.station.switches, s.world.fixture
    board.mode("program")
    _, rows, cols = s.station.file.shape
    for cell in ((0, 0, 0), (0, rows - 1, cols - 1), (0, rows // 2, 0)):
        board.select(*cell)
        expect(fixture.selected == cell, f"cell {cell} was asked for, {fixture.selected} is connected")
        expect(board.connected() == ("program", cell), f"{cell} is connected and it says {board.connected()}")
    return "three cells"


def matrix_safe(s: Subject) -> str:
    """The safe state is every crosspoint open."""
    s.driver.close([(1, 1), (2, 9), (3, 17)])
    problems = s.driver.safe()
    expect(not problems, f"safe() says {problems}")
    left = s.driver.closed()
    if left:
        raise Failed(f"after safe() {sorted(left)} are closed")
    return "open"
