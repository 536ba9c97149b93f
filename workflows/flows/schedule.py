"""What `ohmflow serve` offers, and when it runs by itself: our flows, and the schedule file that a laboratory writes.

Everything that can be known to be wrong without an instrument is found when the file is read, not at two in the night.
Prefect must be set up (`environment.prepare`) before a schedule is read: its own rules say what a cron line may be.
"""

import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import sim_configs
from instruments.errors import ConfigError
from instruments.quantity import to_si
from instruments.station_file import StationFile
from instruments.strict_yaml import read_yaml
from workflows.errors import USER_ERRORS, NothingYetError
from workflows.flows.environment import state_folder
from workflows.flows.notify import Notify
from workflows.planning import strict
from workflows.procedures.job import Job
from workflows.procedures.options import PER_RUN, listed, quantities
from workflows.procedures.registry import ENTRIES, Entry

MOST_DEPLOYMENTS = 100
_KEYS = ("flow", "name", "cron", "timezone", "parameters", "concurrency", "tags", "description")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")


@dataclass(frozen=True)
class Offer:
    """A flow that can be deployed.

    Attributes:
        target: "module:function".
        deployed: the flow's name in Prefect.
        load: gives the options' dataclass and the check of such options; late, because it imports much.
    """

    target: str
    deployed: str
    load: Callable[[], tuple[type[Any], Callable[[Any], object]]]


def _procedure(entry: Entry) -> Offer:
    def load() -> tuple[type[Any], Callable[[Any], object]]:
        found = entry.load()
        return found.options, lambda options: Job.prepare(found, options)

    return Offer(f"workflows.flows.procedures:{entry.name.replace('-', '_')}", entry.name, load)


def _check() -> tuple[type[Any], Callable[[Any], object]]:
    from workflows.flows.station import CheckOptions

    return CheckOptions, lambda options: StationFile.load(options.station)


def _analysis() -> tuple[type[Any], Callable[[Any], object]]:
    from workflows.flows.upkeep import AnalysisOptions

    return AnalysisOptions, AnalysisOptions.check


def _control() -> tuple[type[Any], Callable[[Any], object]]:
    from workflows.flows.upkeep import ControlOptions

    return ControlOptions, ControlOptions.check


OFFERS = {
    **{name: _procedure(entry) for name, entry in ENTRIES.items()},
    "station-check": Offer("workflows.flows.station:station_check", "station-check", _check),
    "analysis": Offer("workflows.flows.upkeep:analysis", "analysis", _analysis),
    "control-run": Offer("workflows.flows.upkeep:control_run", "control-run", _control),
}


@dataclass(frozen=True)
class Deployment:
    """A flow with parameters, to be run by hand or by the clock.

    Attributes:
        flow: key of `OFFERS`.
        name: of the deployment; unique among those of its flow.
        parameters: the flow's, in SI.
        cron: when it runs by itself, five fields; "" for never.
        timezone: that the cron line is meant in, IANA name.
        concurrency: runs of it that may go on at once, 1..100; further ones queue.
        tags: shown and searched for in the UI.
        description: shown in the UI; "" for the flow's.
    """

    flow: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cron: str = ""
    timezone: str = "UTC"
    concurrency: int = 1
    tags: tuple[str, ...] = ()
    description: str = ""

    @property
    def label(self) -> str:
        """The deployment's full name in Prefect."""
        return f"{OFFERS[self.flow].deployed}/{self.name}"


@dataclass(frozen=True)
class Schedule:
    """What a schedule file says.

    Attributes:
        deployments: those of the file, and one by hand of each flow.
        notify: who is told of what.
    """

    deployments: tuple[Deployment, ...]
    notify: Notify = field(default_factory=Notify)


def load_schedule(path: Path | None) -> Schedule:
    """A schedule file (packaged ones are found by name), completed by one deployment by hand of each flow.

    Raises:
        ConfigError: missing, larger than 1 MiB, not YAML, or something in it unknown, impossible or contradictory; the
            message names file, place and what is allowed.
    """
    by_hand = [Deployment(flow, "by hand", _completed(flow, {})) for flow in OFFERS]
    if path is None:
        return Schedule(tuple(by_hand))
    found = sim_configs.find(path)
    data = read_yaml(found, "schedule file")
    try:
        listed = _listed(data)
        notify = Notify.read(data.get("notify"), found.parent)
    except ConfigError as error:
        raise ConfigError(f"schedule file {found}: {str(error)[:600]}") from error
    return Schedule(tuple(listed + by_hand), notify)


def _listed(data: Any) -> list[Deployment]:
    entries = strict.known(data, ("deployments", "notify"), "top").get("deployments")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_DEPLOYMENTS:
        raise ConfigError(f"deployments: must be a list of 1..{MOST_DEPLOYMENTS} entries")
    found: dict[tuple[str, str], Deployment] = {}
    for number, entry in enumerate(entries, start=1):
        place = f"deployments, entry {number}"
        one = _deployment(strict.known(entry, _KEYS, place), place)
        if (one.flow, one.name) in found:
            raise ConfigError(f"{place}: {one.flow} {one.name!r} is there already; give it another name")
        found[one.flow, one.name] = one
    return list(found.values())


def _deployment(entry: Mapping[str, Any], place: str) -> Deployment:
    flow = entry.get("flow")
    if not isinstance(flow, str) or flow not in OFFERS:
        raise ConfigError(f"{place}: flow {flow!r:.80} is unknown; known: {', '.join(OFFERS)}")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "by hand":
        raise ConfigError(f"{place}: name {name!r:.80} must be 1..64 letters, digits and . _ + - ('by hand' is taken)")
    place = f"{place} ({name})"
    cron, zone = _text(entry, "cron", place), _text(entry, "timezone", place)
    concurrency = entry.get("concurrency", 1)
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or not 1 <= concurrency <= 100:
        raise ConfigError(f"{place}: concurrency {concurrency!r:.80} must be a whole number, 1..100")
    if cron:
        _check_cron(cron, place)
    elif zone:
        raise ConfigError(f"{place}: timezone without cron; give a cron line, or leave both out")
    if zone:
        _check_zone(zone, place)
    return Deployment(
        flow, name, _parameters(flow, entry.get("parameters"), f"{place}, parameters"), cron, zone or "UTC",
        concurrency, strict.texts(entry, "tags", place), _text(entry, "description", place),
    )  # fmt: skip


def _text(entry: Mapping[str, Any], key: str, place: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 1000:
        raise ConfigError(f"{place}: {key} {value!r:.80} must be a text")
    return value


def _check_cron(cron: str, place: str) -> None:
    from prefect.schedules import Cron

    wrong = f"{place}: cron {cron!r:.80} must be five fields: minute hour day month weekday, such as '0 2 * * 1-5'"
    if len(cron.split()) != 5:  # Prefect would also take seconds and years, which the UI shows wrongly
        raise ConfigError(wrong)
    try:
        Cron(cron)
    except ValueError as error:
        raise ConfigError(wrong) from error


def _check_zone(zone: str, place: str) -> None:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:  # a folder's name is an OSError
        raise ConfigError(f"{place}: timezone {zone!r:.80} is unknown; write for example Europe/Berlin") from error


def _parameters(flow: str, entry: Any, place: str) -> Mapping[str, Any]:
    """Checked one by one, and together as the job would be before it starts."""
    offer = OFFERS[flow]
    options, prepare = offer.load()
    allowed = [one.name for one in listed(options) if one.name not in PER_RUN]
    kinds, units = get_type_hints(options), quantities(options)
    given: dict[str, Any] = {}
    for name, value in strict.known(entry, allowed, place).items():
        kind = kinds[name]
        if name in units:
            given[name] = to_si(value, units[name], what=f"{place}: {name}")
        elif kind is float and type(value) is int:
            given[name] = float(value)
        elif type(value) is kind:
            given[name] = value
        else:
            raise ConfigError(f"{place}: {name} {value!r:.80} must be {_SAID[kind]}")
    try:
        complete = _completed(flow, given)
        prepare(options(**complete))
    except NothingYetError:
        pass  # by the time of its first run there may be what it needs
    except USER_ERRORS as error:
        raise ConfigError(f"{place}: {error}") from error
    return complete


_SAID = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _completed(flow: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """With the folders that `ohmflow` on the command line would take: runs are kept, and so are a twin's chips."""
    options, _ = OFFERS[flow].load()
    names = {one.name for one in fields(options)}
    complete = dict(given)
    if "runs" in names:
        complete["runs"] = str(Path(given.get("runs", "runs")).expanduser().absolute())
    if "cache" in names:
        complete.setdefault("cache", str(state_folder() / "networks"))
    if "bench" in names and not given.get("bench"):
        file = StationFile.load(given.get("station", options().station))
        if file.simulated:
            complete["bench"] = file.twin.get("dir") or str((state_folder() / "benches" / file.name).absolute())
    return complete
