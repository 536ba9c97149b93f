"""Tapes: what goes over VISA is kept, played back as a bench, and held against a twin."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pyvisa
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import ConfigError, InstrumentError
from instruments.tape import Tape, recording
from instruments.tape_bench import write_bench
from instruments.tape_compare import checked, compare, judge, summarise
from instruments.tape_exchanges import exchanges

ANALYZER = "GPIB0::17::INSTR"
SCOPE = "USB0::0x2A8D::0x1797::MY00000001::0::INSTR"


def bench(query: str = "seed=3", file: str = "bench-rram32.yaml") -> pyvisa.ResourceManager:
    # Each has a name of its own: equal specifications would be one bench.
    return pyvisa.ResourceManager(f"{file}?{query}&name={next(_NUMBERS)}@twin")


_NUMBERS = iter(range(10_000))


def session(manager: pyvisa.ResourceManager) -> list[Any]:
    """What a program might do: queries, measurements, an error, a time-out, a block of binary data, a poll, a clear."""
    analyzer: Any = manager.open_resource(ANALYZER, read_termination="\r\n", write_termination="\r\n", timeout=500)
    scope: Any = manager.open_resource(SCOPE, read_termination="\n", write_termination="\n")
    told = [analyzer.query("*IDN?"), scope.query("*IDN?")]
    for message in ("CN 1,3", "DV 1,0,0.2,1E-4", "MM 1,1"):
        analyzer.write(message)
    told += [analyzer.query("TI 1,0"), analyzer.read_stb(), analyzer.query("ERRX?")]
    analyzer.write("NONSENSE 5")
    told.append(analyzer.query("ERR?"))
    scope.write(":DIG CHAN1")
    scope.write(":WAV:FORM WORD")
    told.append(bytes(scope.query_binary_values(":WAV:DATA?", datatype="B", container=bytes)))
    with pytest.raises(pyvisa.VisaIOError):
        analyzer.read()
    analyzer.clear()
    told += [analyzer.query("*OPC?"), manager.visalib.clock.now_ns]
    return told


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tape, list[Any]]:
    path = tmp_path_factory.mktemp("tapes") / "a.jsonl"
    manager = bench()
    with recording(manager, path):
        told = session(manager)
    manager.close()
    return Tape.load(path), told


@pytest.fixture
def tape(made: tuple[Tape, list[Any]]) -> Tape:
    return made[0]


@pytest.fixture
def replayed(tape: Tape, tmp_path: Path) -> Iterator[Any]:
    manager = pyvisa.ResourceManager(f"{write_bench(tape, tmp_path / 'b')}@twin")
    yield manager
    manager.close()


def test_a_session_is_played_back_byte_for_byte_in_the_same_time(made: Any, replayed: Any) -> None:
    tape, told = made
    assert tape.world == "simulated"
    assert tape.resources == (ANALYZER, SCOPE)
    assert session(replayed) == told


def test_a_program_that_does_something_else_is_told_so(tape: Tape, replayed: Any) -> None:
    analyzer = replayed.open_resource(ANALYZER, read_termination="\r\n", write_termination="\r\n")
    analyzer.query("*IDN?")
    with pytest.raises(InstrumentError, match=r"the tape goes on with b'CN 1,3' \(line \d+\), not b'CN 1,2'"):
        analyzer.write("CN 1,2")


def test_the_end_of_a_tape_is_told(tape: Tape, replayed: Any) -> None:
    session(replayed)
    analyzer = replayed.open_resource(ANALYZER, write_termination="\r\n")
    with pytest.raises(InstrumentError, match=r"the tape is over; it has no b'\*RST'"):
        analyzer.write("*RST")


def test_in_any_order_messages_are_answered_wherever_they_are(made: Any, tmp_path: Path) -> None:
    tape, told = made
    manager = pyvisa.ResourceManager(f"{write_bench(tape, tmp_path / 'b', order='any')}@twin")
    analyzer: Any = manager.open_resource(ANALYZER, read_termination="\r\n", write_termination="\r\n")
    assert analyzer.query("TI 1,0") == told[2]
    assert [analyzer.query("*IDN?") for _ in range(3)] == told[:1] * 3
    with pytest.raises(InstrumentError, match="nowhere on the tape"):
        analyzer.write("TV 1,0")
    manager.close()


def test_the_same_chip_replies_as_recorded_and_another_does_not(tape: Tape) -> None:
    found = compare(tape, bench("seed=3"))
    assert {one.verdict for one in found} == {"same"}
    checked(found, 0.0)
    other = compare(tape, bench("seed=4"))
    assert {one.head for one in other if one.verdict == "numbers"} == {"TI", ":WAV:DATA?"}
    with pytest.raises(InstrumentError, match=r"2 of \d+ replies are not as recorded; the first, line \d+ of the tape"):
        checked(other, 1e-6)
    by_head = {(one.at, one.head): one for one in summarise(other)}
    assert by_head[ANALYZER, "TI"].relative > 1e-6
    assert by_head[ANALYZER, "*IDN?"].counts == {"same": 1}
    assert by_head[SCOPE, ":WAV:DATA?"].recorded_s == pytest.approx(by_head[SCOPE, ":WAV:DATA?"].twin_s)


def test_what_the_twin_does_not_do_is_found(tape: Tape, tmp_path: Path) -> None:
    text = tape.path.read_text()
    assert "TI 1,0" in text
    (tmp_path / "other.jsonl").write_text(
        text.replace('"Agilent Technologies,B1500A,0,', '"Keysight Technologies,B1500A,0,').replace('"ERRX?', '"ERRY?')
    )
    odd = [one for one in compare(Tape.load(tmp_path / "other.jsonl"), bench()) if one.verdict != "same"]
    assert [(one.head, one.verdict) for one in odd][:2] == [("*IDN?", "different"), ("ERRY?", "missing")]


def test_a_tape_is_never_played_to_real_instruments(tape: Tape) -> None:
    with pytest.raises(ConfigError, match="its pulses would be given again"):
        compare(tape, pyvisa.ResourceManager("@py"))


def test_a_bench_that_lacks_an_instrument_of_the_tape_is_told(tape: Tape, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text('spec: "1.1"\ndevices: {}\nresources: {}\n')
    with pytest.raises(ConfigError, match="the twin has no GPIB0::17::INSTR"):
        compare(tape, bench(file=str(tmp_path / "small.yaml"), query="seed=1"))


def test_a_tape_of_a_killed_program_is_read_to_its_last_whole_line(tape: Tape, tmp_path: Path) -> None:
    data = tape.path.read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(data[:-20])
    assert Tape.load(tmp_path / "cut.jsonl").events == tape.events[:-1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "its first line is not a tape's header"),
        (b"{}\n", "its first line is not a tape's header"),
        (b'{"tape":2}\n', "format 2; this version reads 1"),
        (b'{"tape":1,"visa":"","world":"real","started":"","station":""}\n{"at":3}\n', "line 2 is not an event"),
        (
            b'{"tape":1,"visa":"","world":"real","started":"","station":""}\n{"t":0,"d":0,"at":"A","op":"eat"}\n',
            "line 2 is not an event",
        ),
    ],
)
def test_what_is_no_tape_is_told(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "t").write_bytes(text)
    with pytest.raises(ConfigError, match=said):
        Tape.load(tmp_path / "t")


def test_nothing_is_overwritten(tape: Tape, tmp_path: Path) -> None:
    shutil.copy(tape.path, tmp_path / "mine.jsonl")
    with pytest.raises(ConfigError, match="exists"), recording(bench(), tmp_path / "mine.jsonl"):
        pass
    with pytest.raises(ConfigError, match="holds something already"):
        write_bench(tape, tmp_path)


def test_a_message_in_pieces_is_one_and_so_is_a_reply(tmp_path: Path) -> None:
    manager = bench()
    with recording(manager, tmp_path / "t"):
        scope: Any = manager.open_resource(SCOPE)
        scope.send_end = False
        scope.write_raw(b"*ID")
        scope.send_end = True
        scope.write_raw(b"N?\n")
        whole = b"".join(scope.visalib.read(scope.session, 10)[0] for _ in range(7))
    (one,) = exchanges(Tape.load(tmp_path / "t"), SCOPE)
    assert (one.message, one.replies) == (b"*IDN?", (whole,))


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=4), st.binary(max_size=8)
)
def test_replies_are_judged_alike_from_both_sides(numbers: list[float], other: bytes) -> None:
    one = b",".join(f"NAI{value:+.6E}".encode() for value in numbers)
    assert judge(one, one) == ("same", 0.0)
    moved = b",".join(f"NAI{1.25 * value:+.6E}".encode() for value in numbers)
    assert judge(one, moved) == judge(moved, one)
    assert judge(one, moved)[1] <= 0.2 + 1e-5
    assert judge(one, other)[0] == judge(other, one)[0]
