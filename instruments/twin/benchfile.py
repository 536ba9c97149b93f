"""What a bench file says: its name and parameters, devices that inherit, panels by name.

Builds on pyvisa-sim's private API: good for `pyvisa-sim>=0.7.1,<0.8` only.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote

import yaml
from pyvisa_sim import parser
from pyvisa_sim.devices import Device

import sim_configs
from instruments.clock import VirtualClock
from instruments.errors import ConfigError
from instruments.strict_yaml import read_yaml
from instruments.twin.panels import Panel
from instruments.twin.trusted import trusted_class

PANELS: Final = ("instruments.twin.panels",)
"""Packages whose classes a bench file may name as handlers."""
_MOST_BASES: Final = 8


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


class _Loader(parser.Loader):  # type: ignore[misc]  # the library has no type information
    """pyvisa-sim's reader of files, but bounded, strict, and confined to the first file's folder."""

    def load(self, filename: Any, bundled: bool, parent: Any, required_version: int) -> Any:
        name = Path(str(filename))
        if name.is_absolute() or ".." in name.parts or (bundled and len(name.parts) != 1):
            raise ConfigError(f"filename {str(filename)!r:.200}: must name a file in the bench file's own folder")
        if bundled:
            return self._load(str(filename), True, required_version)
        folder = Path(self._filename).resolve().parent
        if not (folder / name).resolve().is_relative_to(folder):
            raise ConfigError(f"filename {str(filename)!r:.200}: leads out of the bench file's folder")
        return super().load(filename, bundled, parent, required_version)

    def _load(self, filename: Any, bundled: bool, required_version: int) -> Any:
        known = self._cache.get((filename, bundled))
        if known is not None:
            return known
        if bundled:
            return super()._load(filename, bundled, required_version)
        data = read_yaml(Path(filename), "bench file", texts=True)
        if not isinstance(data, dict) or not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", str(data.get("spec"))):
            raise ConfigError(f'bench file {filename}: must begin with `spec: "{parser.SPEC_VERSION}"`')
        version = tuple(map(int, data["spec"].split(".")))
        if version[0] != required_version or version > parser.SPEC_VERSION_TUPLE:
            raise ConfigError(f"bench file {filename}: spec {data['spec']} is not {parser.SPEC_VERSION}")
        for section in ("devices", "resources"):
            entries = data.setdefault(section, {})
            if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
                raise ConfigError(f"bench file {filename}: {section}: must be a mapping from names to mappings")
        self._cache[filename, bundled] = data
        return data


def load(file: Path, bundled: bool) -> parser.Loader:
    """Read a file (a `bundled` one belongs to pyvisa-sim itself).

    Raises:
        ConfigError: it is not YAML, or not in pyvisa-sim's format.
    """
    try:
        return _Loader(str(file), bundled)
    except (ValueError, TypeError, OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {error}") from error


def stock_device(loader: parser.Loader, resource: Mapping[str, Any], section: Mapping[str, Any]) -> Device:
    """pyvisa-sim's device of a resource, from its merged section.

    Raises:
        ConfigError: pyvisa-sim can't make one of it, whatever it stumbles over.
    """
    ends = section.get("eom", {})
    pairs = ends.values() if isinstance(ends, dict) else (ends,)
    if not all(isinstance(pair, dict) and all(isinstance(pair.get(key), str) for key in "qr") for pair in pairs):
        raise ConfigError(f"{loader._filename}: device {resource.get('device')!r:.80}: eom: each needs q and r, texts")
    try:
        return parser.get_device(resource["device"], section, loader, resource)
    except Exception as error:  # the library raises plain Exceptions, and what its own slips give
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"{loader._filename}: device {resource.get('device')!r:.80} is malformed: {said}") from error


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
    kind, filename = entry.get("device"), entry.get("filename")
    version = parser.SPEC_VERSION_TUPLE[0]
    if not isinstance(kind, str) or not (filename is None or isinstance(filename, str)):
        raise ConfigError(f"{loader._filename}: `device` and `filename` must be texts, not {kind!r:.80}")
    try:
        section = loader.get_device_dict(kind, filename, entry.get("bundled", False), version)
    except KeyError:
        raise ConfigError(f"no device {kind!r:.80} in {filename or loader._filename}") from None
    except OSError as error:
        raise ConfigError(f"no file {filename!r:.200} to take device {kind!r:.80} from") from error
    if any(section is other for other in above):
        raise ConfigError(f"device {kind!r} is its own base")
    if len(above) > _MOST_BASES:
        raise ConfigError(f"device {kind!r:.80} has more than {_MOST_BASES} bases upon each other")
    merged: dict[str, Any] = {}
    bases = section.get("bases", ())
    if isinstance(bases, str) or not all(isinstance(base, (str, dict)) for base in bases):
        raise ConfigError(f"device {kind!r:.80}: bases must be a list of devices")
    for base in bases:
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
        ConfigError: there is no such class, or it is not trusted (see `trusted_class`). Or
            it can't be built with these options in this world.
    """
    if not isinstance(options, Mapping) or not all(isinstance(value, str) for value in options.values()):
        raise ConfigError(f"handler {reference!r:.200}: its options must be a mapping from names to texts")
    made = trusted_class(reference, "handler", PANELS)
    try:
        return cast(Panel, made(bench, options))
    except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        # A panel that needs a world in a file without a `bench:` section, or options that it can't read.
        said = "the file has no `bench:` section" if isinstance(bench, BareBench) else str(error)[:300]
        raise ConfigError(f"handler {reference!r:.200} can't be built: {said}") from error
