"""Drivers by name: the `driver:` of a station file, found among the entry points of what is installed.

A distribution offers a driver under the group `ohmflow.drivers`; the name is what station files say, the object is a
`Driver`. Ours are registered by the same road, from the table below. A station file names no code: only what somebody
installed can be opened by its name, or a module of a package in the environment variable OHMFLOW_HANDLERS, as
`driver: "package.module:NAME"`. How to write one: drivers.md beside this file.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal

import pyvisa

from instruments.clock import Clock
from instruments.errors import ConfigError, LimitError
from instruments.gates import Gate, Rule, RuleGate, Watch, guard, no_sources
from instruments.limits import FlexGate, Limits
from instruments.link import Troubles
from instruments.roles import CAPABILITIES, METHODS, ROLES, Role, role_of
from instruments.station_file import InstrumentEntry, StationFile

GROUP: Final = "ohmflow.drivers"
WIRES: Final = frozenset({"inputs", "outputs"})
"""Options of every matrix: what hangs on it; the station reads them, not the driver."""
_OURS: Final = "instruments.builtin_drivers"
_BUILT_IN: Final = tuple(
    EntryPoint(name, f"{_OURS}:{value}", GROUP)
    for name, value in {
        "b1500a": "B1500A_DRIVER",
        "board": "BOARD_DRIVER",
        "infiniivision": "INFINIIVISION_DRIVER",
        "tektronix_mso": "TEKTRONIX_DRIVER",
        "keithley-2600-pair": "KEITHLEY_2600_PAIR",
        "keysight-b2200": "KEYSIGHT_B2200",
    }.items()
)


@dataclass(frozen=True)
class Driver:
    """What an entry point names.

    Attributes:
        role: what the instrument is on the bench.
        make: builds the driver from an `Opening`; must not send anything.
        rules: every form of message it may send (`instruments.gates.Rule`), or "flex" for instruments that speak FLEX.
            An oscilloscope may leave it empty: then only what could drive something is refused.
        between: what separates the commands of one message, a regular expression.
        capabilities: what it can do beyond its role's least, names of `instruments.roles.CAPABILITIES`.
        options: keys that the station file's `options:` may have.
        about: one line for lists.
    """

    role: Role
    make: Callable[["Opening"], Any]
    rules: tuple[Rule, ...] | Literal["flex"] = ()
    between: str = r"[;\r\n]"
    capabilities: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    about: str = ""


@dataclass(frozen=True)
class Registered:
    """A driver, who offers it, and under which name."""

    name: str
    driver: Driver
    distribution: str

    @property
    def own(self) -> bool:
        """Whether it is ohmflow's."""
        return self.distribution == "ohmflow"


@dataclass(frozen=True)
class Opening:
    """What a driver is handed to be built from: connections behind the gate, the clock, and what the station says.

    Attributes:
        entry: its section of the station file.
        limits: what the device stands.
        lines: analyzer channel -> line of the array.
        clock: where waiting happens.
        troubles: to be told of what was repeated.
        file: the whole station file, for what else must be known.
    """

    entry: InstrumentEntry
    registered: Registered
    file: StationFile
    clock: Clock
    troubles: Troubles
    manager: Any = field(repr=False)
    watch: Watch = field(default_factory=Watch, repr=False)

    @property
    def limits(self) -> Limits:
        """What the device stands."""
        return self.file.limits

    @property
    def lines(self) -> Mapping[int, str]:
        """Analyzer channel -> line."""
        return self.file.channels()

    @property
    def options(self) -> Mapping[str, Any]:
        """The `options:` of the station file."""
        return self.entry.options

    def link(self, resource: str | None = None, channels: Mapping[str, int] | None = None) -> Any:
        """Open a connection: a pyvisa resource through which nothing passes that the limits forbid.

        Args:
            resource: VISA resource; the station file's `resource` if None.
            channels: label of a channel in this instrument's messages -> channel number in the station's wiring.

        Raises:
            ConfigError: no such VISA resource name, or the driver has no rules although it drives.
            pyvisa.VisaIOError: it can't be opened; the station makes a sentence of it.
        """
        name = resource or self.entry.resource
        if name not in self.entry.resources:  # what the station file doesn't name isn't locked for this run either
            raise ConfigError(f"instruments.{self.entry.role}: the section names no VISA resource {name!r:.80}")
        opened = self.manager.open_resource(name, timeout=round(self.entry.timeout * 1000))
        return guard(opened, self._gate(channels), self.watch)

    def raw(self) -> Any:
        """A connection without a gate, for ohmflow's own drivers whose gate sits inside them.

        Raises:
            LimitError: the driver is somebody else's.
        """
        if not self.registered.own:
            raise LimitError(f"driver {self.registered.name}: only link() gives connections, for the limits' sake")
        return self.manager.open_resource(self.entry.resource, timeout=round(self.entry.timeout * 1000))

    def _gate(self, channels: Mapping[str, int] | None) -> Gate:
        driver = self.registered.driver
        if driver.rules == "flex":
            return FlexGate(self.limits, self.lines)
        if not driver.rules:
            if driver.role != "oscilloscope":
                raise ConfigError(
                    f"driver {self.registered.name}: it has no rules, so what it sends can't be held against the limits"
                )
            return no_sources
        lines = self.lines
        wired = {label.lower(): lines[number] for label, number in (channels or {}).items() if number in lines}
        return RuleGate(self.registered.name, driver.rules, self.limits, wired, driver.between)


def known() -> dict[str, list[EntryPoint]]:
    """Entry points by name, ours first; nothing is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for point in (*_BUILT_IN, *entry_points(group=GROUP)):
        if point.value.startswith(f"{_OURS}:") and point.name in found:
            continue  # ours, once more by way of its installed metadata
        found.setdefault(point.name, []).append(point)
    return found


def find(name: str, role: Role | None = None) -> Registered:
    """The driver that a station file names.

    Args:
        name: as written.
        role: that it must have, if any.

    Raises:
        ConfigError: there is none, several distributions offer it, it can't be loaded, or it has another role.
    """
    found = _trusted(name) if ":" in name else _installed(name, role)
    if role is not None and found.driver.role != role:
        raise ConfigError(f"driver {name!r} is for role {found.driver.role}, not {role}")
    return found


def _installed(name: str, role: Role | None) -> Registered:
    own = [point for point in _BUILT_IN if point.name == name]  # nobody can take our names, so nobody need be asked
    points = own or known().get(name)
    if not points:
        there = [one.name for one in everything() if isinstance(one, Registered) and role in (None, one.driver.role)]
        raise ConfigError(f"driver {name!r} is unknown; known: {', '.join(there)}")
    if len(points) > 1:
        raise ConfigError(
            f"driver {name!r} is offered by {' and '.join(_origin(p) for p in points)}; remove one of them"
        )
    return _load(points[0])


def everything() -> list[Registered | str]:
    """All drivers, sorted by name; in place of one that can't be loaded, the sentence that says why."""
    found: list[Registered | str] = []
    for name in sorted(known()):
        try:
            found.append(find(name))
        except ConfigError as error:
            found.append(str(error))
    return found


def open_driver(opening: Opening) -> Any:
    """Build the driver of a station file's section.

    Raises:
        ConfigError: an option is unknown, or the driver lacks what its role needs.
    """
    registered, entry = opening.registered, opening.entry
    options = registered.driver.options | (WIRES if registered.driver.role == "matrix" else set())
    unknown = sorted(set(entry.options) - options)
    if unknown:
        allowed = ", ".join(sorted(options)) or "none"
        raise ConfigError(f"instruments.{entry.role}.options: unknown option {unknown[0]!r}; known: {allowed}")
    made = registered.driver.make(opening)
    lacking = [method for method in METHODS[registered.driver.role] if not callable(getattr(made, method, None))]
    if lacking:
        raise ConfigError(f"driver {registered.name}: it lacks {', '.join(lacking)}, which its role needs")
    return made


def _origin(point: EntryPoint) -> str:
    dist = point.dist
    return "ohmflow" if dist is None or point.value.startswith(f"{_OURS}:") else str(dist.name)


def _load(point: EntryPoint) -> Registered:
    origin = _origin(point)
    try:
        found = point.load()
    except Exception as error:  # whatever importing somebody's package comes to
        said = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"driver {point.name!r} of {origin} can't be loaded: {type(error).__name__}: {said}"
        ) from error
    return _checked(Registered(point.name, found, origin))


def _checked(found: Registered) -> Registered:
    driver = found.driver
    if not isinstance(driver, Driver):
        raise ConfigError(f"driver {found.name!r} of {found.distribution}: is no instruments.drivers.Driver")
    if driver.role not in ROLES:
        raise ConfigError(f"driver {found.name!r}: role {driver.role!r} is none of {', '.join(ROLES)}")
    odd = sorted(driver.capabilities - set(CAPABILITIES[driver.role]))
    if odd:
        raise ConfigError(f"driver {found.name!r}: capability {odd[0]!r} means nothing for role {driver.role}")
    if driver.rules != "flex":
        for rule in driver.rules:
            _ = rule.matcher
    return found


def _trusted(reference: str) -> Registered:
    allowed = [name.strip() for name in os.environ.get("OHMFLOW_HANDLERS", "").split(",") if name.strip()]
    module, _, attribute = reference.partition(":")
    fine = re.fullmatch(r"[A-Za-z_][\w.]*", module, re.ASCII) and re.fullmatch(r"[A-Za-z_]\w*", attribute, re.ASCII)
    if not fine or not any(module == package or module.startswith(f"{package}.") for package in allowed):
        raise ConfigError(
            f"driver {reference!r:.200} names code, which a station file may not; install a package with an entry "
            f"point in {GROUP}, or set OHMFLOW_HANDLERS to the name of a package that you trust"
        )
    found = _load(EntryPoint(reference, reference, GROUP))
    return replace(found, distribution=module.partition(".")[0])


def opening_for(
    entry: InstrumentEntry, file: StationFile, manager: pyvisa.ResourceManager, clock: Clock, troubles: Troubles
) -> Opening:
    """What the driver of a section is built from.

    Raises:
        ConfigError: the driver is unknown.
    """
    try:
        registered = find(entry.driver, role_of(entry.role))
    except ConfigError as error:
        raise ConfigError(f"instruments.{entry.role}: {error}") from error
    return Opening(entry, registered, file, clock, troubles, manager)
