"""Looking at runs: find, show, compare, check and export them; the bodies of commands."""

import hashlib
import json
import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from analysis.errors import AnalysisError
from analysis.records import Catalogue, Condition, Measure, Query, difference, export, open_run, validate
from analysis.records.catalogue import Entry, flat
from analysis.records.difference import Change, RunDifference
from analysis.records.guard import damage_told
from analysis.records.reader import RunFile
from instruments.quantity import si
from workflows.console import closing_table, console, errors, print_table, show
from workflows.errors import RequestError
from workflows.flows.environment import state_folder
from workflows.measures import apart, both, measures
from workflows.procedures.registry import ENTRIES, procedure
from workflows.procedures.session import run_folder
from workflows.tables import Row, clock_text

UNITS = {"energy": "J", "seconds": "s", "sigma": "S", "mean_error": "S"}
"""Of metrics that are not plain numbers."""
_SHOWN = ("inside", "kl_2d", "sigma", "energy")
_MOST_LINES = 200


def find_runs(
    folder: Path,
    *,
    chip: str = "",
    procedure: str = "",
    status: str = "",
    since: str = "",
    until: str = "",
    where: tuple[str, ...] = (),
    metric: tuple[str, ...] = (),
    text: str = "",
    limit: int = 0,
) -> list[Entry]:
    """The runs below a folder that match, the latest first, with their metrics.

    Raises:
        RequestError: a date makes no sense.
        AnalysisError: a condition makes no sense, or there is no such folder.
    """
    query = Query(
        chip=chip,
        procedure=procedure,
        status=status,
        since=_instant(since, "--since", end=False),
        until=_instant(until, "--until", end=True),
        where=tuple(map(Condition.parse, where)),
        text=text,
        limit=0 if metric else limit,
    )
    wanted = Query(**{**vars(query), "metric": tuple(map(Condition.parse, metric)), "limit": limit})
    with Catalogue.open(database_of(folder), folder) as catalogue:
        catalogue.refresh()
        wanted.sql(full_text=catalogue.full_text)  # a senseless condition is told before anything is measured
        with errors.status("measuring runs that are new ..."):
            catalogue.measure(catalogue.search(query), measures)
        return catalogue.search(wanted)


def database_of(folder: Path) -> Path:
    """Where the catalogue of a folder is kept: with ohmflow's own things, for the folder may be only to be read."""
    name = hashlib.sha256(str(folder.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return state_folder() / "catalogues" / f"{name}.sqlite"


_WIDE = 120
"""Columns of a terminal that can show every column of the list."""


def list_runs(folder: Path, *, as_json: bool, **asked: Any) -> None:
    """Print the runs that `find_runs` finds."""
    found = find_runs(folder, **asked)
    if as_json:
        show(json.dumps([_plain(entry) for entry in found], indent=1, ensure_ascii=False))
        return
    good = [entry for entry in found if not entry.problem]
    shown = [name for name in _SHOWN if any(name in entry.metrics for entry in good)]
    if console.width < _WIDE:
        shown = shown[:1]
    if good:
        wide = console.width >= _WIDE
        columns = ["run", "chip", "started", "status", *(("procedure", "world", "lab's clock") if wide else ())]
        rows = []
        for entry in good:
            row = [_named(entry, folder), entry.chip, entry.started[:16].replace("T", " "), entry.status]
            more = (entry.procedure, entry.world, clock_text(entry.duration)) if wide else ()
            rows.append([*row, *more, *(_value(name, entry.metrics.get(name)) for name in shown)])
        print_table(f"{len(good)} run{'s' * (len(good) != 1)} in {folder}", (*columns, *shown), rows)
    else:
        show(f"no run in {folder} matches")
    for entry in found:
        if entry.problem:
            show(f"damaged  {entry.folder}: {entry.problem}")


def show_run(runs: Path, name: str) -> None:
    """Print what a run is and what came of it, from its file alone."""
    with open_run(run_folder(runs, name)) as run, damage_told(run.path):
        h = run.header
        rows = [
            Row("procedure", h.procedure), Row("world", h.world), Row("chip", h.chip), Row("operator", h.operator),
            Row("started", h.started), Row("status", f"{run.status}{f': {run.reason}' if run.reason else ''}"),
            Row("cells", f"{h.arrays} x {h.rows} x {h.cols}"), Row("seed", "" if h.seed is None else str(h.seed)),
            Row("command", h.command_line), Row("commit", h.git_commit),
            Row("parts", "; ".join(f"{s['started']} {s['status']}" for s in run.segments)),
        ]  # fmt: skip
        closing_table(h.run_id, [row for row in rows if row.value])
        print_table("parameters", ("name", "value"), [(name, text) for name, _, _, text in flat("", h.parameters)])
        identities = [(one.role, one.idn, one.resource) for one in h.instruments]
        print_table("instruments", ("role", "IDN", "resource"), identities)
        phases = run.phases
        if phases:
            print_table("phases", ("phase", "from", "took"), _phase_rows(run))
        for note in run.notes:
            show(f"note at {note['time']:.3f} s: {note['text']}")
        try:
            done = procedure(h.procedure).rows(run) if h.procedure in ENTRIES else []
        except AnalysisError as error:  # it ended before there was anything to sum up
            show(f"nothing to sum up: {error}")
        else:
            if done:
                closing_table(f"{h.run_id}: {run.world.upper()}, {run.status}", done)
        show(f"records  {run.path}")


def _phase_rows(run: RunFile) -> list[tuple[str, str, str]]:
    phases = run.phases
    times = [float(phase["time"]) for phase in phases]
    end = max([*times, *(float(part["last_time"]) for part in run.segments), *map(float, run.events["time"][-1:])])
    return [
        (str(phase["name"]), f"{start:.3f} s", clock_text(max(following - start, 0.0)))
        for phase, start, following in zip(phases, times, [*times[1:], end], strict=True)
    ]


def compare_runs(runs: Path, first: str, second: str, *, tolerance: float | None, as_json: bool) -> None:
    """Print what differs between two runs: the second minus the first."""
    with open_run(run_folder(runs, first)) as a, open_run(run_folder(runs, second)) as b:
        with damage_told(a.path):
            found = difference(a, b, tolerance)
            one = measures(a.header.procedure)(a)
        with damage_told(b.path):
            metrics = both(one, measures(b.header.procedure)(b))
        names = a.header.run_id, b.header.run_id
    if as_json:
        show(json.dumps(_json(found, metrics), indent=1, ensure_ascii=False))
        return
    for title, changes in (
        ("runs", found.about), ("parameters", found.parameters), ("versions", found.versions),
        ("instruments", found.instruments),
    ):  # fmt: skip
        _print_changes(title, changes, names)
    if found.station:
        show("station file")
        for line in found.station[:_MOST_LINES]:
            show(f"  {line}")
        if len(found.station) > _MOST_LINES:
            show(f"  and {len(found.station) - _MOST_LINES} more lines")
    else:
        show("station file: the same")
    if found.shapes[0] != found.shapes[1]:
        show(f"conductances: not comparable, {found.shapes[0]} cells against {found.shapes[1]}")
    elif found.maps:
        print_table(
            "conductances",
            ("map", "cells in both", "rms", "largest", "beyond tolerance", "in one only"),
            [
                (m.name, str(m.cells), _si(m.rms, "S"), _si(m.largest, "S"), _beyond(m.beyond, m.tolerance),
                 str(m.only_one))
                for m in found.maps
            ],
        )  # fmt: skip
    rows = [(name, _interval(name, x), _interval(name, y), apart(x, y)) for name, x, y in metrics]
    print_table("metrics, with 95 % intervals where they are known", ("metric", *names, "intervals"), rows)


def _print_changes(title: str, changes: tuple[Change, ...], names: tuple[str, str]) -> None:
    if not changes:
        show(f"{title}: the same")
        return
    rows = [(c.name, *("-" if value is None else value for value in (c.first, c.second))) for c in changes]
    print_table(f"{title}: {len(changes)} differ", ("name", *names), rows)


def check_files(paths: list[str], runs: Path) -> bool:
    """Print what is wrong with files or runs' folders; gives whether all are valid."""
    valid = True
    for name in paths:
        path = Path(name)
        findings = validate(path if path.exists() else run_folder(runs, name))
        faults = [finding for finding in findings if finding.fault]
        valid = valid and not faults
        told = f"not valid, {len(faults)} fault{'s' * (len(faults) != 1)}" if faults else "valid"
        show(f"{name}: {told}")
        for finding in findings:
            show(f"  {finding}")
    return valid


def export_run(runs: Path, name: str, out: Path, form: str) -> None:
    """Write a run's tables and maps as files of another format."""
    with open_run(run_folder(runs, name)) as run:
        for path in export(run, out, form):
            show(f"wrote    {path}")


def _instant(text: str, option: str, *, end: bool) -> float | None:
    """Seconds since 1970 of a date or time; of a date alone, as an end, the end of that day. No zone: this computer's.

    Raises:
        RequestError: it is no date.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        day = end and len(text.strip()) <= len("2031-05-07")
        return (found + timedelta(days=1) if day else found).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise RequestError(f"{option} {text!r} is no date: write 2031-05-07 or 2031-05-07T14:30") from error


def _named(entry: Entry, folder: Path) -> str:
    root = folder.absolute()
    return str(entry.folder.relative_to(root)) if entry.folder.is_relative_to(root) else str(entry.folder)


def _si(value: float, unit: str) -> str:
    return si(value, unit).replace(" u", " µ") if math.isfinite(value) else "-"


def _value(name: str, measure: Measure | None) -> str:
    if measure is None or not math.isfinite(measure.value):
        return "-"
    return _si(measure.value, UNITS[name]) if name in UNITS else f"{measure.value:.4g}"


def _interval(name: str, measure: Measure) -> str:
    low, high = (_value(name, Measure(bound)) for bound in measure[1:])
    return _value(name, measure) + ("" if low == "-" or high == "-" else f" ({low} to {high})")


def _beyond(count: int, tolerance: float) -> str:
    return f"{count} (> {_si(tolerance, 'S')})" if math.isfinite(tolerance) else "no tolerance known"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _measure(measure: Measure) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in measure._asdict().items()}


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        **vars(entry),
        "folder": str(entry.folder),
        "duration": _finite(entry.duration),
        "metrics": {name: _measure(measure) for name, measure in entry.metrics.items()},
    }


def _json(found: RunDifference, metrics: list[tuple[str, Measure, Measure]]) -> dict[str, Any]:
    changes = {
        name: [vars(change) for change in getattr(found, name)]
        for name in ("about", "parameters", "versions", "instruments")
    }
    maps = [{k: _finite(v) if isinstance(v, float) else v for k, v in vars(m).items()} for m in found.maps]
    compared = [
        {"name": name, "first": _measure(x), "second": _measure(y), "intervals": apart(x, y)} for name, x, y in metrics
    ]
    return {**changes, "station": list(found.station), "maps": maps, "shapes": found.shapes, "metrics": compared}
