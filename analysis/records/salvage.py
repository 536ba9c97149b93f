"""Making a killed run's file out of what it left."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.finalise import Captures, finalise
from analysis.records.guard import check_folder
from analysis.records.journal import JournalContents, is_being_written, read_journal
from analysis.records.reader import RunFile, open_run
from analysis.records.tables import Doubt, Tables


@dataclass(frozen=True)
class SalvageReport:
    """What salvaging found.

    Args:
        path: the run file.
        rebuilt: whether it was made anew; False if it was there already and told the same as the journal.
        run_id, world, status: of the run.
        records: good records in the journal.
        events: rows of the events' table.
        finished: cells with a verdict.
        in_doubt: what was announced and whose result nobody saw.
        torn: bytes of an unfinished last line in the journal.
        damaged: numbers of damaged lines in the journal, whose contents are lost.
        captures: captures whose codes are safe.
        lost_captures: (oscilloscope, number) of captures that the journal knows and whose codes are gone.
    """

    path: Path
    rebuilt: bool
    run_id: str
    world: str
    status: str
    records: int
    events: int
    finished: int
    in_doubt: tuple[Doubt, ...]
    torn: int
    damaged: tuple[int, ...]
    captures: int
    lost_captures: tuple[tuple[str, int], ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was recorded is lost."""
        return not self.damaged and not self.lost_captures


def salvage(folder: str | Path) -> SalvageReport:
    """Make `run.h5` from a killed run's journal and partial file; where they differ the journal is right.

    Does nothing more the second time; the run can still be resumed afterwards. The journal is not touched.

    Raises:
        AnalysisError: no run there, a process is still writing it, or the journal can't be used.
    """
    folder = Path(folder)
    check_folder(folder)
    path = folder / layout.JOURNAL
    if not path.is_file():
        raise AnalysisError(f"{folder} holds no run to salvage: there is no {layout.JOURNAL}")
    if is_being_written(path):
        raise AnalysisError(f"{folder} is being written by a process that lives: nothing to salvage")
    contents = read_journal(path, strict=False)
    if _is_good(folder, contents):
        return _report(folder, contents, Tables.from_records(contents.records), _lost(folder), rebuilt=False)
    finished = finalise(folder, contents, check_waveforms=True)
    return _report(folder, contents, finished.tables, finished.lost, rebuilt=True)


def _open_final(folder: Path) -> RunFile | None:
    try:
        return open_run(folder / layout.FINAL)
    except AnalysisError:
        return None


def _is_good(folder: Path, contents: JournalContents) -> bool:
    """Whether the run file stands, was made from this journal, and nothing else is left to tidy up."""
    if (folder / layout.PARTIAL).exists():
        return False
    run = _open_final(folder)
    if run is None:
        return False
    with run:
        return run.journal_mark == (len(contents.records), contents.crc32)


def _lost(folder: Path) -> Captures:
    """Captures that the run file itself says were lost."""
    run = _open_final(folder)
    if run is None:
        return {}
    with run:
        return {
            scope: [{"n": int(n)} for n in np.flatnonzero(run.waveforms(scope).index["intact"] == 0)]
            for scope in run.scopes
        }


def _report(folder: Path, contents: JournalContents, tables: Tables, lost: Captures, *, rebuilt: bool) -> SalvageReport:
    gone = tuple((scope, int(record["n"])) for scope, records in lost.items() for record in records)
    return SalvageReport(
        path=folder / layout.FINAL,
        rebuilt=rebuilt,
        run_id=tables.header.run_id,
        world=tables.header.world,
        status=tables.outcome[0],
        records=len(contents.records),
        events=tables.events,
        finished=sum(1 for code in tables.status if code),
        in_doubt=tuple(tables.doubts.values()),
        torn=contents.torn,
        damaged=contents.damaged,
        captures=sum(len(records) for records in tables.waveforms.values()) - len(gone),
        lost_captures=gone,
    )
