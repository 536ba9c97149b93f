"""Patterns: the moon and star, files of targets, and what is said of files that are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.errors import RequestError
from workflows.procedures.patterns import LEVELS, WINDOW, check_targets, load_pattern, moon_star


def test_the_moon_and_star_fill_the_linear_window() -> None:
    pattern = moon_star()
    assert pattern.shape == (32, 32)
    assert (pattern.min(), pattern.max()) == pytest.approx(WINDOW)
    levels = (pattern - WINDOW[0]) / (WINDOW[1] - WINDOW[0]) * (LEVELS - 1)
    assert np.allclose(levels, np.round(levels), atol=1e-9)
    assert len(np.unique(np.round(levels))) == 54
    check_targets(pattern, *WINDOW)


def test_moon_and_star_stand_out_of_the_sky() -> None:
    bright = moon_star() > 58e-6
    upper, lower = bright[:14, 18:], bright[17:]
    assert 30 < upper.sum() < 80  # the star
    assert 40 < lower.sum() < 150  # most of the crescent
    assert not bright[16:, 24:].any()  # sky below the star
    assert bright[9, 23]  # its middle
    assert not bright[16, 18]  # inside the crescent's bow


@given(st.integers(1, 80), st.integers(1, 80), st.integers(2, 300))
def test_any_array_can_show_it(rows: int, cols: int, levels: int) -> None:
    pattern = moon_star(rows, cols, levels)
    assert pattern.shape == (rows, cols)
    assert np.all((pattern >= WINDOW[0]) & (pattern <= WINDOW[1] * (1 + 1e-12)))


def test_a_named_pattern_is_drawn_for_the_array() -> None:
    assert np.array_equal(load_pattern("moon-star", 16, 8), moon_star(16, 8))


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_targets_are_read_from_files_and_nan_leaves_a_cell_alone(tmp_path: Path, suffix: str) -> None:
    path, values = tmp_path / f"targets{suffix}", np.array([[2e-5, np.nan, 5e-5], [1e-4, 3.25e-5, 2e-5]])
    if suffix == ".npy":
        np.save(path, values)
    else:
        path.write_text("2e-5,nan,5e-5\n1e-4, 3.25e-5 ,2e-5\n")
    assert np.array_equal(load_pattern(str(path), 2, 3), values, equal_nan=True)


def test_whole_numbers_and_short_floats_are_numbers_too(tmp_path: Path) -> None:
    for dtype in (np.int32, np.uint8, np.float32):
        np.save(tmp_path / "t.npy", np.ones((2, 2), dtype))
        assert load_pattern(str(tmp_path / "t.npy"), 2, 2).dtype == np.float64


def saved(values: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.asarray(values), allow_pickle=True)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None  # type: ignore[func-returns-value]


FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("t.csv", text(""), "has shape"),
    ("t.csv", text("# nothing\n"), "has shape"),
    ("t.csv", text("row,col\n1,2\n"), "can't be read as numbers"),
    ("t.csv", text("1e-5;2e-5\n3e-5;4e-5\n"), "can't be read as numbers"),
    ("t.csv", text("1e-5,2e-5\n3e-5\n"), "can't be read as numbers"),
    ("t.csv", text("1e-5,2e-5\n"), "has shape (1, 2); this array needs (2, 2)"),
    ("t.csv", text("nan,nan\nnan,nan\n"), "must hold finite conductances"),
    ("t.csv", text("inf,1e-5\n1e-5,1e-5\n"), "must hold finite conductances"),
    ("t.csv", lambda p: p.write_bytes(b"\xff\xfe\x00\x01"), "can't be read as numbers"),
    ("t.npy", text("1,2\n3,4\n"), "can't be read as numbers"),
    ("t.npy", lambda p: p.write_bytes(b""), "can't be read as numbers"),
    ("t.npy", lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), "can't be read as numbers"),
    ("t.npy", saved(np.ones((2, 2, 1))), "has shape (2, 2, 1)"),
    ("t.npy", saved(np.ones(4)), "has shape (4,)"),
    ("t.npy", saved(2e-5), "has shape ()"),
    ("t.npy", saved([["2e-5", "x"], ["1", "2"]]), "can't be read as numbers"),
    ("t.npy", saved([[1e-5 + 1j, 0], [0, 0]]), "it holds complex128, not real numbers"),
    ("t.npy", saved([[True, False], [True, True]]), "it holds bool, not real numbers"),
    ("t.npy", saved([[1e-5, None], [0, 0]]), "can't be read as numbers"),
    (
        "t.npy",
        lambda p: np.savez(p, a=np.ones((2, 2))) or p.with_suffix(".npy.npz").rename(p),
        "can't be read as numbers",
    ),
    ("t.npy", lambda p: p.mkdir(), "not found"),
]


@pytest.mark.parametrize(("name", "write", "words"), FILES, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(FILES)])
def test_a_file_that_is_no_pattern_gets_one_sentence(
    tmp_path: Path, name: str, write: Callable[[Path], object], words: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(RequestError) as caught:
        load_pattern(str(tmp_path / name), 2, 2)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    np.save(path, np.ones((2, 2)))
    claim = path.read_bytes().replace(b"(2, 2), ", b"(2, 9999999999999), ".ljust(8), 1)
    path.write_bytes(claim)
    with pytest.raises(RequestError, match="can't be read as numbers"):
        load_pattern(str(path), 2, 2)


def test_a_file_of_another_size_class_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(RequestError, match="larger than the 65792 bytes"):
        load_pattern(str(path), 2, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sun", "pattern 'sun' is unknown; give moon-star, or a .npy or .csv file"),
        ("", "pattern '' is unknown"),
        ("targets.txt", "is unknown"),
        ("no-such-file.npy", "pattern file no-such-file.npy not found"),
        ("x" * 300 + ".csv", "can't be read"),
        ("~nobody-of-this-name/t.csv", "can't be read"),
    ],
)
def test_a_pattern_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_pattern(name, 2, 2)
    assert words in str(caught.value)


def test_targets_outside_the_window_are_named_and_counted() -> None:
    target = np.full((3, 4), 5e-5)
    target[0, 0] = np.nan
    check_targets(target, 1e-5, 1.2e-4)
    target[1, 2], target[2, 0] = 1.3e-4, 1e-6
    with pytest.raises(RequestError) as caught:
        check_targets(target, 1e-5, 1.2e-4)
    assert str(caught.value) == (
        "target of cell (1, 2) is 130 uS, outside the device's window of 10..120 uS (2 such cells); nothing was pulsed"
    )


def test_microsiemens_are_recognised() -> None:
    with pytest.raises(RequestError, match=r"must be in siemens \(20 uS is 2e-5\)"):
        check_targets(np.full((2, 2), 20.0), 1e-5, 1.2e-4)


def test_both_ends_of_the_window_belong_to_it() -> None:
    check_targets(np.array([[1e-5, 1.2e-4]]), 1e-5, 1.2e-4)


def test_a_spreadsheets_byte_order_mark_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbf" + b"3e-05,4e-05\n5e-05,nan\n")
    values = load_pattern(str(path), 2, 2)
    assert values[0, 0] == 3e-5
    assert np.isnan(values[1, 1])
