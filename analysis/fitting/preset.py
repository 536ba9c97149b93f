"""A fit as a device preset that a twin loads, and as a table of cells."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.errors import AnalysisError
from analysis.fitting.constants import CONSTANTS, Estimate
from analysis.fitting.estimate import Fit
from analysis.fitting.model import LATENT

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """A value as presets have it: "124.9 uS/V", "0.031"."""
    if not unit:
        return f"{value:.{digits}g}"
    size = abs(value)
    factor, prefix = next(
        ((f, p) for f, p in _PREFIXES if size >= f * 0.9995), (1.0, "") if size == 0 else _PREFIXES[-1]
    )
    return f"{value / factor:.{digits}g} {prefix}{unit}"


def interval(e: Estimate) -> str:
    """The interval, for people."""
    return f"{quantity(e.low, e.unit, 3)} to {quantity(e.high, e.unit, 3)}"


def preset_text(fit: Fit, *, date: str, base: str, warnings: Sequence[str] = ()) -> str:
    """The preset's YAML: every constant with its interval and how many cells informed it.

    Args:
        fit: the fit.
        date: when it was made, for the record.
        base: name of the preset that fills the gaps.
        warnings: where the data contradict the law, one line each.
    """
    o = fit.observations
    lines = [
        f"# Fitted to {o.chip or 'an unnamed chip'}; intervals hold the chip's own constant with probability "
        f"{fit.level:.0%}.",
        *(f"# Beware: {w}" for w in warnings),
        "source: >",
        f"  Fitted on {date} to chip {o.chip or 'unnamed'}, {len(o.cells)} cells, {len(o.steps)} pulses, from the runs",
        *(f"  {name}" for name in o.runs),
        f"  starting from the preset {base}.",
        "cell:",
    ]
    for constant in CONSTANTS:
        e = fit.estimates[constant.name]
        note = f"{interval(e)}, {e.cells} cells" if e.informed else f"not informed, kept from {base}: {e.remark}"
        lines.append(f"  {constant.name}: {quantity(e.value, e.unit, 6)}  # {note}")
    return "\n".join(lines) + "\n"


def save_preset(path: Path, text: str) -> Path:
    """Write a preset, whole or not at all.

    Raises:
        AnalysisError: its name doesn't end in .yaml or .yml, or it can't be written.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise AnalysisError(f"a preset's file ends in .yaml, not {path.name!r}: a twin would not find it")
    return _write(path, text.encode())


def save_cells(path: Path, fit: Fit) -> Path:
    """Write what is known cell by cell.

    An .npz with `cells` (n, 3) array, row, col; `names`; `mean` and `sd` (n, 6) in S and V, NaN for cells without
    enough pulses; `tested`, `stuck`, and `telegraph`, the probability of a trap.

    Raises:
        AnalysisError: it can't be written.
    """  # fmt: skip
    count = len(fit.observations.cells)
    mean, sd = np.full((count, len(LATENT)), np.nan), np.full((count, len(LATENT)), np.nan)
    if fit.pulses is not None:
        mean[fit.pulses.cells], sd[fit.pulses.cells] = fit.pulses.cell_mean, fit.pulses.cell_sd
    memory = io.BytesIO()
    np.savez_compressed(
        memory, cells=fit.observations.cells, names=np.array(LATENT), mean=mean, sd=sd, tested=fit.tested,
        stuck=fit.stuck, telegraph=fit.noise.reads.telegraph,
    )  # fmt: skip
    return _write(path, memory.getvalue())


def _write(path: Path, data: bytes) -> Path:
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(data)
        os.replace(new, path)
    except OSError as error:
        raise AnalysisError(f"can't write {path}: {error.strerror or error}; choose another place") from error
    return path
