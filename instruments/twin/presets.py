"""Device presets: a YAML file that names a law and gives its constants."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from instruments.errors import ConfigError
from instruments.quantity import to_si
from instruments.strict_yaml import read_yaml
from instruments.twin.laws import parts
from instruments.twin.laws.law import Law
from instruments.twin.trusted import trusted_class

LAWS: Final = ("instruments.twin.laws",)
"""Packages whose classes a preset may name as its law without being trusted by the user."""
STANDARD_LAW: Final = "instruments.twin.laws.gated:CellLaw"
"""What a preset without `law:` means, and a chip drawn when there was one law only."""
_SECTIONS = ("law", "source", "cell")
_ASKED = (
    "noise", "g_leak", "v_quiet", "disturbs", "gate_within",
    "fresh", "conductance", "sense", "set_pulse", "reset_pulse",
)  # fmt: skip


def load_law(preset: str, base: Path) -> Any:
    """The device law of a preset, by name (packaged) or by path to a YAML file.

    Args:
        preset: "cmo-hfox", or a path, absolute or from the working directory or `base`.
        base: folder of the file that names the preset.

    Returns:
        A `laws.law.Law`; typed as Any because each law has constants of its own.

    Raises:
        ConfigError: there is no such preset or law, or a constant is unknown or out of range.
    """
    path = _find(preset, base)
    try:
        data = read_yaml(path, "device preset")
        cell = data.get("cell") if isinstance(data, dict) else None
        if not isinstance(cell, dict):
            raise ValueError("a device preset has a `cell:` mapping")
        unknown = next((str(key) for key in data if key not in _SECTIONS), None)
        if unknown is not None:
            raise ValueError(f"unknown section {unknown!r}; allowed: {', '.join(_SECTIONS)}")
        kind = _law_class(data.get("law", STANDARD_LAW))
        units = parts.units(kind)
        return parts.build(kind, {str(k): _in_si(str(k), v, units) for k, v in cell.items()})
    except (OSError, ValueError, TypeError, NameError, ConfigError) as error:  # a law may be anybody's
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error


def form_of(law: Law) -> str:
    """The name of a law's equations, as a preset gives it: package.module:Class."""
    return f"{type(law).__module__}:{type(law).__qualname__}"


def _find(preset: str, base: Path) -> Path:
    import sim_configs

    try:
        path = next((p for p in (Path(preset), base / preset) if p.suffix in (".yaml", ".yml") and p.is_file()), None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"device preset {preset!r:.200} can't be read: {error}") from error
    if path is None and re.fullmatch(r"[\w.+-]{1,64}", preset):
        path = sim_configs.path(f"presets/{preset}.yaml")
    if path is None or not path.is_file():
        raise ConfigError(f"device preset {preset!r} not found; packaged presets: {', '.join(sim_configs.presets())}")
    return path


def _law_class(reference: object) -> type[Any]:
    kind = trusted_class(reference, "law", LAWS)
    own = {one.name for one in fields(kind)} if is_dataclass(kind) else set()
    lacking = [name for name in _ASKED if not hasattr(kind, name) and name not in own]
    if not is_dataclass(kind) or lacking:
        why = f"lacks {', '.join(lacking)}" if lacking else "is no dataclass"
        raise ConfigError(f"law {reference!r} {why}; instruments/twin/laws/__init__.py tells how to write a law")
    record = getattr(kind, "record", None)
    if not isinstance(record, np.dtype) or (absent := list(parts.missing(record))):
        fault = f"lacks the fields {', '.join(absent)}" if isinstance(record, np.dtype) else "is no numpy dtype"
        raise ConfigError(f"law {reference!r}: its record {fault}; make it with laws.parts.record")
    return kind


def _in_si(name: str, value: object, units: Mapping[str, str]) -> object:
    """A quantity with a unit as a number; pure numbers, and what isn't known, as they are."""
    if isinstance(value, str) and units.get(name):
        return to_si(value, units[name], what=name)
    return value
