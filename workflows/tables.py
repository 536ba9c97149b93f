"""What a run achieved and cost, as rows for people: one list, shown by the terminal and by the orchestrator's page."""

from typing import NamedTuple

from analysis.programming import ProgramSummary
from analysis.records import RunFile
from instruments.quantity import si


class Row(NamedTuple):
    """A line of a closing table; `of` is "lab" for what the laboratory knows, "twin" for what only the twin does."""

    name: str
    value: str
    of: str = "lab"


def clock_text(seconds: float) -> str:
    """Seconds for people: "29 min 15 s"."""
    if seconds < 60:
        return si(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min {rest:02d} s" if hours else f"{minutes} min {rest:02d} s"


def program_rows(s: ProgramSummary, wall: float | None = None) -> list[Row]:
    """The closing table of a programming run."""
    total = s.pulses.energy + s.reads.energy
    names = ", ".join(_cell(cell) for cell, _ in s.failed)
    window = f"±{s.tolerance * 1e6:g} µS, as read back at the end"
    shape = f"skewness {s.skewness:+.2f}, excess kurtosis {s.kurtosis:+.2f}"
    pulses = f"{s.pulses.count} pulses {si(s.pulses.energy, 'J')}"
    reads = f"{s.reads.count} reads {si(s.reads.energy, 'J')}"
    share = f"pulses {clock_text(s.pulses.seconds)}, reads {clock_text(s.reads.seconds)}, the rest selecting cells"
    rows = [
        Row("inside the window", f"{s.inside:.2%} of {s.responsive} responsive cells, {window}"),
        Row("error", f"σ {s.sigma * 1e6:.3f} µS, mean {s.mean_error * 1e6:+.3f} µS, {shape}"),
        Row("cells left alone", f"{len(s.failed)}" + (f": {names}" if names else "")),
        Row("pulses per cell", f"mean {s.pulses_mean:.2f}, 95 % ≤ {s.pulses_p95:.0f}"),
        Row("energy", f"{si(total, 'J')}: {pulses}, {reads}"),
        Row("time on the lab's clock", f"{clock_text(s.duration)} ({share})"),
    ]
    if wall is not None:
        rows.append(Row("time of this computer", clock_text(wall)))
    if s.truth is not None:
        t = s.truth
        stuck = ", ".join(_cell(cell) for cell in t.stuck) or "none"
        inside = f"{t.inside:.2%} of the cells that can move, true error σ {t.sigma * 1e6:.3f} µS"
        rows += [
            Row("true conductance inside", inside, "twin"),
            Row("cells that can't move", f"{len(t.stuck)}: {stuck}", "twin"),
            Row("true pulse energy", si(t.pulse_energy, "J"), "twin"),
        ]
    return rows


def _cell(cell: tuple[int, int, int]) -> str:
    array, row, col = cell
    return f"({row},{col})" if array == 0 else f"({array}: {row},{col})"


def program_markdown(run: RunFile, summary: ProgramSummary) -> str:
    """The closing table as Markdown, for the run's page."""
    lines = [f"## {run.header.run_id}: {run.world}, {run.status}", "", "| | |", "|---|---|"]
    lines += [f"| {'**twin only:** ' if r.of == 'twin' else ''}{r.name} | {r.value} |" for r in program_rows(summary)]
    return "\n".join(lines)
