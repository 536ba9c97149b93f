"""Reading YAML that people write: no code, no surprises, and an error that says where and what is allowed."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from instruments.errors import ConfigError

MAX_BYTES = 1 << 20
_NAME = re.compile(r"\w[\w .+-]{0,63}")
_SCALARS = (
    ("null", r"~|null|", "~n"),
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?[0-9]{1,18}", "-+0123456789"),
    ("float", r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", "-+0123456789"),
)


class _Loader(yaml.SafeLoader):
    """YAML without code, dates and base-60 numbers (12:30 stays 12:30); a key that comes twice is a mistake."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        # A few lines of aliases of aliases can stand for gigabytes, and no plan needs one.
        if self.check_event(yaml.AliasEvent):
            raise ConfigError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"line {key.start_mark.line + 1}: a key must be a text")
            if key.value in seen:
                raise ConfigError(f"line {key.start_mark.line + 1}: {key.value!r} is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _letters = [*_first, ""] if _tag == "null" else list(_first)
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _letters)


def read(path: Path) -> Any:
    """The file's content as mappings, sequences, text, numbers, true, false and None.

    Raises:
        ConfigError: larger than 1 MiB, unreadable, or no such YAML; the caller adds the file's name.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError("larger than 1 MiB; that is no plan")
        return yaml.load(raw.decode("utf-8"), _Loader)  # a safe loader
    except FileNotFoundError as error:
        raise ConfigError("not found") from error
    except OSError as error:
        raise ConfigError(f"can't be read: {error}") from error
    except RecursionError as error:
        raise ConfigError("nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # text that isn't UTF-8 and odd scalars raise plain ValueErrors
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from error


def known(entry: Any, allowed: Sequence[str], place: str) -> Mapping[str, Any]:
    """The entry if it is a mapping (nothing at all counts as an empty one) with allowed keys only."""
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise ConfigError(f"{place}: must be a mapping; allowed: {', '.join(allowed)}")
    unknown = sorted(str(key) for key in entry if key not in allowed)
    if unknown:
        raise ConfigError(f"{place}: unknown key {unknown[0][:80]!r}; allowed: {', '.join(allowed)}")
    return entry


def texts(entry: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    """A list of texts, which may be written as one text; empty if left out."""
    value = entry.get(key)
    values = [] if value is None else value if isinstance(value, list) else [value]
    for item in values:
        if not isinstance(item, str):
            raise ConfigError(f"{place}.{key}: {item!r:.80} must be a text or a list of texts")
    return tuple(values)


def named(data: Mapping[str, Any], section: str) -> list[tuple[str, Any]]:
    """The entries of a section, each with its checked name."""
    entries = data.get(section)
    if entries is None:
        return []
    if not isinstance(entries, dict):
        raise ConfigError(f"{section}: must be a mapping from names")
    for name in entries:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(f"{section}: {name!r:.80} must be a name of up to 64 letters, digits and . _ + -")
    return list(entries.items())
