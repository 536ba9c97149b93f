"""A tape as a bench: files by which any program runs against what was recorded."""

import os
from pathlib import Path
from typing import Any

import yaml
from pyvisa import rname

from instruments.errors import ConfigError
from instruments.strict_yaml import parse_yaml
from instruments.tape import Tape
from instruments.tape_exchanges import terminator

BENCH, STATION = "bench.yaml", "station.yaml"


def write_bench(tape: Tape, folder: Path, *, order: str = "strict") -> Path:
    """Write `bench.yaml`, whose instruments answer from the tape; gives its path.

    Use it by `pyvisa.ResourceManager("FOLDER/bench.yaml@twin")`. If the tape holds its station's file, `station.yaml`
    stands beside it: the same station, with the tape in place of the instruments.

    Args:
        tape: what was recorded.
        folder: new, or empty.
        order: strict (messages must come as on the tape) or any.

    Raises:
        ConfigError: the folder holds something, nothing was recorded, or the tape names an impossible resource or
            holds a text that is no station file.
    """
    if not tape.resources:
        raise ConfigError(f"tape {tape.path}: nothing was recorded on it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: holds something already; name a new folder")
    devices, resources = {}, {}
    for number, name in enumerate(tape.resources):
        try:
            parsed = rname.parse_resource_name(name)
        except rname.InvalidResourceName as error:
            raise ConfigError(f"tape {tape.path}: {name!r:.80} is no VISA resource name") from error
        end = terminator(event for event in tape.events if event.at == name).decode("ascii")
        devices[f"taped-{number}"] = {
            "eom": {f"{parsed.interface_type} {parsed.resource_class}": {"q": end, "r": ""}},
            "error": "ERROR",
            "handler": "instruments.twin.panels.replay:ReplayPanel",
            "options": {"tape": str(tape.path.absolute()), "resource": name, "order": order},
        }
        resources[name] = {"device": f"taped-{number}"}
    said = f"# Instruments that answer as on {tape.path.name}, recorded {tape.started} ({tape.world})."
    head = "".join(c for c in said if c.isprintable()) + "\n"  # one line, or it wouldn't be a comment
    station = head + _station(tape) if tape.station else ""
    folder.mkdir(parents=True, exist_ok=True)
    _put(folder / BENCH, head + _yaml({"spec": "1.1", "devices": devices, "resources": resources}))
    if station:
        _put(folder / STATION, station)
    return folder / BENCH


def _station(tape: Tape) -> str:
    """The station file with the bench beside it as its instruments, and no twin of its own.

    The text is read and written anew: whatever it looks like, what comes out can open nothing but the tape.
    """
    data = parse_yaml(tape.station.encode("utf-8", "replace"), f"station file on tape {tape.path}")
    section = data.get("station") if isinstance(data, dict) else None
    if not isinstance(section, dict):
        raise ConfigError(f"station file on tape {tape.path}: it has no section `station:`")
    kept = {key: value for key, value in section.items() if key not in ("served", "clock")}
    data["station"] = {**kept, "world": "simulated", "visa": f"{BENCH}@twin"}
    return _yaml({key: value for key, value in data.items() if key != "twin"})


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, width=1000, allow_unicode=True)


def _put(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
