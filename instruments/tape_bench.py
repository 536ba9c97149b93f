"""A tape as a bench: files by which any program runs against what was recorded."""

import os
import re
from pathlib import Path

import yaml
from pyvisa import rname

from instruments.errors import ConfigError
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
        ConfigError: the folder holds something, or nothing was recorded.
    """
    if not tape.resources:
        raise ConfigError(f"tape {tape.path}: nothing was recorded on it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: holds something already; name a new folder")
    devices, resources = {}, {}
    for number, name in enumerate(tape.resources):
        parsed = rname.parse_resource_name(name)
        end = terminator(event for event in tape.events if event.at == name).decode("ascii")
        devices[f"taped-{number}"] = {
            "eom": {f"{parsed.interface_type} {parsed.resource_class}": {"q": end, "r": ""}},
            "error": "ERROR",
            "handler": "instruments.twin.panels.replay:ReplayPanel",
            "options": {"tape": str(tape.path.absolute()), "resource": name, "order": order},
        }
        resources[name] = {"device": f"taped-{number}"}
    folder.mkdir(parents=True, exist_ok=True)
    head = f"# Instruments that answer as on {tape.path.name}, recorded {tape.started} ({tape.world}).\n"
    bench = yaml.safe_dump({"spec": "1.1", "devices": devices, "resources": resources}, sort_keys=False, width=1000)
    _put(folder / BENCH, head + bench)
    if tape.station:
        _put(folder / STATION, head + _station(tape.station))
    return folder / BENCH


def _station(text: str) -> str:
    """The station file with the bench beside it as its instruments, and no twin of its own."""
    text = re.sub(r"(?m)^(\s+)visa:.*$", rf"\1visa: {BENCH}@twin", text, count=1)
    text = re.sub(r"(?m)^(\s+)world:.*$", r"\1world: simulated", text, count=1)
    return re.sub(r"(?ms)^twin:.*?(?=^\S|\Z)", "", text)


def _put(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
