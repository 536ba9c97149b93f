"""Which runs a view may show, and what they are called in addresses."""

import os
from dataclasses import dataclass
from pathlib import Path

from analysis.records.skim import state_of_files
from workflows.errors import NothingYetError, RequestError

_LONGEST = 1000


@dataclass(frozen=True)
class Place:
    """The folder of a view.

    Attributes:
        root: the folder that runs are looked for in; absolute.
        only: name of the one run that is shown; "" shows every run below the root.
    """

    root: Path
    only: str = ""

    @classmethod
    def of(cls, what: str, runs: Path) -> "Place":
        """The place that a person means.

        Args:
            what: a run's folder or name, or a folder with runs; "" for `runs`.
            runs: folder that runs are kept in; it need not be there yet.

        Raises:
            RequestError: there is no such thing.
        """
        if not what:
            return cls(Path(os.path.abspath(runs)))
        for candidate in (Path(what).expanduser(), runs / what):
            folder = candidate.parent if candidate.is_file() else candidate
            if folder.is_dir() and state_of_files(folder) is not None:
                whole = Path(os.path.abspath(folder))
                return cls(whole.parent, whole.name)
        if Path(what).expanduser().is_dir():
            return cls(Path(os.path.abspath(Path(what).expanduser())))
        raise RequestError(f"there is neither a run nor a folder {what!r}, here or under {runs}; see: ohmflow runs")

    def name_of(self, folder: Path) -> str:
        """What a run below the root is called in addresses."""
        return folder.relative_to(self.root).as_posix()

    def folder_of(self, name: str) -> Path:
        """The folder of a run by its name in an address; never one outside the root, nor through a symbolic link.

        Raises:
            RequestError: no run of this view can have that name.
            NothingYetError: there is no such run, or not yet.
        """
        parts = name.split("/")
        if len(name) > _LONGEST or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise RequestError(f"{name[:80]!r} can't be the name of a run")
        if self.only and name != self.only:
            raise RequestError(f"this view shows run {self.only} alone; for others: ohmflow view FOLDER")
        folder = self.root
        try:
            for part in parts:
                folder = folder / part
                if folder.is_symlink():
                    raise RequestError(f"{name} is reached by a symbolic link, which is not followed")
            begun = folder.is_dir() and state_of_files(folder) is not None
        except (OSError, ValueError):
            begun = False
        if not begun:
            raise NothingYetError(f"there is no run {name} in {self.root} yet; this page shows it once it begins")
        return folder
