"""What comes out of a fit: a preset that a twin loads, a table of cells, verdicts, pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.fit_chips import Laboratory, Protocol, characterise, save_run

from analysis.errors import AnalysisError
from analysis.figures.fitting import draw_fit
from analysis.fitting.constants import BY_NAME
from analysis.fitting.estimate import fit
from analysis.fitting.model import Effort
from analysis.fitting.observations import observe
from analysis.fitting.predictive import predict
from analysis.fitting.preset import preset_text, quantity, save_cells, save_preset
from instruments.errors import ConfigError
from instruments.twin.bench import load_law
from workflows.errors import RequestError
from workflows.fitting import fit_runs, load_base


def test_a_twin_loads_the_preset_with_the_fitted_values(fitted: Any, tmp_path: Path) -> None:
    path = save_preset(tmp_path / "mine.yaml", preset_text(fitted.fit, date="2031-05-07", base="cmo-hfox"))
    law = load_law(str(path), tmp_path)
    for name, value in fitted.fit.values().items():
        assert getattr(law, name) == pytest.approx(value, rel=1e-4), name
    text = path.read_text()
    assert "run-1" in text
    assert "2031-05-07" in text
    assert "not informed, kept from cmo-hfox" in text


def test_quantities_are_written_as_presets_have_them() -> None:
    assert quantity(124.9e-6, "S/V") == "124.9 uS/V"
    assert quantity(-89e-9, "S") == "-89 nS"
    assert quantity(0.03, "V") == "30 mV"
    assert quantity(0.0, "S") == "0 S"
    assert quantity(0.152, "") == "0.152"
    assert quantity(5e-17, "S") == "5e-05 pS"


def test_a_preset_is_written_whole_or_not_at_all(fitted: Any, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"ends in \.yaml"):
        save_preset(tmp_path / "mine.txt", "cell:\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(AnalysisError, match="can't write"):
        save_preset(tmp_path / "file" / "mine.yaml", "cell:\n")
    assert not list(tmp_path.glob("*.new"))


def test_the_cells_table_has_every_cell(fitted: Any, tmp_path: Path) -> None:
    with np.load(save_cells(tmp_path / "cells.npz", fitted.fit)) as table:
        assert table["mean"].shape == table["sd"].shape == (56, 6)
        known = np.isfinite(table["mean"][:, 0])
        assert known.sum() == len(fitted.fit.pulses.cells)
        assert table["stuck"].sum() == 2
        assert np.all(table["sd"][known] > 0)


def test_the_right_law_is_not_contradicted(fitted: Any) -> None:
    prediction = predict(fitted.fit, np.random.default_rng(1))
    assert prediction is not None
    assert len(prediction.checks) >= 6
    assert not [c.verdict for c in prediction.checks if c.contradicts]


def test_another_physics_is_found_out() -> None:
    rng = np.random.default_rng(8)
    lab = Laboratory(load_law("soft-bounds", Path(".")), 28, rng)
    seen = observe([characterise(lab, Protocol(gate_repeats=2, ladders=2, noise_slow=0, noise_fast=0, rest_to=0))])
    prediction = predict(fit(seen, {}, rng, effort=Effort(50, 60, 28)), rng)
    assert prediction is not None
    wrong = [c for c in prediction.checks if c.contradicts]
    assert wrong
    assert all("contradict" in c.verdict for c in wrong)


def test_figures_are_drawn(fitted: Any, tmp_path: Path) -> None:
    prediction = predict(fitted.fit, np.random.default_rng(1))
    paths = draw_fit(fitted.fit, prediction, tmp_path, twin=fitted.fit.observations)
    assert [p.name for p in paths] == ["fit-predictive.png", "fit-cells.png"]
    assert all(p.stat().st_size > 20_000 for p in paths)


def test_run_folders_become_a_preset_and_a_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    lab = Laboratory(load_law("cmo-hfox", Path(".")), 24, rng)
    p = Protocol(gates=(0.9, 1.1, 1.3), gate_repeats=1, ladders=1, tops=0, noise_slow=0, noise_fast=0, rest_to=0)
    run = save_run(tmp_path / "run-a", characterise(lab, p))
    phases: list[str] = []
    out = tmp_path / "made" / "chip7.yaml"
    made = fit_runs([run], out, date="2031-05-07", effort=Effort(30, 40, 24), told=phases.append)
    assert made.preset == out
    assert load_law(str(out), tmp_path).v_s == pytest.approx(made.fit.values()["v_s"], rel=1e-4)
    page = made.page.read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("<img") == 2
    assert "run-a" in page
    assert [name for name, _ in made.rows()].count("v_s") == 1
    assert phases[0] == "reading runs"
    with pytest.raises(RequestError, match="exists"):
        fit_runs([run], out, date="2031-05-07")


def test_bad_requests_are_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"\.yaml"):
        fit_runs([], tmp_path / "preset.txt", date="2031-05-07")
    with pytest.raises(ConfigError, match="not found; packaged presets: cmo-hfox"):
        fit_runs([], tmp_path / "preset.yaml", date="2031-05-07", base="nothing")
    with pytest.raises(AnalysisError, match="at least one run"):
        fit_runs([], tmp_path / "preset.yaml", date="2031-05-07")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cmo-hfox", "ideal", "wan2022-hfox"])
def test_base_presets_mean_what_the_twin_makes_of_them(name: str) -> None:
    law = load_law(name, Path("."))
    assert {n: getattr(law, n) for n in load_base(name)} == pytest.approx(load_base(name))
    assert set(load_base(name)) <= set(BY_NAME)


def test_a_malformed_base_is_told(tmp_path: Path) -> None:
    for text, says in (
        ("cell: [1]", "mapping"),
        ("cell: {k_gate: 1}", "k_gate"),
        ("cell: {v_t: 3 S}", "v_t"),
        ("a: [", "base"),
    ):
        path = tmp_path / "base.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            load_base(str(path))
