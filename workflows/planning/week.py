"""A plan file: the laboratory's stations, shared instruments, people and jobs, read and checked.

::

    plan: {name: ..., start: ISO time, zone: Europe/Berlin, days: 7, overtake: false}
    stations:    {NAME: {failures: {mtbf: 20 d, mttr: 3 h}}}
    instruments: {NAME: {at: STATION, move: {duration: ..., hands: [OPERATOR, ...]}, failures: ...}}
    operators:   {NAME: {hours: [Mon-Fri 09:00-17:00, ...], away: [2031-05-09, ...]}}
    jobs:        {NAME: {station, instruments, priority, arrive, after, due, duration or steps}}

`arrive` is a time, "daily 22:00", "Mon, Thu 10:00" or "every 4 h"; `due` a time or so long after the arrival; for
durations see `parse_duration`. A job holds its station and instruments, all taken at once, from its first step to its
last. A step with `hands` waits for one of these people, who starts it only if its median fits the rest of the shift.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sim_configs
from instruments.errors import ConfigError
from instruments.quantity import to_si
from instruments.strict_yaml import read_yaml
from workflows.planning import strict
from workflows.planning.durations import PastRun
from workflows.planning.hours import Era, Shifts
from workflows.planning.jobs import read_jobs, read_step
from workflows.planning.model import Resource, Week

_SECTIONS = ("plan", "stations", "instruments", "operators", "jobs")
_DAY = 86400.0


def load_week(name: str | Path, past: Sequence[PastRun] = ()) -> Week:
    """Read and check a plan file; packaged ones are found by name from any folder.

    Args:
        name: the file.
        past: runs that durations are learnt from.

    Raises:
        ConfigError: missing, larger than 1 MiB, not YAML, or something in it unknown or contradictory; the message
            names file, place and what is allowed.
    """
    path = sim_configs.find(name)
    data = read_yaml(path, "plan file")
    try:
        return _week(data, path.stem, past)
    except ConfigError as error:
        raise ConfigError(f"plan file {path}: {str(error)[:600]}") from error


def _week(data: Any, stem: str, past: Sequence[PastRun]) -> Week:
    data = strict.known(data, _SECTIONS, "top")
    head = strict.known(data.get("plan"), ("name", "start", "zone", "days", "overtake"), "plan")
    era = _era(head)
    days = head.get("days", 7)
    if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0.01 <= days <= 366:
        raise ConfigError(f"plan.days: must be a number of days, 0.01 to 366, not {days!r}")
    overtake = head.get("overtake", False)
    if not isinstance(overtake, bool):
        raise ConfigError(f"plan.overtake: must be true or false, not {overtake!r}")
    span = days * _DAY
    limit = 3 * span + 28 * _DAY
    operators = {n: _operator(e, f"operators.{n}", era, limit) for n, e in strict.named(data, "operators")}
    stations = [_resource(n, e, f"stations.{n}") for n, e in strict.named(data, "stations")]
    places = tuple(station.name for station in stations)
    instruments = [_instrument(n, e, places, operators, past) for n, e in strict.named(data, "instruments")]
    resources = (*stations, *instruments)
    names = [*operators, *(r.name for r in resources)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice!r} names two of the stations, instruments and operators; each needs its own name")
    week = Week(str(head.get("name", stem))[:80], era, span, limit, overtake, places, resources, operators)
    return replace(week, jobs=read_jobs(week, strict.named(data, "jobs"), past))


def _era(head: Mapping[str, Any]) -> Era:
    text, named = head.get("start"), head.get("zone")
    try:
        start = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"plan.start: {text!r} is no time; write for example 2031-05-05T08:00+02:00") from error
    if not 1971 <= start.year <= 9000:
        raise ConfigError(f"plan.start: {text!r} is out of reach; allowed: the years 1971 to 9000")
    zone: tzinfo | None = start.tzinfo
    if named is not None:
        try:
            zone = ZoneInfo(str(named))
        except (ValueError, OSError, LookupError) as error:
            raise ConfigError(f"plan.zone: {named!r} is unknown; write for example Europe/Berlin") from error
    if zone is None:
        raise ConfigError(f"plan.start: {text!r} doesn't say its zone; write 2031-05-05T08:00+02:00 or give plan.zone")
    return Era(start if start.tzinfo else start.replace(tzinfo=zone), zone)


def _operator(entry: Any, place: str, era: Era, limit: float) -> Shifts:
    entry = strict.known(entry, ("hours", "away"), place)
    hours, away = strict.texts(entry, "hours", place), strict.texts(entry, "away", place)
    shifts = era.shifts(hours, away, limit, place)
    if not shifts.opens:
        raise ConfigError(f"{place}.hours: never at work; write for example 'Mon-Fri 09:00-17:00'")
    return shifts


def _resource(name: str, entry: Any, place: str) -> Resource:
    mtbf, mttr = _failures(strict.known(entry, ("failures",), place), place)
    return Resource(name, mtbf=mtbf, mttr=mttr)


def _instrument(
    name: str, entry: Any, stations: Sequence[str], operators: Mapping[str, Shifts], past: Sequence[PastRun]
) -> Resource:
    place = f"instruments.{name}"
    entry = strict.known(entry, ("at", "move", "failures"), place)
    at = entry.get("at") or ""
    if at and at not in stations:
        raise ConfigError(f"{place}.at: {at!r} is no station; allowed: {', '.join(stations)}")
    move = None
    if "move" in entry:
        if not at:
            raise ConfigError(f"{place}: has `move` but not `at`, the station where it stands at the start")
        move = read_step(entry["move"], f"{place}.move", operators, past, f"move {name}")
    return Resource(name, at, move, *_failures(entry, place))


def _failures(entry: Mapping[str, Any], place: str) -> tuple[float, float]:
    if "failures" not in entry:
        return 0.0, 0.0
    failures = strict.known(entry["failures"], ("mtbf", "mttr"), f"{place}.failures")
    mtbf, mttr = (to_si(failures.get(key), "s", what=f"{place}.failures.{key}") for key in ("mtbf", "mttr"))
    if not 60 <= mttr <= mtbf / 2:
        raise ConfigError(f"{place}.failures: mttr must be at least 1 min and at most half of mtbf")
    return mtbf, mttr
