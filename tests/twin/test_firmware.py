"""The published firmware, word by word."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.twin.dac import CHIPS, COLUMNS, MID, NIBBLES, RunTrace, dac_codes, decode
from instruments.twin.firmware import RUN_TICKS, Firmware, type_tables

TRACE = Path(__file__).resolve().parents[3] / "shared" / "facts" / "firmware_trace_In00.json"


def board(seed: int = 1) -> Firmware:
    return Firmware(lambda: np.random.default_rng(seed))


def send(firmware: Firmware, line: bytes, end: bytes = b"\r\n") -> list[bytes]:
    for byte in line + end:
        firmware.line.receive(byte)
    return firmware.execute() if firmware.line.ready else []


def run(*lines: bytes, firmware: Firmware | None = None) -> RunTrace:
    """The trace of a run after `lines`, from a board that has been on for ten seconds."""
    firmware = firmware or board()
    firmware.advance(2000)
    for line in lines:
        send(firmware, line)
    send(firmware, b"Go")
    (trace,) = firmware.advance(2000 + RUN_TICKS + 2)
    return trace


def model(kind: str, score: float = 1.0, scale: float = 0.5) -> npt.NDArray[np.float64]:
    """The published formulas in double precision, V, shape (241, 16): g2, fx, t1..t14."""
    table = type_tables()[kind]
    left = 1 - 0.005 * np.arange(241)
    beta = 0.001 + 0.499 * left
    angle = 2 * np.pi * left[:, None] * table.w.astype(float)
    waves = np.concatenate([np.sin(angle) + table.c[:7], np.cos(angle) + table.c[7:]], axis=1)
    return np.concatenate([(0.5 * score * beta)[:, None], (-0.25 * beta)[:, None], scale * waves], axis=1)


def test_every_word_of_the_published_image_is_reproduced() -> None:
    if not TRACE.exists():
        pytest.skip("the emulated trace is not beside the repository")
    rows = np.array(json.loads(TRACE.read_text())["rows"])
    trace = run(b"In00")
    assert trace.words["tick"].tolist() == rows[:, 0].tolist()
    assert trace.words["chip"].tolist() == rows[:, 1].tolist()
    difference = np.abs(trace.words["word"].astype(int) - rows[:, 2])
    assert difference.max() <= 1
    assert np.count_nonzero(difference) == 0  # single precision and the library's sine table, as on the chip


@pytest.mark.parametrize("kind", ["0", "1", "3", "4", "b", "E"])
def test_types_that_fit_the_range_follow_the_formulas_within_one_code(kind: str) -> None:
    volts = run(b"In" + kind.encode() + b"0").volts
    wanted = np.trunc(2048 * (1 + model(kind, scale=0.05 if kind == "4" else 0.5)))[:201]
    assert np.abs((volts[:201, :16] + 1) * 2048 - wanted).max() <= 1


def test_run_has_241_active_ticks_and_a_closing_write_at_zero_volts() -> None:
    trace = run(b"In00")
    assert (trace.ticks, trace.volts.shape, len(trace.words)) == (241, (242, 18), 4356)
    assert not trace.volts[-1].any()
    assert trace.volts[200, COLUMNS.index("g2")] == pytest.approx(0.0005, abs=1 / 2048)  # beta(0): the result
    assert trace.volts[201, COLUMNS.index("g2")] < 0
    assert not trace.aborted


def test_words_go_out_in_order_and_at_least_64_us_apart() -> None:
    trace = run(b"In00")
    first = trace.words[:18]
    assert first["chip"].tolist() == [9, 9, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 9, 9]
    assert (first["word"] >> 12).tolist() == [0, 1, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]
    assert np.diff(trace.words["time"]).min() > 63.9e-6
    assert np.ptp(first["time"]) > 1.08e-3


def test_switches_close_and_open_in_sequence() -> None:
    edges = [(e.name, e.level, round(e.time * 1e6)) for e in run(b"In00").edges]
    assert edges == [
        ("S3", 1, 0), ("S1", 1, 0), ("S4", 1, 100), ("S2", 1, 100),
        ("S4", 0, 1_205_000), ("S2", 0, 1_205_000), ("S3", 0, 1_205_100), ("S1", 0, 1_205_100),
    ]  # fmt: skip


@pytest.mark.parametrize(("tick", "obeyed"), [(999, False), (1000, True), (119_998, True), (119_999, False)])
def test_go_needs_more_than_a_thousand_ticks_and_the_counter_wraps(tick: int, obeyed: bool) -> None:
    firmware = board()
    firmware.advance(tick)
    assert send(firmware, b"Go") == [b""]
    traces = firmware.advance(tick + 300)
    assert (len(traces), firmware.dropped) == ((1, 0) if obeyed else (0, 1))


def test_go_during_and_soon_after_a_run_is_acknowledged_and_dropped() -> None:
    firmware = board()
    firmware.advance(2000)
    send(firmware, b"Go")
    firmware.advance(2100)
    assert send(firmware, b"Go") == [b""]
    assert len(firmware.advance(2900)) == 1
    assert send(firmware, b"Go") == [b""]
    assert firmware.advance(3001) == []
    assert firmware.dropped == 2
    send(firmware, b"Go")
    firmware.advance(3002)
    assert firmware.progress()[0] == "running"


def test_stepping_by_ticks_equals_leaping() -> None:
    leaping = run(b"In11", b"N150")
    stepping = board()
    stepping.advance(2000)
    for line in (b"In11", b"N150", b"Go"):
        send(stepping, line)
    traces = [trace for tick in range(2001, 2300) for trace in stepping.advance(tick)]
    assert np.array_equal(traces[0].words, leaping.words)


def test_settings_reach_a_run_that_is_going_on() -> None:
    firmware = board()
    firmware.advance(2000)
    send(firmware, b"Go")
    firmware.advance(2050)
    send(firmware, b"O7050")
    (trace,) = firmware.advance(2300)
    noise1 = trace.volts[:, COLUMNS.index("noise1")]
    assert not noise1[:50].any()
    assert noise1[50:] == pytest.approx(0.2, abs=1 / 2048)


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ([b"In00"], b"Type:0\tStart..."),
        ([b"InZ0"], b"Type:Z\tStart..."),
        ([b"O6025"], b"Offset set1: 0.100000\nOffset set2: -0.250000"),
        ([b"OAB!!"], b"Offset set1: 1.380000\nOffset set2: -2.150000"),
        ([b"C125"], b"Coef: 1.250000"),
        ([b"C000"], b"Coef: 1.000000"),
        ([b"D2"], b"V_bias and DAC coef: 0.200000"),
        ([b"D7"], b"V_bias and DAC coef: 0.100000"),
        ([b"N075"], b"Noise Scale: 0.750000"),
        ([b"C050", b"C5"], b"Coef: 5.500000"),
        ([b"C050", b""], b"Coef: 0.500000"),
        ([b"D2", b"O6025", b""], b"Offset set1: 0.100000\nOffset set2: -0.250000"),
    ],
)
def test_replies(lines: list[bytes], reply: bytes) -> None:
    firmware = board()
    for line in lines[:-1]:
        send(firmware, line)
    assert send(firmware, lines[-1]) == [reply]


def test_unknown_lines_get_no_reply() -> None:
    firmware = board()
    assert send(firmware, b"*IDN?") == []
    assert send(firmware, b"go") == []


def test_line_without_line_feed_is_dropped_with_the_character_after_it() -> None:
    firmware = board()
    assert send(firmware, b"C050\rxN200") == [b"Noise Scale: 2.000000"]
    assert firmware.settings.score == 1.0


def test_characters_are_lost_while_a_line_waits_and_beyond_200_they_start_over() -> None:
    firmware = board()
    for byte in b"C050\r\nN999\r\n":
        firmware.line.receive(byte)
    assert firmware.execute() == [b"Coef: 0.500000"]
    assert send(firmware, b"x" * 200 + b"N100") == [b"Noise Scale: 1.000000"]


def test_noise_byte_is_kept_from_an_earlier_line() -> None:
    firmware = board()
    send(firmware, b"In01")
    send(firmware, b"In2")
    assert (firmware.settings.kind, firmware.settings.noise) == ("2", True)


def test_unknown_type_keeps_the_table_and_bias_waits_for_the_next_in() -> None:
    waves = slice(2, 16)
    plain = run(b"In00").volts[:, waves]
    assert np.array_equal(run(b"In00", b"In90").volts[:, waves], plain)
    assert np.array_equal(run(b"In00", b"D0").volts[:, waves], plain)
    assert np.abs(run(b"D0", b"In00").volts[:-1, waves] - plain[:-1] / 2).max() < 1.5 / 2048


def test_noise_is_irwin_hall_scaled_with_beta_after_the_step_and_held() -> None:
    traces = [run(b"In01", b"N080", b"O6040", firmware=board(seed)) for seed in range(100)]
    noise = np.stack([trace.volts[:, 16:] for trace in traces])
    after = np.append(0.001 + 0.499 * (1 - 0.005 * np.arange(1, 242)), 0.001 + 0.499 * 0.995)
    deviations = (noise - [0.1, -0.1]) / (0.8 * after[:, None])
    usable = np.abs(after) > 0.05  # elsewhere a code is coarser than the noise
    pooled = deviations[:, usable].ravel()
    assert pooled.mean() == pytest.approx(0, abs=0.02)
    assert pooled.std() == pytest.approx(1, abs=0.02)
    assert np.abs(pooled).max() < 6
    assert deviations[:, -1].std() == pytest.approx(1, abs=0.2)  # the closing write leaves noise on the outputs


def test_class_two_wraps_t6_for_28_ticks() -> None:
    volts, wanted = run(b"In20").volts[:201, :16], model("2")[:201]
    wrapped = np.abs(volts - wanted) > 1
    assert np.count_nonzero(wrapped, axis=0).tolist() == [0] * 7 + [28] + [0] * 8
    assert COLUMNS[7] == "t6"
    row = int(np.argmax(wrapped[:, 7]))
    assert volts[row, 7] == pytest.approx(wanted[row, 7] - 2, abs=1.5 / 2048)


def test_a_spilled_word_for_output_a_reaches_b_and_a_keeps_its_voltage() -> None:
    words = (np.full((2, 18), MID, dtype=np.uint16) | (NIBBLES << 12)).astype(np.uint16)
    t1, t2 = COLUMNS.index("t1"), COLUMNS.index("t2")
    words[1, t1] = 4096 + 100
    words[1, t2] = (1 << 12) | 7
    held = np.full(18, 300)
    volts = decode(words, held)
    assert volts[1, t1] == volts[0, t1] == 0.0
    assert (volts[1, t2] + 1) * 2048 == 7  # B's own word comes after
    words[1, t2] = 15 << 12  # a word that names no output: what A spilled into B stays
    assert (decode(words, held)[1, t2] + 1) * 2048 == 100
    words[0, COLUMNS.index("t13")] = 2 << 12  # chip 4 has nothing on C and D
    assert decode(words, held)[0, COLUMNS.index("t13")] == 0.0


def test_codes_truncate_saturate_below_and_spill_above() -> None:
    codes = dac_codes(np.array([-2.0, -1.0, -0.99976, 0.0, 0.9999, 1.0, 1.5], dtype=np.float32))
    assert codes.tolist() == [0, 0, 0, 2048, 4095, 4096, 5120]


@given(st.lists(st.integers(0, 65535), min_size=36, max_size=36))
def test_decoding_follows_each_word(words: list[int]) -> None:
    table = np.array(words, dtype=np.uint16).reshape(2, 18)
    held: dict[tuple[int, int], int] = {}
    volts = decode(table, np.full(18, MID))
    for row, line in zip(volts, table.tolist(), strict=True):
        held.update({(int(chip), word >> 12): word & 4095 for chip, word in zip(CHIPS, line, strict=True)})
        wanted = [held.get((int(c), int(n)), MID) for c, n in zip(CHIPS, NIBBLES, strict=True)]
        assert ((row + 1) * MID).tolist() == wanted


@given(st.lists(st.binary(max_size=12), max_size=30))
def test_any_bytes_are_survived(lines: list[bytes]) -> None:
    firmware = board()
    for tick, line in enumerate(lines):
        firmware.advance(tick * 400)
        for byte in line + b"\r\n":
            firmware.line.receive(byte)
        if firmware.line.ready:
            firmware.execute()
    firmware.advance(len(lines) * 400 + 2000)
    assert firmware.progress()[0] in ("idle", "done")


def test_all_published_types_are_there() -> None:
    assert "".join(type_tables()) == "01234abcdefgABCDEFGHI"
    assert all(table.w.shape == (7,) and table.c.shape == (14,) for table in type_tables().values())
