"""Oscilloscope captures keep every code and the last bit of every factor."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import RunWriter, WaveformSpec, layout, open_run, salvage

Make = Callable[..., RunWriter]
SCOPE = WaveformSpec("scope", ("x", "y"), 100)
FACTORS: dict[str, Any] = {
    "y_increment": [1 / 3, 2e-3],
    "y_origin": [0.1, -0.2],
    "y_reference": [0, 128],
    "x_increment": 1e-6 / 7,
    "x_origin": -5e-5,
}


def codes(number: int, spec: WaveformSpec = SCOPE, samples: int | None = None) -> np.ndarray:
    shape = len(spec.channels), samples or spec.samples
    return np.random.default_rng(number).integers(0, 256, shape).astype(spec.dtype)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None])
@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_captures_come_back_exactly(make_run: Make, tmp_path: Path, compression: Any, dtype: Any) -> None:
    spec = WaveformSpec("scope", ("x", "y"), 100, dtype, compression)
    with make_run(waveforms=[spec]) as run:
        for number in range(5):
            assert run.waveform("scope", codes(number, spec), index=10 + number, **FACTORS) == number
        run.waveform("scope", codes(5, spec, 40), **FACTORS)
    with open_run(tmp_path / "run-1") as file:
        kept = file.waveforms("scope")
        assert kept.spec == spec
        assert len(kept) == 6
        for number in range(5):
            np.testing.assert_array_equal(kept.codes(number), codes(number, spec))
        assert kept.codes(5).shape == (2, 40)
        assert kept.index["index"].tolist() == [10, 11, 12, 13, 14, -1]
        for name, value in FACTORS.items():
            np.testing.assert_array_equal(kept.index[name][3], value)
        expected = (codes(1, spec)[1].astype(float) - 128) * 2e-3 - 0.2
        np.testing.assert_allclose(kept.volts(1)[1], expected, rtol=1e-15)
        assert kept.times(0)[0] == -5e-5
        assert kept.times(5).shape == (40,)
        with pytest.raises(AnalysisError, match="there is no capture 6"):
            kept.codes(6)


def test_a_capture_larger_than_a_chunk_is_whole(make_run: Make, tmp_path: Path) -> None:
    spec = WaveformSpec("scope", ("x", "y"), 700_001, compression="lzf")
    with make_run(waveforms=[spec]) as run:
        run.waveform("scope", codes(0, spec), **FACTORS)
    with open_run(tmp_path / "run-1") as file:
        np.testing.assert_array_equal(file.waveforms("scope").codes(0), codes(0, spec))


def test_captures_can_be_watched(make_run: Make, tmp_path: Path) -> None:
    with make_run(waveforms=[SCOPE]) as run:
        run.waveform("scope", codes(0), **FACTORS)
        run.sync()
        with open_run(tmp_path / "run-1") as watched:
            np.testing.assert_array_equal(watched.waveforms("scope").codes(0), codes(0))


def test_captures_go_through_kill_salvage_and_resume(make_run: Make, tmp_path: Path, now: Any) -> None:
    run = make_run(waveforms=[SCOPE])
    for number in range(3):
        run.waveform("scope", codes(number), **FACTORS)
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "run-1", left)
    run.close()
    assert salvage(left).captures == 3
    with RunWriter.resume(left, now=now, started="later", world="simulated") as again:
        assert again.state is not None
        assert again.state.captures == {"scope": 3}
        assert again.waveform("scope", codes(3), **FACTORS) == 3
    with open_run(left) as file:
        for number in range(4):
            np.testing.assert_array_equal(file.waveforms("scope").codes(number), codes(number))


def test_lost_codes_are_named_and_the_rest_is_kept(make_run: Make, tmp_path: Path, now: Any) -> None:
    run = make_run(waveforms=[SCOPE])
    run.waveform("scope", codes(0), **FACTORS)
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "run-1", left)
    run.waveform("scope", codes(1), **FACTORS)
    shutil.copy(tmp_path / "run-1" / layout.JOURNAL, left)
    run.close()
    report = salvage(left)
    assert report.lost_captures == (("scope", 1),)
    assert not report.is_complete
    again = salvage(left)
    assert (again.rebuilt, again.lost_captures, again.captures) == (False, (("scope", 1),), 1)
    with RunWriter.resume(left, now=now, started="later", world="simulated") as resumed:
        resumed.waveform("scope", codes(2), **FACTORS)
    with open_run(left) as file:
        kept = file.waveforms("scope")
        np.testing.assert_array_equal(kept.codes(0), codes(0))
        np.testing.assert_array_equal(kept.codes(2), codes(2))
        with pytest.raises(AnalysisError, match="codes of capture 1 of scope were lost"):
            kept.volts(1)


@pytest.mark.parametrize(
    ("scope", "array", "changes", "said"),
    [
        ("other", codes(0), {}, "no waveforms of 'other' were declared"),
        ("scope", codes(0)[:1], {}, r"has shape \(1, 100\)"),
        ("scope", np.zeros((2, 101), np.int16), {}, "up to 100 samples"),
        ("scope", codes(0).astype(np.uint8), {}, "codes of type uint8"),
        ("scope", codes(0), {"y_origin": [0.0]}, "for each of its 2 channels"),
        ("scope", codes(0), {"x_increment": float("nan")}, "no finite number"),
    ],
)
def test_what_was_not_declared_is_refused(make_run: Make, scope: str, array: Any, changes: Any, said: str) -> None:
    with make_run(waveforms=[SCOPE]) as run, pytest.raises(AnalysisError, match=said):
        run.waveform(scope, array, **FACTORS | changes)


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": "My Scope"},
        {"channels": ()},
        {"samples": 0},
        {"dtype": "float32"},
        {"compression": "zip"},
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(AnalysisError, match="waveforms"):
        WaveformSpec(**{"scope": "scope", "channels": ("x",), "samples": 1} | fields)


def test_codes_stay_compressed_in_the_finished_file(make_run: Make, tmp_path: Path) -> None:
    with make_run(waveforms=[SCOPE]) as run:
        run.waveform("scope", np.zeros((2, 100), np.int16), **FACTORS)
    with h5py.File(tmp_path / "run-1" / layout.FINAL) as file:
        raw = file["entry/waveforms/scope/raw"]
        assert (raw.compression, raw.shuffle, raw.chunks) == ("gzip", True, (1, 2, 100))
        assert raw.id.get_storage_size() < 100
