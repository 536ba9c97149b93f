"""Read noise: many reads of each cell at several integration times; from them spectra and telegraph noise."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.characterisation.noise import summarise_noise
from analysis.figures.characterisation_time import draw_noise
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.array import HIGH_SPEED_SAMPLE
from instruments.errors import ConfigError
from instruments.quantity import si, to_si
from instruments.station_file import ReadSettings, StationFile
from workflows.errors import RequestError
from workflows.procedures.characterise.common import (
    cell_name,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    parameters,
    recorded,
)
from workflows.procedures.characterise.preparing import (
    Manner,
    PreparedOptions,
    check_preparing,
    program_cells,
    spread_targets,
)
from workflows.procedures.characterise.probe import Place, Probe
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row


@dataclass(frozen=True, kw_only=True)
class NoiseOptions(PreparedOptions):
    """Which cells, how prepared, how read."""

    cells: int = option(32, "How many cells, spread over the array.")
    program: bool = option(True, "Program the cells first, to levels from the lowest to the highest conductance.")
    levels: int = option(8, "How many levels they are programmed to.")
    settle: float = option(100.0, "Wait between programming and reading.", unit="s")
    reads: int = option(200, "Reads of each cell at each integration time.")
    times: str = option("16 us, 512 us, 20 ms", "Integration times: high speed below a line period, else whole ones.")


@dataclass(frozen=True)
class Reading:
    """One way of reading: converter, its averaging, and how long it integrates, s."""

    adc: str
    averaging: int
    seconds: float

    def settings(self, before: ReadSettings) -> ReadSettings:
        """What the array is told."""
        return replace(before, adc=self.adc, averaging=self.averaging)


@dataclass(frozen=True)
class NoiseRequest:
    """Checked: array, places, how and whether to program, levels (S), wait in s, reads; `done`: kept already."""

    array: int
    cells: tuple[Place, ...]
    manner: Manner
    program: bool
    low: float
    high: float
    levels: int
    settle: float
    reads: int
    readings: tuple[Reading, ...]
    done: frozenset[str] = frozenset()


def request(o: NoiseOptions, station: StationFile) -> NoiseRequest:
    """Check options and integration times."""
    places = chosen_cells(o, station)
    in_range(o, reads=(16, 1_000_000), settle=(0, 1e7), levels=(1, 1024))
    readings = tuple(_reading(text, station.read.line_period) for text in o.times.split(",") if text.strip())
    if not readings or len({r.seconds for r in readings}) < len(readings):
        raise RequestError(f"integration times {o.times!r}: give one or more, all different, such as '16 us, 20 ms'")
    manner = check_preparing(o, station)
    return NoiseRequest(o.array, places, manner, o.program, o.low, o.high, o.levels, o.settle, o.reads, readings)


def _reading(text: str, line_period: float) -> Reading:
    try:
        asked = to_si(text.strip(), "s", what="integration time")
    except ConfigError as error:
        raise RequestError(str(error)) from error
    if asked >= line_period * (1 - 1e-9):
        cycles = round(asked / line_period)
        if cycles > 100:
            raise RequestError(f"integration time {si(asked, 's')} is more than 100 line periods")
        return Reading("plc", cycles, cycles * line_period)
    samples = round(asked / HIGH_SPEED_SAMPLE)
    if not 1 <= samples <= 1023:
        raise RequestError(
            f"integration time {si(asked, 's')} must be {si(HIGH_SPEED_SAMPLE, 's')} to "
            f"{si(1023 * HIGH_SPEED_SAMPLE, 's')}, or whole line periods of {si(line_period, 's')}"
        )
    return Reading("high-speed", samples, samples * HIGH_SPEED_SAMPLE)


def resumed(o: NoiseOptions, station: StationFile, tables: Tables) -> NoiseRequest:
    """The request, with the traces that were kept."""
    return replace(request(o, station), done=recorded(tables))


def work(w: Work[NoiseOptions, NoiseRequest]) -> None:
    """Program, wait, then read: every cell at one integration time, then at the next."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    if asked.program and "noise/prepared" not in asked.done:
        w.writer.phase("program")
        shape = w.station.file.shape[1:]
        program_cells(probe, spread_targets(asked.cells, asked.low, asked.high, asked.levels, shape), asked.manner)
        w.writer.data("noise/prepared", np.array([probe.instant]), units="s", title="when the cells were programmed")
        probe.wait_until(probe.instant + asked.settle)
    w.writer.phase("read")
    settings = probe.cells.settings
    total, number = len(asked.readings) * len(asked.cells), 0
    try:
        for k, reading in enumerate(asked.readings):
            probe.use(reading.settings(settings))
            for place in asked.cells:
                name = f"noise/{cell_name(place)}/t{k}"
                if name not in asked.done:
                    w.controls.around(
                        f"noise of cell {place}, {si(reading.seconds, 's')}",
                        partial(_trace, probe, asked, place, name),
                    )
                number += 1
                w.controls.told("reading noise", number, total)
    finally:
        probe.cells.settings = settings
    probe.use(settings)


def _trace(probe: Probe, asked: NoiseRequest, place: Place, name: str) -> None:
    trace = np.empty((2, asked.reads))
    for i in range(asked.reads):
        started = probe.cells.clock.now()
        trace[:, i] = started, probe.read(place).conductance
    trace[0] -= trace[0, 0]
    probe.writer.data(name, trace, title="start of each read after the first (s), and what it found (S)")


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_noise(run)
    found = []
    for t in s.times:
        found.append(
            Row(
                f"read σ at {si(t.seconds, 's')}",
                f"{t.sigma.value * 1e9:.1f} ± {t.sigma.error * 1e9:.1f} nS in quiet cells, {t.relative.value:.3%} of G",
            )
        )
    best = s.best
    if best is not None:
        found.append(
            Row(
                "telegraph noise",
                f"{best.share.value:.1%} ± {best.share.error:.1%} of {best.share.count} cells, steps of "
                f"{best.amplitude.value:.2%} of G, dwell times {best.dwell_text}; {best.jumped} more jumped",
            )
        )
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="noise",
    title="Read noise at several integration times: spectra, and which cells have telegraph noise.",
    options=NoiseOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_noise),
    rows=rows,
    resumed=resumed,
)
