"""A study file as plain values: it may come from a stranger, so a few lines of it can't stand for gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from analysis.sweeps.measurement import StudyError

MOST_BYTES: Final = 1 << 20
MOST_EVENTS: Final = 40_000
"""Of the YAML: keys, values, and beginnings and ends of lists and tables; some 1 s of reading."""
MOST_DEPTH: Final = 16


def read_declared(path: Path) -> dict[str, Any]:
    """The content of a study file.

    Raises:
        StudyError: it can't be read, is no table, has aliases or tags, or is too large or too deep.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise StudyError(f"{path}: cannot be read as a study: it is no plain file")
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise StudyError(f"{path}: is larger than 1 MiB; that is no study")
        text = raw.decode("utf-8")
        _check(text, path)
        said = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:  # odd scalars raise plain ValueErrors
        raise StudyError(f"{path}: cannot be read as a study: {' '.join(str(error).split())[:400]}") from error
    if not isinstance(said, dict):
        raise StudyError(f"{path}: a study is a table of name, model, metrics, axes and more")
    return said


def _check(text: str, path: Path) -> None:
    """Look at the YAML piece by piece, before anything is made of it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, yaml.SafeLoader), 1):
        line = f"{path}, line {event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            raise StudyError(f"{line}: aliases (*name) are not allowed; write the value out")
        if getattr(event, "tag", None) not in (None, "!"):
            raise StudyError(f"{line}: tags (!name) are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH or count > MOST_EVENTS:
            raise StudyError(f"{line}: more lists, tables and values than a study has")
