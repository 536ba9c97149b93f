"""What a bench file says: its name and parameters, devices that inherit, panels by name.

Builds on pyvisa-sim's private API: good for `pyvisa-sim>=0.7.1,<0.8` only.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import unquote

import yaml
from pyvisa_sim import parser

import sim_configs
from instruments.clock import VirtualClock
from instruments.errors import ConfigError
from instruments.twin.panels import Panel


class BenchLike(Protocol):
    """What the library itself needs of a bench; panels need more."""

    @property
    def clock(self) -> VirtualClock:
        """The bench's time."""
        ...

    def close(self) -> None:
        """Flush and unlock."""
        ...


class BareBench:
    """The world of a file without a `bench:` section: a clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()

    def close(self) -> None:
        """Nothing to flush."""


def parse_specification(text: str) -> tuple[str, dict[str, str]]:
    """Split `FILE.yaml?key=value&...` into the file's name and the parameters.

    Raises:
        ConfigError: a parameter is not `key=value`, or comes twice.
    """
    name, _, query = text.partition("?")
    params: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        key, equals, value = item.partition("=")
        if not key or not equals or key in params:
            raise ConfigError(f"{text!r}: {item!r} should be one key=value, once")
        params[key] = unquote(value)
    return name, params


def find_file(name: str) -> Path:
    """A bench file: the path as given, else the packaged one of that name.

    Raises:
        ConfigError: there is neither.
    """
    path = sim_configs.find(name)
    if not path.is_file():
        raise ConfigError(f"no file {name!r} in {Path.cwd()} or among the packaged sim_configs")
    return path.absolute()


def load(file: Path, bundled: bool) -> parser.Loader:
    """Read a file (a `bundled` one belongs to pyvisa-sim itself).

    Raises:
        ConfigError: it is not YAML, or not in pyvisa-sim's format.
    """
    try:
        return parser.Loader(str(file), bundled)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error


def device_section(
    loader: parser.Loader, entry: Mapping[str, Any], above: tuple[Mapping[str, Any], ...] = ()
) -> dict[str, Any]:
    """The section of a device with its `bases:` merged in, later ones over earlier ones, its own over all.

    Mappings merge key by key, lists (dialogues) are joined, other values are replaced.

    Args:
        loader: the file's.
        entry: names the `device`, and the `filename` if it is another one: a resource, or an item of `bases`.
        above: sections that are being merged already.

    Raises:
        ConfigError: there is no such device, or it is its own base.
    """
    kind, filename = entry["device"], entry.get("filename")
    version = parser.SPEC_VERSION_TUPLE[0]
    try:
        section = loader.get_device_dict(kind, filename, entry.get("bundled", False), version)
    except KeyError:
        raise ConfigError(f"no device {kind!r} in {filename or loader._filename}") from None
    if any(section is other for other in above):
        raise ConfigError(f"device {kind!r} is its own base")
    merged: dict[str, Any] = {}
    for base in section.get("bases", ()):
        item = {"filename": filename} | ({"device": base} if isinstance(base, str) else base)
        merged = _merge(merged, device_section(loader, item, (*above, section)))
    return _merge(merged, {key: value for key, value in section.items() if key != "bases"})


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, value)
        else:
            merged[key] = old + value if isinstance(old, list) and isinstance(value, list) else value
    return merged


def load_panel(reference: str, bench: BenchLike, options: Mapping[str, str]) -> Panel:
    """Build the panel that `package.module:Class` names.

    Raises:
        ConfigError: there is no such class. What its constructor raises is passed on.
    """
    module, _, name = reference.partition(":")
    try:
        panel = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"handler {reference!r}: no such package.module:Class: {error}") from error
    return cast(Panel, panel(bench, options))
