"""A study as one self-contained page: what came of it, figures, what was swept, its origin, how to repeat it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from analysis.page import page, picture, table, text
from analysis.sweeps.findings import findings
from analysis.sweeps.result import StudyResult, open_study

Rows = list[tuple[str, str]]

PAGE = "report.html"


def study_rows(result: StudyResult) -> Rows:
    """Return what came of a study, outcome first, then what the publication says and what was swept; names and values.

    Raises:
        StudyError: the study's figure and axes don't fit.
    """
    rows = list(findings(result))
    if result.about["paper"]:
        rows.append(("paper", str(result.about["paper"])))
    return [*rows, *swept_rows(result)]


def swept_rows(result: StudyResult) -> Rows:
    """Return axes, what was fixed, seeds and precision."""
    rows: Rows = [(f"axis {name}", ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values))
                  for name, values in result.axes.items()]  # fmt: skip
    fixed = ", ".join(f"{name} {value}" for name, value in result.fixed.items())
    counts = result.table("seeds")
    until = json.loads(result.about["until"])
    wanted = [f"{share:g} {name}" for name, share in until.items() if share]
    narrow = int(np.asarray(result.tables["narrow"]).sum())
    rows.append(("fixed", fixed or "nothing"))
    rows.append(
        (
            "points",
            f"{counts.size} of {int(counts.sum())} seeds in all, {int(counts.min())} to {int(counts.max())} each",
        )
    )
    if wanted:
        rows.append(
            ("precision", f"half the 95 % interval within {' or '.join(wanted)}: {narrow} of {counts.size} points")
        )
    floor = result.note(result.metrics[0], "floor")
    if floor is not None:
        rows.append(("draws of the truth itself score", f"{float(floor):.3g} (as many as samples a seed)"))
    return rows


def study_page(folder: Path) -> Path:
    """Write the page of a finished study into its folder, figures beside it, and return it.

    Args:
        folder: of the study; `provenance.json` in it, where there is one, says how it was made.

    Raises:
        StudyError: the study is not finished, or is none.
    """
    from analysis.figures.studies import draw  # brings matplotlib along

    result = open_study(folder)
    about = result.about
    said = made_with(folder)
    name = str(about["study"])
    parts = [
        f"<h1>{text(str(about['title']) or name)}</h1>",
        f"<p>{text(str(about['about']))}</p>" if about["about"] else "",
        "<h2>What came of it</h2>", table(findings(result)),
        *(picture(path) for path in draw(result, folder / "figures")),
        f"<h2>The paper</h2><p class=paper>{text(str(about['paper']))}</p>" if about["paper"] else "",
        "<h2>What was swept</h2>", table(swept_rows(result)),
        "<h2>Where it comes from</h2>", table(origin_rows(result, said)),
        f"<h2>Again</h2><p><code>{text(str(said.get('command', f'ohmflow sweep {name} -o FOLDER')))}</code></p>",
    ]  # fmt: skip
    path = folder / PAGE
    partial = folder / f"{PAGE}.partial"
    partial.write_text(page(str(about["title"]) or name, [part for part in parts if part]), encoding="utf-8")
    partial.replace(path)
    return path


def made_with(folder: Path) -> dict[str, Any]:
    """Return how a study was made, as its folder says: command, code, packages, when; {} where it says nothing."""
    try:
        said = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return said if isinstance(said, dict) else {}
    except (OSError, ValueError):
        return {}


def origin_rows(result: StudyResult, said: dict[str, Any]) -> Rows:
    """Return where a study's numbers come from; `said` is `made_with`'s."""
    about = result.about
    rows: Rows = [("study", f"{about['study']}, measure {about['measure']}, seed {int(about['seed'])}")]
    if "model" in about:
        network = f"{Path(str(about['model'])).name}, digest {str(about['model_sha256'])[:16]}"
        rows.append(("network", f"{network}; {int(about['trajectories'])} samples a seed"))
    if about["measure"] != "samples":
        rows.append(("world", "SIMULATED: chips of a device preset behind a twin's station"))
    packages = said.get("packages", {})
    rows += [(name, str(said[name])) for name in ("begun", "went_on") if name in said]
    if "code" in said:
        rows.append(("code", str(said["code"]) or "not a checkout"))
    if packages:
        rows.append(("packages", ", ".join(f"{k} {v}" for k, v in packages.items())))
    return rows
