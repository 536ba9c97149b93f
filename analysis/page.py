"""The parts that reports are made of: one self-contained HTML page with tables and pictures."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from analysis.metrics import Metric
from analysis.records import RunFile

Rows = list[tuple[str, str]]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}
table{border-collapse:collapse;margin:.6em 0;display:block;overflow-x:auto}
td,th{padding:.25em .8em .25em 0;text-align:left;vertical-align:top;border-bottom:1px solid #eee}
img{max-width:100%;height:auto;margin:.8em 0}.world{color:#D55E00;font-weight:600}.twin{color:#8a2a6b}
.paper{color:#555;font-style:italic}code{background:#f4f4f4;padding:.1em .3em;word-break:break-all}
@media print{body{max-width:none;font-size:11px}h2{break-after:avoid}img{break-inside:avoid}}
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{text(title)}</title>"
    body = "".join(parts)
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>"


def provenance_rows(run: RunFile) -> Rows:
    """With what, from what, when."""
    h = run.header
    return [
        ("started", h.started), ("operator", h.operator or "not given"), ("chip seed", str(h.seed)),
        *((f"{i.role} at {i.resource}", i.idn) for i in h.instruments),
        ("code", h.git_commit or "not a checkout"),
        ("packages", ", ".join(f"{k} {v}" for k, v in h.packages.items())),
        ("records", str(run.path.name)),
    ]  # fmt: skip


def metric_text(m: Metric, digits: int = 3) -> str:
    """A metric with its interval and floor, for people."""
    floor = "" if not np.isfinite(m.floor) else f", as many true points {m.floor:.{digits}f}"
    return f"{m.value:.{digits}f} (95 %: {m.low:.{digits}f} to {m.high:.{digits}f}{floor})"


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Rows of names and values."""
    lines = "".join(
        f"<tr{' class=twin' if name.startswith('twin only') else ''}><th>{text(name)}</th><td>{text(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{lines}</table>"


def picture(path: Path) -> str:
    """A picture, within the page; a tap shows it large."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{text(path.stem)}" src="data:image/png;base64,{data}">'


def text(said: str) -> str:
    """Text as HTML."""
    return html.escape(said).replace("\n", "<br>")
