"""What a finished run puts on its page: the closing table and the figures."""

import base64
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from analysis.records import open_run
from workflows.procedures.procedure import Procedure

MOST_PICTURES = 12
MOST_BYTES = 1_500_000
"""Of a picture: they lie in Prefect's database, which must not grow by the gigabyte. Larger ones are named only."""


def publish(procedure: Procedure[Any, Any], folder: Path) -> None:
    """Make the artifacts of a finished run, from its file and its figures alone."""
    with open_run(folder) as run:
        rows = procedure.rows(run)
        title = f"## {run.header.run_id}: {run.world}, {run.status}"
    lines = [f"| {'**twin only:** ' if row.of == 'twin' else ''}{row.name} | {row.value} |" for row in rows]
    markdown = "\n".join([title, "", "| | |", "|---|---|", *lines, *_pictures(folder)])
    create_markdown_artifact(key=procedure.name, markdown=markdown, description=folder.name)


def _pictures(folder: Path) -> list[str]:
    """The figures themselves, not links to them: a browser elsewhere can't see this machine's folders."""
    found = sorted((folder / "figures").glob("*.png"))
    lines = []
    for picture in found[:MOST_PICTURES]:
        size = picture.stat().st_size
        if size <= MOST_BYTES:
            coded = base64.b64encode(picture.read_bytes()).decode("ascii")
            lines += ["", f"### {picture.stem}", "", f"![{picture.stem}](data:image/png;base64,{coded})"]
        else:
            lines += ["", f"### {picture.stem}", "", f"{size / 1e6:.1f} MB, in {picture}"]
    if more := len(found) - MOST_PICTURES:
        lines += ["", f"{max(more, 0)} more in {folder / 'figures'}"] if more > 0 else []
    return lines
