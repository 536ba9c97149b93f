"""Station files, simulated benches, device presets and fault profiles, as package data."""

from importlib.resources import files
from pathlib import Path


def path(name: str) -> Path:
    """Path of a packaged file, such as "station-twin.yaml" or "presets/cmo-hfox.yaml"; it need not exist."""
    return Path(str(files(__name__))) / name


def presets() -> list[str]:
    """Names of the packaged device presets, sorted."""
    return sorted(p.stem for p in path("presets").glob("*.yaml"))


def find(name: str | Path) -> Path:
    """A file as the user named it; else, if that does not exist, the packaged file of that name.

    `sim_configs/station-twin.yaml` and `station-twin.yaml` both find the packaged one from any folder.
    """
    try:
        asked = Path(name).expanduser()
        if asked.exists():
            return asked
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, nobody's home: whoever opens it will say so
        return Path(name)
    parts = asked.parts
    if parts and parts[0] == "sim_configs":
        parts = parts[1:]
    inside = parts and ".." not in parts and not asked.is_absolute()
    packaged = path("/".join(parts)) if inside else asked
    return packaged if packaged.is_file() else asked
