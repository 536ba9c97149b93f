"""The runs of a folder, for the first page: the catalogue, brought up to date now and then."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import AnalysisError
from analysis.records import Catalogue, Query
from analysis.records.catalogue import Entry

PER_PAGE = 50
_SHARE = 20
"""A refresh may take one part in so many of the time: of ten thousand runs it takes a moment."""


@dataclass(frozen=True)
class Listed:
    """A page of the list.

    Attributes:
        runs: the latest first.
        more: whether there are older ones.
        said: what a person should know besides, one sentence; often empty.
        waiting: whether the folder is still being read for the first time.
    """

    runs: tuple[Entry, ...]
    more: bool
    said: str = ""
    waiting: bool = False


class Listing:
    """The list of the runs below a folder; for many threads.

    Args:
        folder: where runs are.
        database: the catalogue's file, or ":memory:".
        now: seconds of the machine.
        patience: seconds that a list may be old, and that a page waits for a newer one.
    """

    def __init__(self, folder: Path, database: Path | str, *, now: Callable[[], float], patience: float = 1.0) -> None:
        self._folder = folder
        self._database = database
        self._now = now
        self._patience = patience
        self._refreshing = threading.Lock()
        self._refreshed = float("-inf")
        self._rest = patience
        self._problem = ""

    def find(self, query: Query, page: int) -> Listed:
        """A page of the runs that match; `query.limit` is overridden.

        Raises:
            AnalysisError: the catalogue can't be used.
        """
        if not self._folder.is_dir():
            return Listed((), False, f"There is no folder {self._folder} yet; it is made by the first run.")
        wanted = Query(**{**vars(query), "limit": PER_PAGE * page + 1})
        if self._database != ":memory:" and not self._refresh():
            if self._problem:
                raise AnalysisError(self._problem)
            return Listed((), False, "The folder is being read for the first time; the list comes by itself.", True)
        with self._open() as catalogue:
            if self._database == ":memory:":
                catalogue.refresh()
            found = catalogue.search(wanted)
        runs = tuple(found[PER_PAGE * (page - 1) : PER_PAGE * page])
        if not found:
            asked = query != Query()
            said = "No run matches; show all runs again by emptying the fields." if asked else (
                f"There is no run in {self._folder} yet; begin one by: ohmflow program --runs {self._folder}"
            )  # fmt: skip
            return Listed((), False, said)
        return Listed(runs, len(found) > PER_PAGE * page)

    def _open(self) -> Catalogue:
        return Catalogue.open(self._database, self._folder)

    def _refresh(self) -> bool:
        """Bring the catalogue up to date unless somebody is at it; gives whether it ever was."""
        if self._now() - self._refreshed < self._rest:
            return True
        if not self._refreshing.acquire(blocking=False):
            return self._refreshed > float("-inf")
        # Thousands of runs take seconds: whoever looks meanwhile sees what was known before.
        done = threading.Thread(target=self._bring_up_to_date, daemon=True)
        done.start()
        done.join(self._patience)
        return self._refreshed > float("-inf")

    def _bring_up_to_date(self) -> None:
        begun = self._now()
        try:
            with self._open() as catalogue:
                catalogue.refresh()
            self._refreshed = self._now()
            self._rest = max(self._patience, _SHARE * (self._refreshed - begun))
            self._problem = ""
        except AnalysisError as error:
            self._problem = str(error)
        finally:
            self._refreshing.release()
