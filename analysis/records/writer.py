"""Writing a run's records while it happens.

    with RunWriter.create(runs / run_id, header, now=clock.now) as run:
        pulse = run.intent("set", row, col, amplitude=1.2, gate=1.0, width=1e-6)
        ...                                    # the pulse itself
        run.result(pulse, energy=2e-9)
        run.event("read", row, col, amplitude=0.2, conductance=4.1e-5)
        run.cell(row, col, "ok")

However the block is left, the run file is made and says how it ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.finalise import finalise
from analysis.records.guard import check_folder
from analysis.records.header import RunHeader, WaveformSpec
from analysis.records.journal import Journal, is_begun, read_journal, sync_folder
from analysis.records.live import LiveFile
from analysis.records.masking import masked
from analysis.records.recorder import Recorder
from analysis.records.resume import ResumeState, state_of
from analysis.records.tables import Tables


class RunWriter(Recorder):
    """A run's records, open for writing; made by `create` or `resume`; a context manager. See `Recorder`.

    Attributes:
        folder: the run's folder.
        state: what a resumed run goes on from; None in a new one.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        tables: Tables,
        *,
        now: Callable[[], float],
        wall: Callable[[], str] | None,
        stopwatch: Callable[[], float] | None,
        flush_every: int,
        state: ResumeState | None = None,
    ) -> None:
        live = LiveFile(folder, tables, durable=journal.durable)
        super().__init__(journal, tables, live, now=now, stopwatch=stopwatch, flush_every=flush_every)
        self.folder = folder
        self.state = state
        self._wall = wall
        self._closed = False

    @classmethod
    def create(
        cls,
        folder: Path,
        header: RunHeader,
        *,
        now: Callable[[], float],
        waveforms: Sequence[WaveformSpec] = (),
        durable: bool | None = None,
        wall: Callable[[], str] | None = None,
        stopwatch: Callable[[], float] | None = None,
        flush_every: int = 1024,
    ) -> Self:
        """Begin a run.

        Args:
            folder: the run's folder; made if need be, must not hold a run.
            header: what the run knows about itself.
            now: the laboratory's clock, seconds.
            waveforms: the oscilloscopes whose captures the run may keep.
            durable: wait for the disk at each intent (see `Journal.open`); by default for real runs only.
            wall: gives the date and time of day, for the record of the run's end.
            stopwatch: seconds of the machine; with it live readers are up to half a second behind at most.
            flush_every: events after which live readers see them in any case.

        Raises:
            AnalysisError: the folder holds a run already or can't be written.
        """
        path = folder / layout.JOURNAL
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_folder(folder)
            if is_begun(path) or (folder / layout.FINAL).exists():
                raise AnalysisError(f"{folder} already holds a run: resume it, or choose another folder")
            if header.station:
                (folder / layout.STATION).write_text(header.station, encoding="utf-8")
        except OSError as error:
            raise AnalysisError(f"can't make the run's folder {folder}: {error.strerror}") from error
        if len({spec.scope for spec in waveforms}) < len(waveforms):
            raise AnalysisError("two oscilloscopes of one run have the same name")
        journal = Journal.open(path, header.world == "real" if durable is None else durable)
        try:
            if journal.recovered.records:  # somebody was quicker
                raise AnalysisError(f"{folder} already holds a run: resume it, or choose another folder")
            first = journal.append(
                "header",
                now(),
                {
                    "format": layout.FORMAT,
                    "started": header.started,
                    "command_line": header.command_line,
                    "header": header.to_json(),
                    "waveforms": [asdict(spec) for spec in waveforms],
                },
                sync=True,
            )
            if journal.durable:
                sync_folder(folder)
                sync_folder(folder.parent)
            tables = Tables(header, tuple(waveforms))
            tables.apply(first)
            return cls(folder, journal, tables, now=now, wall=wall, stopwatch=stopwatch, flush_every=flush_every)
        except BaseException:
            journal.close()
            raise

    @classmethod
    def resume(
        cls,
        folder: Path,
        *,
        now: Callable[[], float],
        started: str,
        world: str,
        command_line: str = "",
        durable: bool | None = None,
        wall: Callable[[], str] | None = None,
        stopwatch: Callable[[], float] | None = None,
        flush_every: int = 1024,
    ) -> Self:
        """Go on with a run that did not complete, whatever ended it; `state` then says where it stands.

        Args:
            folder: the run's folder.
            now: the laboratory's clock; its readings should not be before `state.last_time`.
            started: wall time of this part, ISO 8601 with zone.
            world: the world of the station at hand; must be the run's.
            command_line: what was typed this time.
            durable: as in `create`.
            wall: as in `create`.
            stopwatch: as in `create`.
            flush_every: as in `create`.

        Raises:
            AnalysisError: no run there, it is complete, it is of the other world, another process writes it, or its
                journal is damaged.
        """
        check_folder(folder)
        path = folder / layout.JOURNAL
        if not path.is_file():
            raise AnalysisError(f"{folder} holds no run to resume: there is no {layout.JOURNAL}")
        tables = Tables.from_records(read_journal(path).records)
        durable = tables.header.world == "real" if durable is None else durable
        journal = Journal.open(path, durable)
        try:
            # What counts is what the journal says now that nobody else can write it.
            tables = Tables.from_records(journal.recovered.records)
            state = state_of(tables)
            if state.status == "completed":
                raise AnalysisError(f"{folder} holds a completed run: there is nothing to resume")
            if world != tables.header.world:
                raise AnalysisError(
                    f"{folder} holds a {tables.header.world} run: it can't go on with a {world} station"
                )
            tables.apply(
                journal.append("resume", now(), {"started": started, "command_line": masked(command_line)}, sync=True)
            )
            return cls(
                folder,
                journal,
                tables,
                now=now,
                wall=wall,
                stopwatch=stopwatch,
                flush_every=flush_every,
                state=state,
            )
        except BaseException:
            journal.close()
            raise

    def close(self, status: str = "completed", reason: str = "") -> Path:
        """End the run and make its file; gives the file. A second call changes nothing.

        Args:
            status: one of `layout.ENDINGS`.
            reason: why, if there is something to say.

        Raises:
            AnalysisError: no such status, or the file can't be made (the journal then still has everything).
        """
        if status not in layout.ENDINGS:
            raise AnalysisError(f"a run can't end {status!r}, only {', '.join(layout.ENDINGS)}")
        path = self.folder / layout.FINAL
        if self._closed:
            return path
        self._closed = True
        try:
            ended = self._wall() if self._wall else ""
            fields = {"status": status, "reason": masked(reason), "ended": ended}
            self._journal.append("end", self._now(), fields, sync=True)
            self._live.close()
            finalise(self.folder, read_journal(self._journal.path), check_waveforms=False)
        finally:
            self._live.close()
            self._journal.close()
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        said = " ".join(str(error).split())
        name = type(error).__name__
        try:
            self.close("interrupted" if stopped else "failed", f"{name}: {said}" if said else name)
        except AnalysisError as trouble:
            # What stopped the run matters more than that its file could not be made.
            error.add_note(f"and the run's records could not be finished: {trouble}")
