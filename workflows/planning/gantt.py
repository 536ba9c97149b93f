"""The week as a picture: a row a job, grouped by station, with how sure the times are."""

import math
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.figures.style import BLUE, GREEN, GREY, ORANGE, caption, figure, save
from workflows.planning.forecast import Forecast

_dates: Any = matplotlib.dates  # this part of matplotlib is not typed
# Okabe-Ito, as in the other figures; a second round is hatched, and rows are grouped, so colour is never alone.
_COLOURS = (BLUE, "#E69F00", GREEN, "#CC79A7", "#56B4E9", "#999999")
_HATCHES = ("", "////", "....")
_MOST_ROWS = 120
_NIGHT = "#F0F0F0"


def draw(forecast: Forecast, path: Path) -> Path:
    """Draw the forecast as PNG; rows beyond the 120th are left out, and the picture says so."""
    rows = _rows(forecast)
    shown = rows[:_MOST_ROWS]
    stations = [*forecast.week.stations, ""]
    with figure(13, 1.9 + 0.21 * max(len(shown), 4)) as fig:
        ax = fig.subplots()
        ends = forecast.finish[2][np.isfinite(forecast.finish[2])]
        last = max(float(ends.max()) if ends.size else 0.0, 60.0)
        _night(ax, forecast, last)
        for y, (_, jobs) in enumerate(shown):
            for number in jobs:
                _bar(ax, forecast, number, y, stations, last)
        for y in range(1, len(shown)):
            if _station(forecast, shown[y]) != _station(forecast, shown[y - 1]):
                ax.axhline(y - 0.5, color=GREY, linewidth=0.8)
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.set_yticks(range(len(shown)), [_short(base) for base, _ in shown], fontsize=8)
        _time_axis(ax, forecast, last)
        left_out = f", {len(rows) - len(shown)} further jobs not shown" if len(rows) > len(shown) else ""
        end = "beyond the plan" if math.isinf(forecast.end[1]) else f"{_when(forecast, forecast.end[1]):%a %d %b %H:%M}"
        ax.set_title(f"Plan {forecast.week.name}: all done {end} (P50){left_out}", fontsize=13)
        _legend(ax, forecast, stations)
        caption(fig, f"{forecast.repeats} simulated courses of the queue · times of {forecast.week.era.zone}")
        return save(fig, path)


def _rows(f: Forecast) -> list[tuple[str, list[int]]]:
    """(name in the file, its repetitions), by station, then by likely start."""
    groups: dict[str, list[int]] = {}
    for number, job in enumerate(f.week.jobs):
        groups.setdefault(job.base, []).append(number)
    order = {name: i for i, name in enumerate((*f.week.stations, ""))}

    def key(row: tuple[str, list[int]]) -> tuple[int, float]:
        return order[_station(f, row)], min(float(f.start[1, n]) for n in row[1])

    return sorted(groups.items(), key=key)


def _station(f: Forecast, row: tuple[str, list[int]]) -> str:
    return f.week.jobs[row[1][0]].station


def _bar(ax: Axes, f: Forecast, number: int, y: int, stations: list[str], last: float) -> None:
    job = f.week.jobs[number]
    (start10, start50, start90), (end10, end50, end90) = f.start[:, number], f.finish[:, number]
    if math.isinf(start50):
        ax.text(1, y, "never starts ", transform=ax.get_yaxis_transform(), va="center", ha="right", fontsize=7)
        return
    colour, hatch = _look(stations.index(job.station))
    end = min(float(end50), last)
    # A job of minutes must still be seen in a picture of a week.
    width = max(end - float(start50), last / 400)
    ax.barh(
        y, width / 86400, left=_day(f, start50), height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0
    )
    for low, high, dy, tone in ((start10, start90, -0.17, GREY), (end10, end90, 0.17, "black")):
        ends = [_day(f, min(float(t), last)) for t in (low, high)]
        ax.plot(ends, [y + dy] * 2, "-", color="white", linewidth=2.6, solid_capstyle="butt")
        ax.plot(ends, [y + dy] * 2, "|-", color=tone, linewidth=1, markersize=4, solid_capstyle="butt")
    if job.due is not None and job.due <= last:
        risky = f.late[number] > 0.1
        ax.plot(_day(f, job.due), y, "D" if risky else "d", color=ORANGE if risky else "black", markersize=5)


def _look(number: int) -> tuple[str, str]:
    return _COLOURS[number % len(_COLOURS)], _HATCHES[number // len(_COLOURS) % len(_HATCHES)]


def _night(ax: Axes, f: Forecast, last: float) -> None:
    """Shade what is nobody's working time."""
    spans = sorted((o, c) for s in f.week.operators.values() for o, c in zip(s.opens, s.closes, strict=True))
    if not spans:
        return
    free = -86400.0
    for begin, end in [*spans, (last, last)]:
        if begin > free and free < last:
            ax.axvspan(_day(f, free), _day(f, min(begin, last)), color=_NIGHT, zorder=-2, linewidth=0)
        free = max(free, end)


def _time_axis(ax: Axes, f: Forecast, last: float) -> None:
    days = last / 86400
    # Whole days are labelled at their midnight, and the first one must have its label, too.
    morning = f.week.era.local(0.0).replace(hour=0, minute=0, second=0) if days > 3 else f.week.era.local(0.0)
    ax.set_xlim(float(_dates.date2num(morning)), _day(f, last * 1.01))
    zone = f.week.era.zone
    if days > 3:
        step = max(1, math.ceil(days / 14))
        ax.xaxis.set_major_locator(_dates.DayLocator(interval=step, tz=zone))
        ax.xaxis.set_major_formatter(_dates.DateFormatter("%a %d %b", tz=zone))
        ax.xaxis.set_minor_locator(_dates.HourLocator(byhour=[6, 12, 18] if days <= 14 else [12], tz=zone))
    else:
        locator = _dates.AutoDateLocator(tz=zone, maxticks=12)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator, tz=zone))
    ax.grid(axis="x", color="#CCCCCC", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", labelsize=8.5)


def _legend(ax: Axes, f: Forecast, stations: list[str]) -> None:
    used = {job.station for job in f.week.jobs}
    handles: list[Patch | Line2D] = []
    for number, name in enumerate(stations):
        if name in used:
            colour, hatch = _look(number)
            handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name or "no station"))
    handles += [
        Line2D([], [], color=GREY, marker="|", label="start, P10-P90"),
        Line2D([], [], color="black", marker="|", label="finish, P10-P90"),
        Line2D([], [], color="black", marker="d", linestyle="", label="due"),
    ]
    if np.any(f.late > 0.1):
        handles.append(Line2D([], [], color=ORANGE, marker="D", linestyle="", label="due, late in > 10 %"))
    if f.week.operators:
        handles.append(Patch(facecolor=_NIGHT, label="nobody at work"))
    ax.figure.legend(
        handles=handles,
        loc="outside upper right",
        ncols=math.ceil(len(handles) / math.ceil(len(handles) / 9)),
        fontsize=8,
    )


def _when(f: Forecast, seconds: float) -> datetime:
    return f.week.era.local(float(seconds))


def _day(f: Forecast, seconds: float) -> float:
    """Days on matplotlib's axis."""
    return float(_dates.date2num(f.week.era.local(float(seconds))))


def _short(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"
