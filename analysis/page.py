"""The parts that reports are made of: one self-contained HTML page with contents, tables and pictures."""

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.metrics import Metric
from analysis.records import RunFile

Rows = list[tuple[str, str]]

_STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222;background:#fff;
overflow-wrap:break-word}
h1{font-size:1.6em;line-height:1.25;margin-bottom:.2em}h2{font-size:1.25em;margin-top:2em;border-bottom:1px solid #ccc}
h3{font-size:1.05em;margin:1.4em 0 .3em}
table{border-collapse:collapse;margin:.6em 0;display:block;overflow-x:auto;max-width:100%}
td,th{padding:.25em .8em .25em 0;text-align:left;vertical-align:top;border-bottom:1px solid #eee}
.facts td{overflow-wrap:anywhere}
thead th{border-bottom:2px solid #bbb;vertical-align:bottom;font-weight:600}tbody th{font-weight:600}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
img{max-width:100%;height:auto;margin:.4em 0}figure{margin:1em 0}figure>div{overflow-x:auto}
figcaption{color:#444;font-size:.92em}
.lede{font-size:1.12em;max-width:52em}.world{color:#B34700;font-weight:600}.twin{color:#8a2a6b}
.paper,tr.paper td,tr.paper th{color:#444;font-style:italic}
code{background:#f4f4f4;padding:.1em .3em;overflow-wrap:anywhere}
pre{background:#f7f7f7;border:1px solid #e4e4e4;padding:.6em;font-size:.85em;white-space:pre-wrap;
overflow-wrap:anywhere;max-height:20em;overflow:auto}
nav{border:1px solid #ddd;padding:.4em 1em;margin:1em 0;background:#fafafa}nav ul{margin:.2em 0;padding:0;display:flex;
flex-wrap:wrap;gap:.1em 1.4em;list-style:none}
a{color:#004B87}.pair{display:flex;flex-wrap:wrap;gap:0 3em}.pair>div{min-width:0;max-width:100%}
@page{size:A4;margin:14mm 12mm}
@media(max-width:600px){body{margin:1em auto;padding:0 .7em;font-size:14px}tbody th{min-width:7.5em}
td{min-width:6.5em}td.n{min-width:0}td.long{min-width:19em}
figure img{min-width:680px}}
@media print{body{max-width:none;margin:0;padding:0;font-size:10.5px}h1,h2,h3{break-after:avoid}
table{display:table;overflow:visible}thead{display:table-header-group}tr,img,figure{break-inside:avoid}
img{max-height:150mm;width:auto;max-width:100%}figure{margin:.5em 0}
td.n{white-space:normal}figure>div{overflow:visible}.wide{font-size:8px}.wide td,.wide th{overflow-wrap:anywhere}
pre{max-height:none;overflow:visible;font-size:8.5px}
nav{break-inside:avoid}a{color:inherit;text-decoration:none}.run{break-before:page}}
"""


_WIDE = 6
"""Columns beyond which a table is printed small."""
_SHORT = 16
"""Characters of a number that is never broken."""
_LONG = 80
"""Characters beyond which a cell is given room on a narrow screen, or it would become a column of words."""


@dataclass(frozen=True)
class Section:
    """A headed part of a page that the contents lead to; `level` is 1 for a run of several, 2 for what is in it."""

    title: str
    parts: tuple[str, ...]
    level: int = 2


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page."""
    head = (
        # Nothing in the page runs or comes from elsewhere, whatever the text of a run's file may look like.
        "<meta charset=utf-8><meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{text(title)}</title><link rel=icon href='data:,'>"
    )
    body = "".join(parts)
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>"


def sectioned(title: str, lead: Sequence[str], sections: Sequence[Section], *, least: int = 4) -> str:
    """A whole page of sections: what leads, contents where there are `least` sections or more, the sections."""
    anchors = _anchors([one.title for one in sections])
    contents = ""
    if len(sections) >= least:
        # Of several runs their names will do: each has the same sections.
        first = next((k for k, one in enumerate(sections) if one.level == 1), len(sections))
        lines = [
            f"<li><a href='#{anchor}'>{text(one.title)}</a></li>"
            for k, (one, anchor) in enumerate(zip(sections, anchors, strict=True))
            if k < first or one.level == 1
        ]
        contents = f"<nav aria-label=Contents><strong>Contents</strong><ul>{''.join(lines)}</ul></nav>"
    body = []
    for one, anchor in zip(sections, anchors, strict=True):
        kind = " class=run" if one.level == 1 else ""
        tag = "h1" if one.level == 1 else "h2"
        body.append(f"<section{kind}><{tag} id='{anchor}'>{text(one.title)}</{tag}>{''.join(one.parts)}</section>")
    return page(title, [*lead, contents, *body])


def _anchors(titles: Sequence[str]) -> list[str]:
    """A fragment each, no two alike."""
    found: list[str] = []
    for title in titles:
        plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "part"
        found.append(plain if plain not in found else f"{plain}-{len(found)}")
    return found


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
    return f"<table class=facts>{lines}</table>"


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], *, paper: Iterable[int] = (), numbers: int = 0) -> str:
    """A table with a head; `paper` are rows whose numbers are the publication's, `numbers` columns at the end flush."""
    marked = frozenset(paper)
    head = "".join(f"<th>{text(name)}</th>" for name in columns)
    lines = []
    for k, row in enumerate(rows):
        cells = "".join(_cell(said, flush=i >= len(columns) - numbers) for i, said in enumerate(row) if i)
        kind = " class=paper" if k in marked else " class=twin" if row[0].startswith("twin only") else ""
        lines.append(f"<tr{kind}><th>{text(row[0])}</th>{cells}</tr>")
    wide = " class=wide" if len(columns) > _WIDE else ""
    return f"<table{wide}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(said: str, *, flush: bool) -> str:
    if not flush:
        return f"<td{' class=long' if len(said) > _LONG else ''}>{text(said)}</td>"
    # A number and its unit stay together, in narrow prints, too.
    return f"<td class=n>{text(said.replace(' ', chr(0xA0)) if len(said) <= _SHORT else said)}</td>"


def picture(path: Path) -> str:
    """A picture, within the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{text(path.stem)}" src="data:image/png;base64,{data}">'


def plate(path: Path, caption: str) -> str:
    """A picture with a caption below it; both on one sheet of a print."""
    return f"<figure><div>{picture(path)}</div><figcaption>{text(caption)}</figcaption></figure>"


def paragraph(said: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={kind}' if kind else ''}>{text(said)}</p>"


def text(said: str) -> str:
    """Text as HTML."""
    return html.escape(said).replace("\n", "<br>")
