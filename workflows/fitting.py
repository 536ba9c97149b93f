"""A twin of a chip from what runs recorded of it: run folders in, a device preset, a table of cells and a page out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

import sim_configs
from analysis.figures.fitting import draw_fit
from analysis.fitting.constants import BY_NAME
from analysis.fitting.estimate import Fit, fit
from analysis.fitting.model import Effort
from analysis.fitting.observations import gather
from analysis.fitting.page import fit_page
from analysis.fitting.predictive import Check, predict
from analysis.fitting.preset import interval, preset_text, quantity, save_cells, save_preset
from instruments.errors import ConfigError
from instruments.quantity import to_si
from workflows.errors import RequestError

BASE = "cmo-hfox"
"""Preset that a fit starts from, and that fills what the data don't tell."""


@dataclass(frozen=True)
class FitOutcome:
    """What a fit made.

    Attributes:
        preset: the device preset, ready for `--preset`.
        page: residual report, one HTML file.
        cells: constants cell by cell (.npz).
        figures: the page's pictures.
        fit: all numbers.
        checks: the data against the fitted law.
    """

    preset: Path
    page: Path
    cells: Path
    figures: tuple[Path, ...]
    fit: Fit
    checks: tuple[Check, ...]

    def rows(self) -> list[tuple[str, str]]:
        """For a table: verdicts first, then each constant that the data told."""
        verdicts = [("check", c.verdict) for c in self.checks]
        told = [
            (e.name, f"{quantity(e.value, e.unit)}  ({interval(e)}; {e.cells} cells)")
            for e in self.fit.estimates.values()
            if e.informed
        ]
        kept = [e.name for e in self.fit.estimates.values() if not e.informed]
        return [*verdicts, *told, *([("kept from the base", ", ".join(kept))] if kept else [])]


def fit_runs(
    runs: Sequence[Path],
    output: Path,
    *,
    date: str,
    seed: int = 1,
    base: str = BASE,
    twin: Sequence[Path] = (),
    overwrite: bool = False,
    effort: Effort | None = None,
    told: Callable[[str], None] = lambda phase: None,
) -> FitOutcome:
    """Fit a twin to a chip.

    Args:
        runs: run folders of one chip.
        output: the preset to write (.yaml); the page, the figures and the cells' table go beside it, named alike.
        date: of the fit, for the record.
        seed: of the sampling; two fits of one seed are equal.
        base: preset to start from, a name or a file.
        twin: runs of the same procedures on the fitted twin, for the residual report.
        overwrite: whether an existing preset may be replaced.
        effort: how long to sample.
        told: called with the name of each phase.

    Raises:
        RequestError: the output makes no sense or exists.
        ConfigError: the base preset is missing or malformed.
        AnalysisError: the runs can't be read or fitted.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise RequestError(f"the fitted preset is a YAML file: give -o a name that ends in .yaml, not {output.name!r}")
    if output.exists() and not overwrite:
        raise RequestError(f"{output} exists; give another name, or say that it may be overwritten")
    law = load_base(base)
    told("reading runs")
    observations = gather(runs)
    twins = gather(twin) if twin else None
    rng = np.random.default_rng(seed)
    found = fit(observations, law, rng, effort=effort, told=told)
    told("checking against the law")
    prediction = predict(found, rng)
    checks = prediction.checks if prediction is not None else ()
    told("drawing")
    folder = output.with_name(f"{output.stem}-report")
    figures = draw_fit(found, prediction, folder, twins)
    page = folder / "report.html"
    page.write_text(fit_page(found, checks, figures, preset=output.name, date=date), encoding="utf-8")
    cells = save_cells(output.with_name(f"{output.stem}-cells.npz"), found)
    warnings = [c.verdict for c in checks if c.contradicts]
    # The preset comes last: where it is, all is.
    save_preset(output, preset_text(found, date=date, base=base, warnings=warnings))
    return FitOutcome(output, page, cells, tuple(figures), found, checks)


def load_base(preset: str) -> dict[str, float]:
    """A preset's device constants in SI, by name (packaged) or by file.

    Raises:
        ConfigError: it is missing or malformed.
    """
    named = Path(preset)
    is_file = named.suffix in (".yaml", ".yml")
    path = named if is_file else sim_configs.path(f"presets/{preset}.yaml")
    if not path.is_file():
        raise ConfigError(f"device preset {preset!r} not found; packaged presets: {', '.join(sim_configs.presets())}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    cell = data.get("cell") if isinstance(data, Mapping) else None
    if not isinstance(cell, Mapping):
        raise ConfigError(f"{path}: a device preset has a `cell:` mapping")
    out: dict[str, float] = {}
    for name, value in cell.items():
        if name == "formed":
            continue
        if name not in BY_NAME:
            raise ConfigError(f"{path}: unknown cell constant {name!r}; known: {', '.join(BY_NAME)}")
        out[str(name)] = to_si(value, BY_NAME[name].unit or "dimensionless", what=str(name))
    return out
