"""The parts of YAML that people write, checked: an error says where it is wrong and what is allowed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from instruments.errors import ConfigError

_NAME = re.compile(r"\w[\w .+-]{0,63}")


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
