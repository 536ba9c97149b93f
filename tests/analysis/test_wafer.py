"""The wafer view: patterns of known size are found, chance is not, at the stated rate; runs become maps and a page."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.records import RunHeader, RunWriter
from analysis.stress import StressLimits
from analysis.wafer.collect import QUANTITIES, CellMap, Wafer, collect
from analysis.wafer.figures import draw_view
from analysis.wafer.page import wafer_page, wafer_rows
from analysis.wafer.patterns import Pattern, moran, patterns
from analysis.wafer.permutation import found_at, p_value, shuffled_within_columns
from analysis.wafer.shares import wilson
from analysis.wafer.statistics import arrays_differ, stat, views

Floats = npt.NDArray[np.float64]
SIDE = 12


def noise(seed: int, holes: float = 0.0) -> Floats:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((SIDE, SIDE))
    values[rng.random(values.shape) < holes] = np.nan
    return values


def of(values: Floats, seed: int = 5) -> dict[str, Pattern]:
    return {one.kind: one for one in patterns(values, np.random.default_rng(seed))}


# --- patterns ---------------------------------------------------------------------------------------------------------


def test_nothing_is_found_in_noise_beyond_the_stated_rate() -> None:
    """100 maps of noise, some with holes: p <= 5 % in 5 % of them, intervals hold what is there in 95 %."""
    n, p_values, held = 100, [], []
    for seed in range(n):
        for one in patterns(noise(seed, 0.1 if seed % 2 else 0.0), np.random.default_rng(seed + 10_000)):
            p_values.append((one.kind, one.p))
            held.append((one.kind, one.low <= 0.0 <= one.high))
    for kind in ("rows", "columns", "gradient", "edge", "neighbours"):
        below = np.mean([p <= 0.05 for k, p in p_values if k == kind])
        inside = np.mean([good for k, good in held if k == kind])
        assert below <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
        # A share of a variance can't be negative, so that its interval holds 0 in 97.5 %.
        assert inside >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / n)
    assert 0.02 < np.mean([p <= 0.05 for _, p in p_values]) < 0.08


def test_each_pattern_is_found_where_it_is_and_only_there() -> None:
    y, x = np.meshgrid(*(np.linspace(-0.5, 0.5, SIDE),) * 2, indexing="ij")
    rng = np.random.default_rng(11)
    lines = rng.permutation(np.linspace(-1.5, 1.5, SIDE))
    rows = of(noise(1) + lines[:, None])
    assert rows["rows"].p < 0.002
    assert rows["columns"].p > 0.05
    columns = of(noise(2) + lines[None])
    assert columns["columns"].p < 0.002
    assert columns["rows"].p > 0.05
    gradient = of(noise(3) + 2.4 * x - 1.8 * y)["gradient"]
    assert gradient.p < 0.002
    assert gradient.low <= 3.0 <= gradient.high
    assert abs(gradient.angle + np.degrees(np.arctan2(1.8, 2.4))) < 20
    rim = np.ones((SIDE, SIDE))
    rim[1:-1, 1:-1] = 0
    edge = of(noise(4) + rim)["edge"]
    assert edge.p < 0.002
    assert edge.low <= 1.0 <= edge.high
    wide = rng.standard_normal((SIDE + 1, SIDE + 1))
    smooth = (wide[1:, 1:] + wide[1:, :-1] + wide[:-1, 1:] + wide[:-1, :-1]) / 2  # neighbours share half of it
    alike = of(smooth)["neighbours"]
    assert alike.p < 0.002
    assert alike.low > 0.1


def test_size_of_rows_is_their_share_of_the_variance_within_its_interval() -> None:
    """Rows of standard deviation 1 in noise of 1 are half of the variance; 95 % of the intervals say so."""
    held, sizes = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal((20, SIDE)) + rng.standard_normal((20, 1)) + 3 * rng.standard_normal((1, SIDE))
        rows = of(values)["rows"]
        held.append(rows.low <= 0.5 <= rows.high)
        sizes.append(rows.size)
    assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 24)
    assert 0.4 < np.mean(sizes) < 0.6


def test_neighbours_intervals_hold_the_truth_where_neighbours_are_alike() -> None:
    """Moving averages over 2 x 2 cells: side by side share half, Moran's I is 1/2 but for rows and columns removed."""
    n, found = 24, []
    for seed in range(n):
        wide = np.random.default_rng(seed).standard_normal((15, 15))
        smooth = wide[1:, 1:] + wide[1:, :-1] + wide[:-1, 1:] + wide[:-1, :-1]
        found.append(of(smooth, seed)["neighbours"])
    truth = np.mean([one.size for one in found])
    assert 0.25 < truth < 0.55
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.8


@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3), st.floats(1e-9, 1e6))
@settings(max_examples=12)
def test_patterns_do_not_depend_on_unit_or_offset(seed: int, offset: float, factor: float) -> None:
    values = noise(seed, 0.1)
    plain, other = of(values), of((values + offset) * factor)
    assert plain.keys() == other.keys()
    for kind, one in plain.items():
        scale = factor if kind in ("gradient", "edge") else 1.0
        assert other[kind].size == pytest.approx(one.size * scale, abs=1e-5 * scale)
        assert other[kind].p == pytest.approx(one.p, abs=0.03)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_turning_a_map_turns_what_is_found(seed: int) -> None:
    values = noise(seed, 0.1)
    plain, turned = of(values), of(values.T)
    for kind, other in (("rows", "columns"), ("columns", "rows"), ("gradient", "gradient"), ("edge", "edge")):
        assert turned[other].size == pytest.approx(plain[kind].size, abs=1e-6)
        assert turned[other].low == pytest.approx(plain[kind].low, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.6))
@settings(max_examples=12)
def test_shuffling_within_columns_keeps_each_column_and_its_holes(seed: int, holes: float) -> None:
    values = noise(seed, holes)
    mixed = shuffled_within_columns(values, 3, np.random.default_rng(seed))
    for one in mixed:
        assert np.array_equal(np.isnan(one), np.isnan(values))
        assert np.array_equal(np.sort(one, axis=0), np.sort(values, axis=0), equal_nan=True)


def test_moran_of_a_checkerboard_is_minus_one_and_of_halves_near_one() -> None:
    y, x = np.indices((10, 10))
    assert moran((-1.0) ** (x + y)) == pytest.approx(-1.0)
    halves = np.where(x < 5, 1.0, -1.0)
    assert moran(halves) == pytest.approx((180 - 2 * 10) / 180)


def test_small_or_even_maps_are_not_tested() -> None:
    assert patterns(np.ones((8, 8)), np.random.default_rng(0)) == ()
    few = np.full((8, 8), np.nan)
    few[0, :5] = np.arange(5.0)
    assert patterns(few, np.random.default_rng(0)) == ()


def test_a_p_value_is_never_too_small() -> None:
    """The sequential test says p <= a in at most a share a of the cases, for any a."""
    rng = np.random.default_rng(3)
    found = np.array([p_value(rng.standard_normal(), lambda n: rng.standard_normal(n), 1) for _ in range(400)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(found <= level) <= level + 3 * np.sqrt(level * (1 - level) / 400)
    assert found.min() >= 1 / 2000


def test_the_false_discovery_rate_is_that_of_benjamini_and_hochberg() -> None:
    # Their own example (1995): 15 hypotheses, four rejected at 5 %.
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert found_at(p).sum() == 4
    assert found_at([*p, float("nan")]).sum() == 4
    assert not found_at([]).any()
    rng = np.random.default_rng(0)
    assert np.mean([found_at(rng.random(20)).any() for _ in range(500)]) < 0.08


# --- shares and arrays ------------------------------------------------------------------------------------------------


@given(st.integers(1, 2000), st.data())
def test_a_shares_interval_holds_the_share(count: int, data: st.DataObject) -> None:
    good = data.draw(st.integers(0, count))
    low, high = wilson(good, count)
    assert 0 <= low <= good / count <= high <= 1


def test_alike_arrays_differ_rarely_and_others_always() -> None:
    rng = np.random.default_rng(8)
    verdict, error = QUANTITIES["good"], QUANTITIES["error"]

    def maps(values: list[Floats]) -> list[CellMap]:
        return [CellMap("good", "c", k, v, ()) for k, v in enumerate(values)]

    alike = [
        arrays_differ(maps([(rng.random((8, 8)) < 0.9) * 1.0 for _ in range(3)]), verdict, rng) for _ in range(100)
    ]
    assert np.mean(np.array(alike) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    apart = maps([(rng.random((16, 16)) < share) * 1.0 for share in (0.95, 0.7)])
    assert arrays_differ(apart, verdict, rng) < 0.01
    means = [arrays_differ(maps([rng.normal(0, s, (8, 8)) for s in (1, 3)]), error, rng) for _ in range(200)]
    assert np.mean(np.array(means) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert arrays_differ(maps([rng.normal(m, 1, (8, 8)) for m in (0, 1)]), error, rng) < 0.01
    assert np.isnan(arrays_differ(maps([rng.random((8, 8))]), error, rng))


def test_a_mean_and_its_interval() -> None:
    s = stat("x", [np.array([[1.0, 2.0], [3.0, np.nan]])], QUANTITIES["error"])
    assert (s.count, s.mean, s.sigma, s.median) == (3, 2.0, 1.0, 2.0)
    assert s.high - s.mean == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)  # Student's t, 2 degrees of freedom
    assert stat("none", [np.full((2, 2), np.nan)], QUANTITIES["error"]).count == 0


# --- out of runs ------------------------------------------------------------------------------------------------------


def make(
    folder: Path, error: Floats, *, bad: tuple[tuple[int, int], ...] = (), pulses: int = 1, **changes: Any
) -> Path:
    """A programming run whose cells miss their target by `error` S."""
    ticks = itertools.count()
    rows, cols = error.shape
    plain: dict[str, Any] = {
        "procedure": "program", "world": "simulated", "run_id": folder.name, "started": "2031-05-07T08:00:00+00:00",
        "rows": rows, "cols": cols, "chip": "A", "parameters": {"tolerance": 1e-6, "arrays": [0]},
    }  # fmt: skip
    with RunWriter.create(folder, RunHeader(**plain | changes), now=lambda: next(ticks) / 8) as run:
        run.map("conductance_target", np.full((rows, cols), 5e-5))
        for row, col in np.ndindex(rows, cols):
            for _ in range(pulses):
                run.result(run.intent("set", row, col, amplitude=2.0, gate=1.0, width=1e-6), energy=1e-9)
            run.event("read", row, col, conductance=5e-5 + error[row, col], energy=1e-12)
            run.cell(row, col, "unresponsive" if (row, col) in bad else "ok")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Chip A: array 0 programmed twice, array 1 with a gradient; chip B: nothing but chance."""
    root = tmp_path_factory.mktemp("wafer")
    rng = np.random.default_rng(21)
    quiet = [rng.normal(0, 3e-7, (8, 8)) for _ in range(3)]
    slope = quiet[1] + np.linspace(-1e-6, 1e-6, 8)
    later = {"started": "2031-05-08T08:00:00+00:00"}
    return [
        make(root / "a1", quiet[0], bad=((0, 0), (3, 3)), pulses=3),
        make(root / "a0", np.full((8, 8), 9e-7)),
        make(root / "a2", slope, parameters={"tolerance": 1e-6, "arrays": [1]}, **later),
        make(root / "b1", quiet[2], chip="B <i>", bad=((7, 7),), **later),
        root / "a1" / "run.h5",
    ]


def test_runs_become_maps_the_latest_word_counting(runs: list[Path]) -> None:
    first = make(runs[0].parent / "a3", np.zeros((8, 8)), started="2031-05-06T08:00:00+00:00")
    wafer = collect([*runs, first])
    assert [run[0] for run in wafer.runs] == ["a3", "a0", "a1", "a2", "b1"]  # by time, each once
    (one, *_) = wafer.of("good")
    assert (one.chip, one.array, one.known, int((one.values == 0).sum())) == ("A", 0, 64, 2)
    assert [(m.chip, m.array) for m in wafer.of("error")] == [("A", 0), ("A", 1), ("B <i>", 0)]
    error = wafer.of("error")[0].values
    assert error[0, 0] == pytest.approx(9e-7)  # programmed by the earlier run; the later one gave it up
    assert error[1, 1] != pytest.approx(9e-7)
    (ledger, _) = wafer.ledgers
    assert ledger.pulses[0, 4, 4] == 5
    assert collect(runs, chip="B <i>").chips == ("B <i>",)


def test_views_say_yield_and_find_the_gradient_alone(runs: list[Path]) -> None:
    found = {view.quantity.name: view for view in views(collect(runs))}
    good = found["good"]
    assert (good.whole.count, round(good.whole.mean * good.whole.count)) == (192, 189)
    assert [s.count for s in good.chips] == [128, 64]
    assert good.rows[0].mean == pytest.approx(23 / 24)
    assert {cell[:4] for cell in good.worst} == {("A", 0, 0, 0), ("A", 0, 3, 3), ("B <i>", 0, 7, 7)}
    seen = {(one.chip, one.array, one.pattern.kind) for view in found.values() for one in view.looked if one.found}
    assert ("A", 1, "gradient") in seen
    assert {(chip, array) for chip, array, _ in seen} == {("A", 1)}
    gradient = next(x.pattern for x in found["error"].looked if (x.array, x.pattern.kind) == (1, "gradient"))
    assert gradient.low <= 2e-6 <= gradient.high
    assert not found["pulses"].looked  # what was done to cells is no pattern of theirs


def test_the_page_has_every_number_and_escapes_names(runs: list[Path], tmp_path: Path) -> None:
    wafer = collect(runs)
    found = views(wafer)
    beyond = [one for ledger in wafer.ledgers for one in ledger.reached(StressLimits(pulses=4))]
    good = next(view for view in found if view.quantity.name == "good")
    pictures = {"good": draw_view(good, tmp_path, "note")}
    assert [path.name for path in pictures["good"]] == ["good.png", "good-profiles.png"]
    page = wafer_page(wafer, found, pictures, rate=0.05, beyond=beyond, again="ohmflow wafer <x>")
    assert "B &lt;i&gt;" in page
    assert "<i>" not in page
    assert 'src="data:image/png;base64,' in page
    assert not re.search(r"https?:", page)
    assert f"{189 / 192:.2%}" in page
    assert "rising towards high columns" in page
    assert "64 cells have reached a limit" in page
    rows = dict(wafer_rows(wafer, found, beyond))
    assert rows["runs"] == "4 runs of 2 chips: A, B <i>"
    assert "64" in rows["cells at their limit"]


def test_what_makes_no_sense_is_told(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="none of 5 runs is of chip 'C'"):
        collect(runs, chip="C")
    with pytest.raises(AnalysisError, match="there are no runs"):
        collect([])
    small = make(tmp_path / "small", np.zeros((3, 3)), started="2031-05-09T08:00:00+00:00")
    with pytest.raises(AnalysisError, match="two chips of that name"):
        collect([*runs, small])
    with pytest.raises(AnalysisError, match="between 0 and 1"):
        views(collect(runs), rate=1.0)
    with pytest.raises(AnalysisError, match="say nothing of single cells"):
        views(Wafer((), (), ()))
