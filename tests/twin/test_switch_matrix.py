"""A switch matrix: its commands, the lines behind it, and cells selected by it where there is no board."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import pyvisa
from hypothesis import given, settings
from hypothesis import strategies as st

import sim_configs
from instruments.errors import InstrumentError, LimitError, LinkError, ModeError
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.switch_matrix import KeysightB2200, MatrixBoard

FILE = StationFile.load("station-matrix.yaml")
ADDRESS = "GPIB0::22::INSTR"


@pytest.fixture(scope="module")
def opened() -> Iterator[Station]:
    with Station.open(FILE, seed="1") as station:
        yield station


@pytest.fixture
def station(opened: Station) -> Iterator[Station]:
    yield opened
    opened.safe()


@pytest.fixture
def box() -> Iterator[Any]:
    manager = pyvisa.ResourceManager(f"{sim_configs.path('bench-matrix.yaml')}@twin")
    resource: Any = manager.open_resource(ADDRESS, read_termination="\n", write_termination="\n", timeout=1000)
    resource.panel = manager.visalib.instruments[ADDRESS].panel
    yield resource
    manager.close()


# The panel


@pytest.mark.parametrize(
    ("message", "closed"),
    [
        (":ROUT:CLOS (@00101)", {(1, 1)}),
        (":ROUTe:CLOSe (@00101,01448)", {(1, 1), (14, 48)}),
        (":clos (@00101 , 00202)", {(1, 1), (2, 2)}),
        (":ROUT:CLOS (@00101);OPEN (@00101)", set()),
        (":ROUT:CLOS (@00101);:ROUT:OPEN:CARD 0", set()),
        (":ROUT:CLOS (@00101);*RST", set()),
        (":ROUT:CONN:RULE 0,SROU;:ROUT:CLOS (@00101);:ROUT:CLOS (@00102)", {(1, 2)}),
        (":ROUT:CONN:RULE 0,SROU;:ROUT:CLOS (@00101);:ROUT:CLOS (@00201)", {(2, 1)}),
        (":ROUT:CONN:RULE 0,FREE;:ROUT:CLOS (@00101);:ROUT:CLOS (@00102)", {(1, 1), (1, 2)}),
    ],
)
def test_crosspoints_close_and_open(box: Any, message: str, closed: set[tuple[int, int]]) -> None:
    box.write(message)
    assert box.query(":SYST:ERR?") == '+0,"No error"'
    assert box.panel.closed == closed
    listed = ",".join(f"0{i:02d}{o:02d}" for i, o in sorted(closed))
    assert box.query(":ROUT:CLOS:CARD? 0") == f"(@{listed})"
    for path in closed:
        assert box.query(f":ROUT:CLOS? (@0{path[0]:02d}{path[1]:02d})") == "1"
        assert box.query(f":ROUT:OPEN? (@0{path[0]:02d}{path[1]:02d})") == "0"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (":ROUT:CLOS (@01501)", -222), (":ROUT:CLOS (@00149)", -222), (":ROUT:CLOS (@00001)", -222),
        (":ROUT:CLOS 00101", -104), (":ROUT:CLOS (@101)", -104), (":ROUT:CLOS", -109), (":ROUT:CLOS (@)", -104),
        (":ROUT:OPEN:CARD 9", -222), (":ROUT:CONN:RULE 0,BOTH", -224), (":ROUT:SHUT (@00101)", -113),
        (":AGND:PORT 0,99", -222), (":AGND:UNUSED 0", -109), (":BIAS 0,2", -222),
    ],
)  # fmt: skip
def test_what_it_hasn_t_is_an_error_and_closes_nothing(box: Any, message: str, code: int) -> None:
    box.write(message)
    assert int(box.query(":SYST:ERR?").split(",")[0]) == code
    assert box.query("*ESR?") != "0"
    assert box.panel.closed == set()
    assert box.query(":SYST:ERR?") == '+0,"No error"'


# The driver and the cells behind it


def test_a_cell_is_selected_by_three_crosspoints_and_read(station: Station) -> None:
    switches: Any = station.switches
    assert isinstance(switches, MatrixBoard)
    cells, truth = station.array, station.bench.true_conductance
    cells.prepare()
    for cell in ((0, 0, 0), (0, 7, 3), (0, 2, 7)):
        cells.select(*cell)
        assert station.bench.fixture.selected == cell
        assert station.drivers["matrix"].closed() == switches.paths(cell[1], cell[2])
        assert switches.connected() == ("program", cell)
        assert cells.read().conductance == pytest.approx(truth()[cell], rel=0.03)


def test_lines_are_broken_before_others_are_made(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    panel: Any = station.openings["matrix"].manager.visalib.instruments[ADDRESS].panel
    station.array.prepare()
    station.array.select(0, 1, 1)
    seen = []
    switched = panel._switched
    monkeypatch.setattr(panel, "_switched", lambda: (seen.append(set(panel.closed)), switched())[1])
    station.array.select(0, 2, 1)
    assert seen == [{(1, 2)}, {(1, 2), (2, 19), (3, 11)}]  # the bit line is the same one and stays
    assert not panel.shorted


@pytest.mark.parametrize("paths", [[(1, 5), (2, 5)], [(1, 1), (2, 17), (3, 17)]])
def test_two_sources_on_one_line_are_refused_by_the_driver_and_by_the_gate(
    station: Station, paths: list[tuple[int, int]]
) -> None:
    matrix: Any = station.drivers["matrix"]
    with pytest.raises(LimitError, match="two sources on one line"):
        matrix.close(paths)
    listed = ",".join(f"0{i:02d}{o:02d}" for i, o in paths)
    with pytest.raises(LimitError, match="two sources on one line"):
        matrix._resource.write(f":ROUT:CLOS (@{listed})")
    assert matrix.closed() == frozenset()


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.booleans()), max_size=8))
def test_whatever_is_asked_two_sources_never_meet(opened: Station, asked: list[tuple[int, int, bool]]) -> None:
    matrix: Any = opened.drivers["matrix"]
    panel: Any = opened.openings["matrix"].manager.visalib.instruments[ADDRESS].panel
    matrix.open_all()
    for source, line, closing in asked:
        with contextlib.suppress(LimitError):
            (matrix.close if closing else matrix.open)([(source, line)])
        outputs = [output for _, output in panel.closed]
        assert len(set(outputs)) == len(outputs)
    assert not panel.shorted


@pytest.mark.parametrize(
    ("ask", "kind", "why"),
    [
        (lambda s: s.switches.mode("compute"), ModeError, "a switch matrix can't compute"),
        (lambda s: s.switches.select(0, 1, 1), ModeError, "not in programming mode"),
        (lambda s: (s.switches.mode("program"), s.switches.select(0, 8, 0)), ModeError, "there is no cell"),
        (lambda s: s.drivers["matrix"].close([(15, 1)]), LimitError, "inputs 1..14"),
        (lambda s: s.drivers["matrix"]._tell(":ROUT:CONN:RULE 0,SROU"), LimitError, "not among the commands"),
    ],
)
def test_what_can_t_be_is_refused(station: Station, ask: Any, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        ask(station)


class Wire:
    """Loses what comes from the matrix, or garbles it."""

    def __init__(self, reply: bytes | None) -> None:
        self.reply = reply

    def before_write(self, resource: str, data: bytes) -> bytes:
        return data

    def after_reply(self, resource: str, data: bytes) -> bytes | None:
        return self.reply if resource == ADDRESS else data


@pytest.mark.parametrize("reply", [None, b"(@001\n", b"zap\n"])
def test_a_broken_line_is_told_and_safe_says_what_it_could_not_do(station: Station, reply: bytes | None) -> None:
    library: Any = station.openings["matrix"].manager.visalib
    matrix: KeysightB2200 = station.drivers["matrix"]
    matrix.close([(1, 1)])
    library.faults = Wire(reply)
    try:
        with pytest.raises(LinkError):
            matrix.closed()
        problems = matrix.safe()
        assert problems
        with pytest.raises(InstrumentError):
            station.switches.safe()
    finally:
        library.faults = None
    assert matrix.safe() == []
    assert matrix.closed() == frozenset()


def test_leaving_the_station_opens_everything() -> None:
    with Station.open(FILE) as station:
        station.array.prepare()
        station.array.select(0, 3, 3)
        panel: Any = station.openings["matrix"].manager.visalib.instruments[ADDRESS].panel
        bench = station.bench
    assert panel.closed == set()
    assert (bench.fixture.mode, bench.fixture.selected) == ("safe", None)
    assert station.left_safe
