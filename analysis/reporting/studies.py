"""A study's part of a report: what came of it, figures, the paper's word, what was swept, where it comes from."""

from pathlib import Path

from analysis.page import Section, paragraph, plate, table, text
from analysis.reporting.provenance import sha256
from analysis.sweeps.findings import findings
from analysis.sweeps.page import made_with, origin_rows, swept_rows
from analysis.sweeps.result import open_study
from analysis.sweeps.store import RESULT


def study_section(folder: Path, scratch: Path) -> Section:
    """A study's report; figures are drawn into `scratch`, nothing is written beside the study.

    Raises:
        AnalysisError: the study is not finished, or the folder holds none.
    """
    from analysis.figures.studies import draw  # brings matplotlib along

    result = open_study(folder)
    about = result.about
    said = made_with(folder)
    name = str(about["study"])
    title = str(about["title"]) or name
    parts = [
        *([paragraph(str(about["about"]), "lede")] if about["about"] else []),
        "<h3>What came of it</h3>", table(findings(result)),
        *(plate(path, title) for path in draw(result, scratch)),
        *(["<h3>The paper</h3>", paragraph(str(about["paper"]), "paper")] if about["paper"] else []),
        "<h3>What was swept</h3>", table(swept_rows(result)),
        "<h3>Where it comes from</h3>",
        table([*origin_rows(result, said), (f"SHA-256 of {RESULT}", sha256(folder / RESULT))]),
        "<h3>How to reproduce it</h3>",
        f"<p><code>{text(str(said.get('command', f'ohmflow sweep {name} -o FOLDER')))}</code></p>",
    ]  # fmt: skip
    return Section(f"Study: {title}", tuple(parts), level=1)
