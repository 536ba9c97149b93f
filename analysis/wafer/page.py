"""The wafer view as a page and as rows: yield, statistics, patterns, maps, stress."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.cost import si
from analysis.page import Rows, Section, grid, paragraph, plate, sectioned, table, text
from analysis.stress import Excess, StressLedger
from analysis.wafer.collect import Wafer
from analysis.wafer.statistics import Looked, Stat, View

_KIND = {"rows": "rows differ", "columns": "columns differ", "gradient": "gradient", "edge": "edge",
         "neighbours": "neighbours alike"}  # fmt: skip
_SIZE = {"rows": "share of the variance", "columns": "share of the variance", "gradient": "change over the array",
         "edge": "edge less inside", "neighbours": "Moran's I"}  # fmt: skip

_MOST = 12
"""Arrays that the rows for a terminal name."""


def wafer_rows(wafer: Wafer, found: Sequence[View], beyond: Sequence[Excess] = ()) -> Rows:
    """The view in a few lines: a line a quantity, then its patterns, then stress."""
    chips = ", ".join(chip or "not named" for chip in wafer.chips)
    runs = f"{_many(len(wafer.runs), 'run')} of {_many(len(wafer.chips), 'chip')}: {chips}"
    rows: Rows = [("runs", runs)]
    for view in found:
        if view.quantity.stress:
            continue
        rows.append((view.quantity.title, _whole(view)))
        if len(view.arrays) > 1:
            rows += [(f"  {one.name}", _mean(one, view)) for one in view.arrays[:_MOST]]
        if len(view.arrays) > _MOST:
            rows.append(("  and", f"{len(view.arrays) - _MOST} more arrays, on the page"))
        if view.looked:
            rows.append(("  patterns", _patterns_said(view)))
    rows += [(f"stress of chip {ledger.chip or 'not named'}", stress_said(ledger)) for ledger in wafer.ledgers]
    if beyond:
        rows.append(("cells at their limit", f"{len(beyond)}: " + "; ".join(one.explain() for one in beyond[:6])))
    return rows


def wafer_page(
    wafer: Wafer,
    found: Sequence[View],
    pictures: Mapping[str, Sequence[Path]],
    *,
    rate: float,
    beyond: Sequence[Excess] = (),
    again: str = "",
) -> str:
    """The page's HTML.

    Args:
        wafer: gathered maps.
        found: its views.
        pictures: by quantity.
        rate: false discovery rate of the patterns.
        beyond: cells that reached a limit.
        again: the command that makes it again.
    """
    chips = ", ".join(chip or "not named" for chip in wafer.chips)
    world = "SIMULATED on twins" if wafer.worlds == ("simulated",) else " and ".join(wafer.worlds)
    title = f"Cells of chip {chips}" if len(wafer.chips) == 1 else f"Cells of {len(wafer.chips)} chips"
    lead = [
        f"<h1>{text(title)}</h1><p><span class=world>{text(world)}</span> · {len(wafer.runs)} runs · {text(chips)}</p>",
        *(paragraph(f"{_first_up(view.quantity.title)}: {_whole(view)}.", "lede") for view in found[:3]
          if not view.quantity.stress),
    ]  # fmt: skip
    sections = [Section("Patterns found", _patterns(found, rate))]
    sections += [Section(_first_up(view.quantity.title), _view_parts(view, pictures)) for view in found]
    sections.append(Section("Stress ledger", _stress_parts(wafer, beyond)))
    columns = ("run", "procedure", "chip", "world", "started")
    sections.append(Section("Runs", (grid(columns, wafer.runs),)))
    if again:
        sections.append(Section("How to reproduce it", (f"<p><code>{text(again)}</code></p>",)))
    return sectioned(title, lead, sections)


def _view_parts(view: View, pictures: Mapping[str, Sequence[Path]]) -> tuple[str, ...]:
    parts = [paragraph(_whole(view) + ".")]
    parts += [plate(path, _caption(path, view)) for path in pictures.get(view.quantity.name, ())]
    columns = ("of", "cells", "good" if view.quantity.verdict else "mean", "95 % interval")
    more = () if view.quantity.verdict else ("σ", "median", "least", "most")
    several = view.chips if len(view.chips) > 1 else ()
    parts.append(
        grid(
            (*columns, *more), [_stat_row(s, view) for s in (view.whole, *several, *view.arrays)], numbers=len(more) + 3
        )
    )
    if len(view.arrays) > 1 and math.isfinite(view.differ):
        parts.append(paragraph(f"Arrays that are alike would differ so much with probability {_p(view.differ)}."))
    if view.looked:
        parts += ["<h3>Patterns, array by array</h3>", _looked_table(view.looked, view)]
    if not view.quantity.stress:
        lines = [
            f"<div><h3>{name}</h3>{grid(columns, [_stat_row(s, view)[:4] for s in some if s.count], numbers=3)}</div>"
            for name, some in (("Row by row", view.rows), ("Column by column", view.columns))
        ]
        parts.append(f"<div class=pair>{''.join(lines)}</div>")
    if view.worst:
        which = (
            "Bad cells"
            if view.quantity.verdict
            else "Cells with most"
            if view.quantity.stress
            else "Cells furthest off"
        )
        rows = [
            (f"({row},{col})", chip or "not named", str(array), "bad" if view.quantity.verdict else _value(value, view))
            for chip, array, row, col, value in view.worst
        ]
        parts += [f"<h3>{which}</h3>", grid(("cell (row,column)", "chip", "array", "value"), rows)]
    return tuple(parts)


def _caption(path: Path, view: View) -> str:
    if path.stem.endswith("-profiles"):
        return "Means of rows and columns over all arrays, with 95 % intervals; dashed: all cells."
    return f"{_first_up(view.quantity.title)}, cell by cell; all maps share one scale."


def _patterns(found: Sequence[View], rate: float) -> tuple[str, ...]:
    looked = [(view, one) for view in found for one in view.looked]
    if not looked:
        return (paragraph("No map has enough known cells, or any spread, to look for patterns."),)
    good = [(view, one) for view, one in looked if one.found]
    said = (
        f"{len(good)} of {len(looked)} patterns that were looked for count as found, at a false discovery rate of "
        f"{rate:.0%} over this page: where there is nothing anywhere, about {rate:.0%} of such pages show one."
    )
    if not good:
        return (paragraph(said),)
    columns = ("quantity", "where", "pattern", "size", "95 % interval", "p")
    rows = [(view.quantity.title, _where(one), *_pattern_cells(one, view)) for view, one in good]
    return paragraph(said), grid(columns, rows, numbers=1)


def _looked_table(looked: Sequence[Looked], view: View) -> str:
    columns = ("where", "pattern", "size", "95 % interval", "p", "found")
    rows = [(_where(one), *_pattern_cells(one, view), "yes" if one.found else "no") for one in looked]
    return grid(columns, rows)


def _where(one: Looked) -> str:
    return f"chip {one.chip or 'not named'}, array {one.array}"


def _pattern_cells(one: Looked, view: View) -> tuple[str, str, str, str]:
    p = one.pattern
    bounds = f"{_size(p.low, one, view)} to {_size(p.high, one, view)}" if math.isfinite(p.low) else "not known"
    towards = ""
    if p.kind == "gradient" and math.isfinite(p.angle):
        towards = f", rising towards {_direction(p.angle)}"
    return _kind(one), f"{_size(p.size, one, view)} ({_SIZE[p.kind]}{towards})", bounds, _p(p.p)


def _kind(one: Looked) -> str:
    """What a pattern is called; neighbours may be less alike than by chance, too."""
    unlike = one.pattern.kind == "neighbours" and one.pattern.size < 0
    return "neighbours unlike" if unlike else _KIND[one.pattern.kind]


def _direction(angle: float) -> str:
    """The side of the array that a gradient rises to; `angle` as in `Pattern`."""
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    sides = [f"{'high' if v > 0 else 'low'} {name}" for v, name in ((x, "columns"), (y, "rows")) if abs(v) > 0.383]
    return " and ".join(sides)


def _size(value: float, one: Looked, view: View) -> str:
    if not math.isfinite(value):
        return "-"
    if one.pattern.kind in ("rows", "columns"):
        return f"{value:.1%}"
    return f"{value:+.3f}" if one.pattern.kind == "neighbours" else _value(value, view, signed=True)


def _patterns_said(view: View) -> str:
    found = [one for one in view.looked if one.found]
    if not found:
        return f"none of {len(view.looked)} looked for"
    return "; ".join(
        f"{_kind(one)} in array {one.array} ({_size(one.pattern.size, one, view)}, p {_p(one.pattern.p)})"
        for one in found[:8]
    )


def _whole(view: View) -> str:
    return f"{_mean(view.whole, view)}, {_many(len(view.maps), 'array')} of {_many(len(view.chips), 'chip')}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _first_up(said: str) -> str:
    return said[:1].upper() + said[1:]


def _mean(s: Stat, view: View) -> str:
    if view.quantity.verdict:
        good = round(s.mean * s.count)
        return f"{s.mean:.2%} (95 %: {s.low:.2%} to {s.high:.2%}), {good} of {s.count} cells"
    bounds = f" (95 %: {_value(s.low, view)} to {_value(s.high, view)})" if math.isfinite(s.low) else ""
    spread = f", σ {_value(s.sigma, view)}" if math.isfinite(s.sigma) else ""
    return f"mean {_value(s.mean, view)}{bounds}{spread}, {s.count} cells"


def _stat_row(s: Stat, view: View) -> tuple[str, ...]:
    bounds = f"{_value(s.low, view)} to {_value(s.high, view)}" if math.isfinite(s.low) else "-"
    row = (s.name, str(s.count), _value(s.mean, view), bounds)
    if view.quantity.verdict:
        return row
    return (*row, *(_value(v, view) for v in (s.sigma, s.median, s.least, s.most)))


def _value(value: float, view: View, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "-"
    if view.quantity.verdict:
        return f"{value:+.2%}" if signed else f"{value:.2%}"
    said = si(value, view.quantity.unit).replace(" u", " µ") if view.quantity.unit else f"{value:.3g}"
    return f"+{said}" if signed and value >= 0 else said


def _p(p: float) -> str:
    return "-" if not math.isfinite(p) else "< 0.001" if p < 1e-3 else f"{p:.3f}"


def stress_said(ledger: StressLedger) -> str:
    """A chip's ledger in a line."""
    pulses = ledger.pulses
    kinds = ", ".join(f"{int(ledger.map(kind).sum())} {kind.upper()}" for kind in ("set", "reset", "form"))
    said = (
        f"{int(pulses.sum())} pulses ({kinds}), at most {int(pulses.max())} a cell; "
        f"{si(float(ledger.charge.sum()), 'C')} and {si(float(ledger.energy.sum()), 'J')}; "
        f"at most {si(float(ledger.volts.max()), 'V')}"
    )
    if ledger.in_doubt.sum():
        said += f"; {int(ledger.in_doubt.sum())} pulses in doubt"
    if ledger.unpriced.sum():
        said += f"; {int(ledger.unpriced.sum())} pulses without a known energy"
    return said.replace(" u", " µ")


def _stress_parts(wafer: Wafer, beyond: Sequence[Excess]) -> tuple[str, ...]:
    parts = [
        paragraph("What was done to the cells in these runs; runs that are not among them count for nothing here."),
        table([(f"chip {ledger.chip or 'not named'}", stress_said(ledger)) for ledger in wafer.ledgers]),
    ]
    if beyond:
        rows = [(str(one.cell), one.quantity, f"{one.value:.4g}", f"{one.limit:.4g}") for one in beyond[:200]]
        parts += [f"<h3>{len(beyond)} cells have reached a limit</h3>",
                  grid(("cell (array, row, column)", "of", "had", "limit"), rows)]  # fmt: skip
    return tuple(parts)
