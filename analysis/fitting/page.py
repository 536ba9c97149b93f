"""A fit as one self-contained page: verdicts, figures, every constant with its interval, arrays."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from analysis.fitting.constants import BY_NAME, CONSTANTS
from analysis.fitting.estimate import Fit
from analysis.fitting.model import LATENT
from analysis.fitting.predictive import Check
from analysis.fitting.preset import interval, quantity

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;margin:.6em 0}
td,th{padding:.2em .9em .2em 0;text-align:left;border-bottom:1px solid #eee}
img{max-width:100%}.wrong{color:#D55E00;font-weight:600}.kept{color:#888}h2{font-size:1.2em;margin-top:1.6em}
"""


def fit_page(fit: Fit, checks: Sequence[Check], figures: Sequence[Path], *, preset: str, date: str) -> str:
    """The page's HTML, pictures included.

    Args:
        fit: the fit.
        checks: of the prediction.
        figures: PNG files.
        preset: name of the preset file that was made.
        date: for the record.
    """
    o = fit.observations
    wrong = [c for c in checks if c.contradicts]
    head = "The data contradict the law" if wrong else "The law explains the data" if checks else "Nothing to check"
    parts = [
        f"<h1>A twin of chip {_text(o.chip or 'unnamed')}</h1>",
        f"<p>{_text(date)} · {len(o.cells)} cells · {len(o.steps)} pulses between two reads ({o.unused} others) · runs "
        f"{_text(', '.join(o.runs))} · preset <code>{_text(preset)}</code></p>",
        f"<h2>{head}</h2><ul>",
        *(f"<li{' class=wrong' if c.contradicts else ''}>{_text(c.verdict)}</li>" for c in checks),
        "</ul>",
        *(_picture(p) for p in figures),
        f"<h2>Constants</h2><p>Intervals hold the chip's own constant with probability {fit.level:.0%}.</p>",
        "<table><tr><th>constant</th><th>meaning</th><th>estimate</th><th>interval</th><th>cells</th></tr>",
        *(_row(fit, c.name) for c in CONSTANTS),
        "</table>",
        *_arrays(fit),
    ]
    title = f"Fit of chip {o.chip or 'unnamed'}"
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _row(fit: Fit, name: str) -> str:
    e, meaning = fit.estimates[name], _text(BY_NAME[name].meaning)
    value = quantity(e.value, e.unit)
    if not e.informed:
        said = f"not informed: kept from the base preset ({_text(e.remark)})"
        return f"<tr class=kept><th>{name}</th><td>{meaning}</td><td>{value}</td><td colspan=2>{said}</td></tr>"
    return f"<tr><th>{name}</th><td>{meaning}</td><td>{value}</td><td>{interval(e)}</td><td>{e.cells}</td></tr>"


def _arrays(fit: Fit) -> list[str]:
    if len(fit.arrays) < 2:
        return []
    heads = "".join(f"<th>{name}</th>" for name in LATENT)
    rows = []
    for a in fit.arrays:
        cells = "".join(
            f"<td>{quantity(a.mean[i], BY_NAME[name].unit)} ± {quantity(a.error[i], BY_NAME[name].unit, 2)}</td>"
            for i, name in enumerate(LATENT)
        )
        rows.append(f"<tr><th>{a.array}</th><td>{a.cells}</td>{cells}</tr>")
    table = f"<table><tr><th>array</th><th>cells</th>{heads}</tr>{''.join(rows)}</table>"
    return ["<h2>Array by array</h2><p>Means of the cells' estimates, with standard errors.</p>", table]


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{_text(path.stem)}" src="data:image/png;base64,{data}">'


def _text(text: str) -> str:
    return html.escape(text)
