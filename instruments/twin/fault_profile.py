"""Fault profiles: which faults, on what, when, how often; one YAML file each (`sim_configs/faults/`).

    description: replies that never come
    rules:
      - fault: lost-reply
        resource: "GPIB*"      # resources, a shell pattern; default all
        message: "*TI *"       # messages (of a reply: the one it answers), a shell pattern; default all
        chance: 0.01           # for each such message; default 1
        at: [3, 40]            # or: the 3rd and the 40th such message since the bench was opened
        after: 10 s            # not earlier, by the bench's clock since it was opened
        until: 10 min          # not later
        most: 20               # not more often

Faults and their own settings:

    lost-write        the message doesn't arrive; on a bus with handshake (not serial) the writer's time-out is raised
    lost-reply        the reply doesn't come
    late-reply        the reply comes `delay` later, unless a device clear dropped it
    cut-reply         only the beginning of the reply comes
    garbage-reply     other bytes come instead: one of `texts`, else random ones
    bit-flips         `flips` bits of the message, and of the reply, are inverted
    disconnect        every operation fails; `for` that long nothing can be opened, and old sessions stay dead
    error-entry       `code` appears in the error queue of the instrument that matches `device`
    foreign-frame     somebody else sends the board that matches `device` the text `frame`
    short-circuit     `siemens` between the bit line and ground, `for` that long
    stuck-cells       `cells` cells anywhere become `to`: stuck-on, stuck-off or open
    dying-cell        the selected cell becomes `to`
    clock-step        the computer's date is off by another `step`
    disk-full         no file can grow beyond `size` bytes until the bench is closed

Faults without a place of their own (cells, clock, disk) happen when a matching message is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import sim_configs
from instruments.errors import ConfigError
from instruments.quantity import to_si
from instruments.strict_yaml import read_yaml

_MOST_RULES: Final = 100
TO: Final = ("stuck-on", "stuck-off", "open")

# A setting's kind (s, S: a quantity of that unit; n: whole number; t: text; l: list of texts; c: one of TO), its
# default (None: required).
SETTINGS: Final[Mapping[str, Mapping[str, tuple[str, Any]]]] = {
    "lost-write": {},
    "lost-reply": {},
    "late-reply": {"delay": ("s", None)},
    "cut-reply": {},
    "garbage-reply": {"texts": ("l", ())},
    "bit-flips": {"flips": ("n", 1)},
    "disconnect": {"for": ("s", None)},
    "error-entry": {"code": ("n", 305), "device": ("t", "GPIB*")},
    "foreign-frame": {"frame": ("t", None), "device": ("t", "ASRL*")},
    "short-circuit": {"siemens": ("S", None), "for": ("s", None)},
    "stuck-cells": {"cells": ("n", None), "to": ("c", "stuck-on")},
    "dying-cell": {"to": ("c", "open")},
    "clock-step": {"step": ("s", None)},
    "disk-full": {"size": ("n", None)},
}
REPLIES: Final = frozenset({"lost-reply", "late-reply", "cut-reply", "garbage-reply", "bit-flips"})
"""Faults that act on replies; `bit-flips` acts on messages too, all others on messages alone."""


@dataclass(frozen=True)
class Rule:
    """One line of a profile; see the module's docstring.

    Attributes:
        fault: a key of `SETTINGS`.
        resource, message: shell patterns.
        chance: 0..1.
        at: numbers of matching messages, from 1; empty: by chance.
        after, until: s since the bench was opened.
        most: how often.
        settings: the fault's own, in SI.
    """

    fault: str
    resource: str = "*"
    message: str = "*"
    chance: float = 1.0
    at: frozenset[int] = frozenset()
    after: float = 0.0
    until: float = float("inf")
    most: int = 1_000_000
    settings: Mapping[str, Any] = field(default_factory=dict)

    def concerns(self, resource: str, message: str) -> bool:
        """Whether a message to a resource is one of those meant."""
        return fnmatchcase(resource, self.resource) and fnmatchcase(message, self.message)

    @classmethod
    def parse(cls, data: Any, what: str) -> "Rule":
        """Read one rule; `what` names it in errors.

        Raises:
            ConfigError: unknown fault or setting, or a value out of range.
        """
        if not isinstance(data, dict):
            raise ConfigError(f"{what}: must be a mapping such as {{fault: lost-reply, chance: 0.01}}")
        fault = data.get("fault")
        if not isinstance(fault, str) or fault not in SETTINGS:
            raise ConfigError(f"{what}: fault {fault!r} is unknown; known: {', '.join(SETTINGS)}")
        own = SETTINGS[fault]
        common = ("fault", "resource", "message", "chance", "at", "after", "until", "most")
        unknown = sorted(str(key) for key in set(data) - set(common) - set(own))
        if unknown:
            raise ConfigError(f"{what}: unknown setting {unknown[0]!r}; allowed: {', '.join((*common, *own))}")
        chance = data.get("chance", 1.0)
        if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
            raise ConfigError(f"{what}: chance {chance!r} must be a number 0..1")
        at = data.get("at", [])
        numbers = at if isinstance(at, list) else [at]
        settings = {name: _setting(kind, data.get(name, default), f"{what}: {name}")
                    for name, (kind, default) in own.items()}  # fmt: skip
        return cls(
            fault,
            _text(data.get("resource", "*"), f"{what}: resource"),
            _text(data.get("message", "*"), f"{what}: message"),
            float(chance),
            frozenset(_whole(number, f"{what}: at") for number in numbers),
            to_si(data.get("after", 0.0), "s", what=f"{what}: after"),
            to_si(data["until"], "s", what=f"{what}: until") if "until" in data else float("inf"),
            _whole(data.get("most", 1_000_000), f"{what}: most"),
            settings,
        )


@dataclass(frozen=True)
class FaultProfile:
    """A named list of rules."""

    name: str
    description: str
    rules: tuple[Rule, ...]

    @classmethod
    def load(cls, name: str) -> "FaultProfile":
        """Read a profile: a YAML file, or a packaged one by its name.

        Raises:
            ConfigError: missing, too large, not YAML, or something in it unknown.
        """
        try:
            path = Path(name).expanduser()
            if path.suffix not in (".yaml", ".yml"):
                path = sim_configs.path(f"faults/{path.name}.yaml")
            missing = not path.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"fault profile {name!r:.200} can't be read: {error}") from error
        if missing:
            raise ConfigError(f"fault profile {name!r} not found; packaged profiles: {', '.join(profiles())}")
        data = read_yaml(path, "fault profile")
        known = isinstance(data, dict) and not set(data) - {"description", "rules"}
        if not known or not isinstance(data.get("rules"), list):
            raise ConfigError(f"fault profile {path} must have `rules:`, a list, and may have a `description:`")
        if len(data["rules"]) > _MOST_RULES:
            raise ConfigError(f"fault profile {path} has more than {_MOST_RULES} rules")
        rules = tuple(Rule.parse(item, f"{path}: rule {n}") for n, item in enumerate(data["rules"], 1))
        return cls(path.stem, str(data.get("description", "")), rules)


def profiles() -> list[str]:
    """Names of the packaged profiles, sorted."""
    return sorted(path.stem for path in sim_configs.path("faults").glob("*.yaml"))


def _setting(kind: str, value: Any, what: str) -> Any:
    if value is None:
        raise ConfigError(f"{what}: is required")
    if kind in ("s", "S"):
        return to_si(value, kind, what=what)
    if kind == "n":
        return _whole(value, what)
    if kind == "c":
        if value not in TO:
            raise ConfigError(f"{what}: {value!r} is not allowed; allowed: {', '.join(TO)}")
        return value
    if kind == "l":
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{what}: {value!r} must be a list of texts")
        return tuple(_text(item, what) for item in value)
    return _text(value, what)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or len(value) > 400 or not value.isascii():
        raise ConfigError(f"{what}: {value!r} must be a short ASCII text")
    return value


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**40:
        raise ConfigError(f"{what}: {value!r} must be a whole number of at least 1")
    return value
