"""The simulated board's serial line: both dialects, and the protocol page."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin.fakes_board import FakeBench, ask, framed

import instruments
from instruments import board_frames as frames
from instruments.errors import ConfigError
from instruments.twin.dac import COLUMNS
from instruments.twin.panels.board import BoardPanel

PAGE = Path(instruments.__file__).with_name("board_protocol.md")


def extended() -> tuple[BoardPanel, FakeBench]:
    bench = FakeBench(start_ns=123_456_789)
    return BoardPanel(bench, {"firmware": "extended"}), bench  # type: ignore[arg-type]  # a stand-in


def published(**options: str) -> tuple[BoardPanel, FakeBench]:
    bench = FakeBench()
    return BoardPanel(bench, options), bench  # type: ignore[arg-type]  # a stand-in


# Published dialect


def test_published_run_takes_its_time_and_reaches_the_fixture() -> None:
    panel, bench = published()
    bench.clock.sleep(6.0)
    assert panel.handle(b"In00") == [b"Type:0\tStart..."]
    assert panel.handle(b"Go") == [b""]
    asked = bench.clock.now()
    bench.clock.sleep(1.2)
    assert bench.fixture.traces == []
    bench.clock.sleep(0.02)
    (trace,) = bench.fixture.traces
    assert asked < trace.start < asked + 0.005001
    assert trace.start * 200 == pytest.approx(round(trace.start * 200))
    assert trace.initial is None


def test_published_go_is_dropped_in_the_dead_time() -> None:
    panel, bench = published()
    bench.clock.sleep(4.9)
    assert panel.handle(b"Go") == [b""]
    bench.clock.sleep(2.0)
    assert bench.fixture.traces == []
    assert panel.handle(b"Go") == [b""]
    bench.clock.sleep(2.0)
    assert len(bench.fixture.traces) == 1


def test_published_firmware_ignores_frames_and_answers_within_the_main_loop() -> None:
    panel, bench = published()
    before = bench.clock.now()
    assert panel.handle(framed("ID")) == []
    assert panel.handle(b"C050") == [b"Coef: 0.500000"]
    assert bench.clock.now() - before == pytest.approx(0.02)


def test_idle_board_schedules_nothing() -> None:
    panel, bench = published()
    panel.handle(b"In00")
    now = bench.clock.now_ns
    while (due := bench.clock.next_event_ns()) is not None:
        assert due == now  # left over from letting time pass; nothing of the board's own
        bench.clock.step()


def test_noise_draws_from_the_bench_once_a_noisy_run() -> None:
    panel, bench = published()
    for line, draws in ((b"In00", 0), (b"In01", 1), (b"In01", 2)):
        bench.clock.sleep(6.0)
        panel.handle(line)
        panel.handle(b"Go")
        bench.clock.sleep(1.3)
        assert bench.draws == draws
    first, second = (trace.volts[:, 16] for trace in bench.fixture.traces[1:])
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("wired", "connection"),
    [("compute", ("compute", -1, -1, -1)), ("safe", ("safe", -1, -1, -1)), ("program 2 31 0", ("program", 2, 31, 0))],
)
def test_published_board_is_wired_by_hand(wired: str, connection: tuple[str, int, int, int]) -> None:
    _, bench = published(wired=wired)
    assert bench.fixture.connections == [connection]


@pytest.mark.parametrize(
    "options",
    [{"firmware": "new"}, {"speed": "9600"}, {"wired": "program 3 0 0"}, {"wired": "by hand"}, {"serial": "a b"},
     {"firmware": "extended", "wired": "safe"}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="board"):
        published(**options)


# Frames


def test_the_page_example_is_what_the_board_answers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```exchange\n(.*?)```", text, re.DOTALL)
    bench = FakeBench()
    panel = BoardPanel(bench, {"firmware": "extended"})  # type: ignore[arg-type]  # a stand-in
    compared = 0
    replies: list[bytes] = []
    for line in block.splitlines():
        if line.startswith("  wait "):
            bench.clock.sleep(float(line.split()[1]))
        elif line.startswith("> "):
            replies = panel.handle(line[2:].encode()) or []
        else:
            assert [line] == [f"< {reply.decode()}" for reply in replies]
            compared += 1
    assert compared == 24


def test_the_page_checksum_vectors_hold_and_every_verb_is_on_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"it is `{frames.crc16(b'123456789'):04X}`" in text
    (vector,) = re.findall(r"a complete\s+frame is `(.*?)`", text)
    assert frames.decode_frame(vector.encode()) == frames.Frame(7, "MODE?")
    panel, _ = extended()
    table = text.split("## Verbs")[1].split("Voltages and")[0]
    verbs = {verb for row in table.splitlines() for verb in re.findall(r"`([A-Z]+\??)", row[1:].partition("|")[0])}
    assert len(verbs) == 39
    for verb in verbs:
        assert not ask(panel, verb).startswith("ERR 20"), verb


_BODIES = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="@*"), min_size=1, max_size=400)


@given(st.one_of(st.none(), st.integers(0, 255)), _BODIES)
def test_frames_survive_the_round_trip(seq: int | None, body: str) -> None:
    assert frames.decode_frame(frames.encode_frame(seq, body)) == frames.Frame(seq, body)


@pytest.mark.parametrize(
    ("seq", "body"), [(256, "ID"), (0, ""), (0, "a*b"), (0, "@"), (0, "é"), (0, "a\n"), (0, "x" * 600)]
)
def test_frames_refuse_what_they_cannot_carry(seq: int, body: str) -> None:
    with pytest.raises(frames.FrameError):
        frames.encode_frame(seq, body)


@given(st.lists(st.integers(0, 4095)))
def test_codes_survive_the_round_trip(codes: list[int]) -> None:
    assert frames.unpack_codes(frames.pack_codes(codes)) == codes


@given(st.lists(st.binary(max_size=60), max_size=8), st.sampled_from(["published", "extended"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_survived(lines: list[bytes], firmware: str) -> None:
    bench = FakeBench()
    panel = BoardPanel(bench, {"firmware": firmware})  # type: ignore[arg-type]  # a stand-in
    for line in lines:
        assert isinstance(panel.handle(line), list)
    bench.clock.sleep(2.0)
    if firmware == "extended":
        assert ask(panel, "ID").startswith("OK ohmflow-twin")


@given(
    st.sampled_from(["MODE PROGRAM", "MODE COMPUTE", "GAIN SCORE 2", "PLAIN OFF", "TYPE 4", "D2", "INIT 1 1", "N200"]),
    st.integers(0, 255),
    st.data(),
)
@settings(max_examples=400, deadline=None)
def test_damaged_frames_never_execute(body: str, seq: int, data: st.DataObject) -> None:
    panel, bench = extended()
    settled = list(bench.fixture.connections)
    frame = framed(body, seq)
    place = data.draw(st.integers(0, len(frame) - 1))
    kind = data.draw(st.sampled_from(["change", "lose", "double", "cut"]))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != frame[place]))
    damaged = {
        "change": frame[:place] + bytes([byte]) + frame[place + 1 :],
        "lose": frame[:place] + frame[place + 1 :],
        "double": frame[: place + 1] + frame[place:],
        "cut": frame[:place],
    }[kind]
    if damaged == b"@" + frame:
        return  # an "@" begins the frame anew: nothing is damaged
    if kind == "cut" and place == 0:
        return  # nothing arrived
    replies = panel.handle(damaged) or []
    assert all(b" OK" not in reply for reply in replies)
    assert bench.fixture.connections == settled
    state = [ask(panel, query) for query in ("MODE?", "GAIN? SCORE", "GAIN? BIAS", "GAIN? NOISE", "TYPE?", "INIT?")]
    assert state == [
        "OK SAFE POWER-ON", "OK 1.000000", "OK 0.100000", "OK 1.000000", "OK 0", "OK 0.000000 0.000000",
    ]  # fmt: skip


def test_a_frame_that_lost_its_end_does_not_swallow_the_next() -> None:
    panel, _ = extended()
    assert panel.handle(framed("MODE PROGRAM", 1)[:9] + framed("MODE?", 2)) == [framed("OK SAFE POWER-ON", 2)]


def test_repeated_sequence_number_is_answered_from_memory() -> None:
    panel, bench = extended()
    ask(panel, "MODE COMPUTE", 1)
    first = panel.handle(framed("RUN 10", 2))
    bench.clock.sleep(1.0)
    assert panel.handle(framed("RUN 10", 2)) == first
    bench.clock.sleep(1.0)
    assert len(bench.fixture.traces) == 1
    assert ask(panel, "RUN 10", 3) == "OK 10"
    bench.clock.sleep(1.0)
    assert ask(panel, "RUN 11", 3) == "OK 11"  # another text is another frame
    bench.clock.sleep(1.0)
    assert len(bench.fixture.traces) == 3


def test_sequence_number_zero_is_always_executed_and_clears_the_memory() -> None:
    panel, bench = extended()
    assert ask(panel, "STATE?", 5) == "OK idle 0 0 0 0"
    ask(panel, "MODE COMPUTE")
    ask(panel, "RUN 3")
    bench.clock.sleep(1.0)
    assert ask(panel, "STATE?", 5) == "OK done 3 3 0 1"


# Plain lines beside frames


def test_plain_lines_work_until_the_first_frame_and_after_plain_on() -> None:
    panel, _ = extended()
    assert panel.handle(b"C050") == [b"Coef: 0.500000"]
    assert ask(panel, "GAIN? SCORE") == "OK 0.500000"
    (refusal,) = panel.handle(b"C060") or []
    assert refusal.startswith(b"@- ERR 50 ")
    assert panel.handle(b"") == []
    assert ask(panel, "PLAIN ON", 9) == "OK ON"
    assert ask(panel, "PLAIN ON", 9) == "OK ON"
    assert panel.handle(b"C060") == [b"Coef: 0.600000"]


def test_plain_go_runs_in_compute_only() -> None:
    panel, bench = extended()
    bench.clock.sleep(6.0)
    assert panel.handle(b"Go") == [b""]
    bench.clock.sleep(2.0)
    assert bench.fixture.traces == []
    assert ask(panel, "MODE COMPUTE") == "OK COMPUTE"
    assert ask(panel, "PLAIN ON") == "OK ON"
    assert panel.handle(b"Go") == [b""]
    bench.clock.sleep(2.0)
    assert len(bench.fixture.traces) == 1
    assert ask(panel, "STATE?") == "OK done 241 241 1 1"


# Modes and cells


def test_power_on_is_safe_and_modes_pass_through_safe() -> None:
    panel, bench = extended()
    assert bench.fixture.connections == [("safe", -1, -1, -1)]
    before = bench.clock.now()
    assert ask(panel, "MODE PROGRAM") == "OK PROGRAM"
    assert bench.clock.now() - before == pytest.approx(2e-3, rel=0.2)
    assert ask(panel, "SEL 2 31 0") == "OK 2 31 0"
    assert ask(panel, "MODE PROGRAM") == "OK PROGRAM"
    assert ask(panel, "SEL?") == "OK 2 31 0"
    assert ask(panel, "MODE COMPUTE") == "OK COMPUTE"
    assert ask(panel, "SEL?") == "OK NONE"
    assert [entry[0] for entry in bench.fixture.connections[1:]] == ["safe", "program", "program", "safe", "compute"]


def test_wrong_mode_and_running_are_refused() -> None:
    panel, bench = extended()
    assert ask(panel, "SEL 0 0 0").startswith("ERR 30 ")
    assert ask(panel, "RUN 5").startswith("ERR 30 ")
    ask(panel, "MODE PROGRAM")
    assert ask(panel, "RUN 5").startswith("ERR 30 ")
    ask(panel, "MODE COMPUTE")
    assert ask(panel, "SEL 0 0 0").startswith("ERR 30 ")
    assert ask(panel, "RUN 200") == "OK 200"
    for body in (
        "MODE PROGRAM",
        "RUN 5",
        "INIT 0 0",
        "TYPE 1",
        "NOISE ON",
        "OFFSET 1 0",
        "GAIN SCORE 1",
        "SOURCE TYPE",
    ):
        assert ask(panel, body).startswith("ERR 31 "), body
    assert ask(panel, "MODE COMPUTE") == "OK COMPUTE"
    bench.clock.sleep(2.0)
    assert ask(panel, "MODE PROGRAM") == "OK PROGRAM"


@pytest.mark.parametrize("verb", ["SAFE", "MODE SAFE", "RESET", "STOP"])
@pytest.mark.parametrize("wait", [0.0, 0.5])
def test_a_run_can_be_ended_at_any_time(verb: str, wait: float) -> None:
    panel, bench = extended()
    ask(panel, "MODE COMPUTE")
    ask(panel, "RUN 200")
    bench.clock.sleep(wait)
    before = bench.clock.now()
    assert ask(panel, verb).startswith("OK")
    assert bench.clock.now() - before < 7e-3
    bench.clock.sleep(2.0)
    assert len(bench.fixture.traces) == (wait > 0)
    if wait:
        (trace,) = bench.fixture.traces
        assert trace.aborted
        assert 90 < trace.ticks < 110
        assert not trace.volts[-1].any()
        assert [edge.level for edge in trace.edges] == [1] * 4 + [0] * 4
    assert ask(panel, "MODE?") == ("OK COMPUTE HOST" if verb == "STOP" else "OK SAFE HOST")


def test_watchdog_lets_go_of_the_cell() -> None:
    panel, bench = extended()
    assert ask(panel, "WATCHDOG 1.5") == "OK 1.500"
    ask(panel, "MODE PROGRAM")
    ask(panel, "SEL 0 1 2")
    for _ in range(4):
        bench.clock.sleep(1.0)
        assert ask(panel, "MODE?") == "OK PROGRAM HOST"
    assert bench.fixture.connections[-1] == ("program", 0, 1, 2)
    bench.clock.sleep(1.6)
    assert bench.fixture.connections[-1] == ("safe", -1, -1, -1)
    assert ask(panel, "MODE?") == "OK SAFE WATCHDOG"
    assert ask(panel, "SEL?") == "OK NONE"


def test_watchdog_leaves_other_modes_alone() -> None:
    panel, bench = extended()
    ask(panel, "WATCHDOG 0.5")
    ask(panel, "MODE COMPUTE")
    bench.clock.sleep(5.0)
    assert ask(panel, "MODE?") == "OK COMPUTE HOST"
    assert ask(panel, "WATCHDOG 0.2").startswith("ERR 22 ")


# Runs


def test_state_follows_the_run() -> None:
    panel, bench = extended()
    assert ask(panel, "STATE?") == "OK idle 0 0 0 0"
    ask(panel, "MODE COMPUTE")
    ask(panel, "INIT 1.25 -0.5")
    ask(panel, "RUN 100")
    assert ask(panel, "STATE?") == "OK precharge 0 100 0 1"
    bench.clock.sleep(0.25)
    phase, tick, ticks, *_ = ask(panel, "STATE?").removeprefix("OK ").split()
    assert (phase, ticks) == ("running", "100")
    assert 43 <= int(tick) <= 47
    bench.clock.sleep(0.5)
    assert ask(panel, "STATE?") == "OK done 100 100 0 1"
    (trace,) = bench.fixture.traces
    assert (trace.initial, trace.ticks, trace.aborted) == ((1.25, -0.5), 100, False)


def test_gains_offsets_and_noise_shape_the_outputs() -> None:
    panel, bench = extended()
    ask(panel, "MODE COMPUTE")
    for body in ("GAIN SCORE 2", "GAIN DRIFT 0.5", "GAIN BIAS 0.05", "OFFSET 1 0.25", "OFFSET 2 -0.125"):
        assert ask(panel, body).startswith("OK ")
        bench.clock.sleep(0.1)
    for body in ("RUN 200", "GAIN SCORE 1", "GAIN DRIFT 1", "GAIN BIAS 0.1", "RUN 200"):
        assert ask(panel, body).startswith("OK ")
        bench.clock.sleep(1.1)
    changed, plain = (trace.volts[:-1] for trace in bench.fixture.traces)
    lsb = 1.01 / 2048
    assert abs(changed[:, 0] - 2 * plain[:, 0]).max() <= 2 * lsb
    assert abs(changed[:, 1] - plain[:, 1] / 2).max() <= 2 * lsb
    assert abs(changed[:, 2:16] - plain[:, 2:16] / 2).max() <= 2 * lsb
    assert changed[:, 16].tolist() == [0.25] * 200
    assert changed[:, 17].tolist() == [-0.125] * 200


def upload(panel: BoardPanel, codes: list[int], order: int = 1) -> str:
    text = frames.pack_codes(codes)
    assert ask(panel, f"TABLE BEGIN {len(codes) // 18}").startswith("OK")
    pieces = [(start, text[2 * start : 2 * start + 200]) for start in range(0, len(codes), 100)]
    for start, piece in pieces[::order]:
        assert ask(panel, f"TABLE DATA {start} {piece}") == f"OK {start} {len(piece) // 2}"
    return ask(panel, f"TABLE COMMIT {frames.crc16(text.encode()):04X}")


@pytest.mark.parametrize("order", [1, -1])
def test_uploaded_table_is_played_as_it_is(order: int) -> None:
    panel, bench = extended()
    codes = [(37 * i) % 4096 for i in range(18 * 50)]
    assert ask(panel, "SOURCE TABLE").startswith("ERR 40 ")
    assert upload(panel, codes, order).startswith("OK 50 ")
    assert ask(panel, "SOURCE TABLE") == "OK TABLE"
    ask(panel, "MODE COMPUTE")
    assert ask(panel, "RUN 51").startswith("ERR 22 ")
    assert ask(panel, "RUN 50") == "OK 50"
    bench.clock.sleep(1.0)
    (trace,) = bench.fixture.traces
    played = ((trace.volts[:-1] + 1) * 2048).astype(int)
    assert played[:, :16].tolist() == [codes[18 * k : 18 * k + 16] for k in range(50)]
    assert (played[:, 16:] == 2048).all()  # noise off: the offset


def test_table_noise_columns_are_amplitudes() -> None:
    panel, bench = extended()
    row = [2048] * 16 + [2048 + 205, 2048]
    upload(panel, row * 1000)
    for body in ("SOURCE TABLE", "NOISE ON", "MODE COMPUTE", "RUN 1000"):
        assert ask(panel, body).startswith("OK")
    bench.clock.sleep(6.0)
    (trace,) = bench.fixture.traces
    assert trace.volts[:-1, COLUMNS.index("noise1")].std() == pytest.approx(0.1, rel=0.1)
    assert not trace.volts[:-1, COLUMNS.index("noise2")].any()


def test_incomplete_or_wrong_tables_leave_the_old_one() -> None:
    panel, _ = extended()
    assert ask(panel, "TABLE?") == "OK NONE"
    good = upload(panel, [2048] * 36)
    assert ask(panel, "TABLE BEGIN 3") == "OK 3"
    assert ask(panel, "TABLE DATA 0 gAgA") == "OK 0 2"
    assert ask(panel, "TABLE COMMIT 0000").startswith("ERR 40 ")
    assert ask(panel, "TABLE DATA 53 gAgA").startswith("ERR 22 ")
    assert ask(panel, "TABLE DATA 0 gA-A").startswith("ERR 21 ")
    assert ask(panel, "TABLE DATA 0 gAg").startswith("ERR 21 ")
    assert ask(panel, f"TABLE DATA 0 {'gA' * 54}") == "OK 0 54"
    assert ask(panel, "TABLE COMMIT 0000").startswith("ERR 40 ")
    assert ask(panel, "TABLE?") == good


@pytest.mark.parametrize(
    ("body", "code"),
    [
        *[(body, 20) for body in ("HELP", "id", "do_id")],
        *[(body, 21) for body in ("ID now", "MODE", "MODE OFF", "INIT 1", "INIT 1 nan", "NOISE 1", "SOURCE FILE")],
        *[(body, 21) for body in ("GAIN SPEED 1", "GAIN? SPEED", "TABLE END 1", "WATCHDOG inf")],
        *[(body, 22) for body in ("INIT 1 5.1", "TYPE x", "GAIN SCORE -1", "OFFSET 3 0", "TABLE BEGIN 0")],
        *[(body, 22) for body in ("TABLE BEGIN 2001", "WATCHDOG 3601", "GAIN BIAS 1e9")],
    ],
)
def test_refusals(body: str, code: int) -> None:
    panel, _ = extended()
    assert ask(panel, body).startswith(f"ERR {code} ")


@pytest.mark.parametrize(
    ("body", "code"), [("SEL 3 0 0", 22), ("SEL 0 32 0", 22), ("SEL 0 0 -1", 21), ("SEL 0 0", 21), ("SEL ALL", 21)]
)
def test_selection_refusals_keep_the_cell(body: str, code: int) -> None:
    panel, _ = extended()
    ask(panel, "MODE PROGRAM")
    ask(panel, "SEL 0 1 2")
    assert ask(panel, body).startswith(f"ERR {code} ")
    assert ask(panel, "SEL?") == "OK 0 1 2"
    assert ask(panel, "SEL NONE") == "OK NONE"


def test_reset_restores_the_settings() -> None:
    panel, _ = extended()
    queries = ("TYPE?", "NOISE?", "OFFSET?", "GAIN? SCORE", "GAIN? BIAS", "INIT?", "TABLE?", "SOURCE?", "WATCHDOG?")
    before = [ask(panel, query) for query in queries]
    upload(panel, [0] * 18)
    for body in (
        "TYPE b",
        "NOISE ON",
        "OFFSET 1 0.1",
        "GAIN SCORE 2",
        "GAIN BIAS 0.05",
        "INIT 1 1",
        "SOURCE TABLE",
        "WATCHDOG 9",
    ):
        assert ask(panel, body).startswith("OK")
    changed = [ask(panel, query) for query in queries]
    assert not set(before) & set(changed)
    assert ask(panel, "RESET") == "OK"
    assert [ask(panel, query) for query in queries] == before


def test_device_clear_forgets_a_line_begun_but_not_the_settings() -> None:
    panel, _ = extended()
    ask(panel, "TYPE b")
    panel.clear()
    panel.trigger()
    assert (panel.pull(), panel.status_byte(), ask(panel, "TYPE?")) == (None, 0, "OK b")


def test_analog_settings_and_routes_reach_the_run() -> None:
    panel, bench = extended()
    assert ask(panel, "ANALOG? RF1") == "OK FIXED"
    assert ask(panel, "ANALOG RF1 90000") == "OK 90000"
    assert ask(panel, "ANALOG RF1 1").startswith("ERR 22")
    assert ask(panel, "ANALOG RF9 1e5").startswith("ERR 21")
    assert ask(panel, "ROUTE 1 0 0001 000102") == "OK 1 0 2 3"
    assert ask(panel, "ROUTE 1 0 0001 0102FF").startswith("ERR 22")
    assert ask(panel, "ROUTE 1 0 0101 000102").startswith("ERR 22")
    assert ask(panel, "ROUTE 1 0 01x 000102").startswith("ERR 21")
    assert ask(panel, "MODE COMPUTE") == "OK COMPUTE"
    assert ask(panel, "RUN 10") == "OK 10"
    bench.clock.sleep(0.2)
    trace = bench.fixture.traces[-1]
    assert trace.analog == {"RF1": 90000.0}
    assert trace.routes == {1: (0, (0, 1), (0, 1, 2))}
    assert ask(panel, "RESET") == "OK"
    assert ask(panel, "ANALOG? RF1") == "OK FIXED"


def test_a_trim_follows_the_table() -> None:
    panel, bench = extended()
    codes = np.full((3, 18), 2048)
    codes[:, 16] = [2048, 2148, 1948]
    text = frames.pack_codes(codes.ravel().tolist())
    for body in ("TABLE BEGIN 3", f"TABLE DATA 0 {text}", f"TABLE COMMIT {frames.crc16(text.encode()):04X}"):
        assert ask(panel, body).startswith("OK")
    for body in ("SOURCE TABLE", "OFFSET 1 0.1", "NOISE TRIM", "MODE COMPUTE", "RUN 3"):
        assert ask(panel, body).startswith("OK")
    assert ask(panel, "NOISE?").startswith("OK TRIM")
    bench.clock.sleep(0.2)
    trims = bench.fixture.traces[-1].volts[:3, 16]
    assert np.allclose(trims, 0.1 + np.array([0, 100, -100]) / 2048, atol=1 / 2048)
