"""What a circle run achieved, from its run file alone: quality, spread of trajectories, what calibration was worth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import UNIT_VOLT
from analysis.errors import AnalysisError
from analysis.metrics import Metric, Truth, judge
from analysis.programming import ProgramSummary, summarise
from analysis.records import RunFile

Array = npt.NDArray[np.float64]

CLAMP_VOLTS = (-0.2, 0.4)
G_FIXED = 50e-6
TICK = 5e-3


@dataclass(frozen=True)
class Quality:
    """Metrics of a set of samples: name -> value with interval and noise floor, and how many samples."""

    metrics: dict[str, Metric]
    samples: int


@dataclass(frozen=True)
class CircleSummary:
    """A circle run in numbers.

    Attributes:
        calibrated: quality of the samples.
        uncalibrated: quality before offsets were calibrated, None if that was not sampled.
        programming: the arrays' summary.
        run_seconds: one solution on the board, s.
        sample_seconds: one solution with set-up and capture, on the lab's clock, s.
        lab_seconds: the whole run on the lab's clock, s.
        calibration: RMS of the loop's errors before each round, V/s, (rounds,).
        array_power: W in cells and shared negative weights during a solution, from conductances and voltages as
            measured; NaN if the voltages were not recorded.
        true_array_energy: J of a solution in the arrays; known to the twin only, else None.
    """

    calibrated: Quality
    uncalibrated: Quality | None
    programming: ProgramSummary
    run_seconds: float
    sample_seconds: float
    lab_seconds: float
    calibration: Array
    array_power: float
    true_array_energy: float | None


def summarise_circle(run: RunFile) -> CircleSummary:
    """Judge a circle run. Chance in it (bootstrap, reference draws) is seeded: a file always gives the same numbers.

    Raises:
        AnalysisError: it is another procedure's run, or it ended before it sampled.
    """
    if run.header.procedure != "circle":
        raise AnalysisError(f"run {run.header.run_id} is a {run.header.procedure} run, not a circle run")
    names = run.names("data")
    ends = final_states(run)
    if len(ends) < 2:
        raise AnalysisError(f"run {run.header.run_id} is {run.status}: it has no samples to judge")
    truth = reference()
    rng = np.random.default_rng(0)
    events = run.events
    compute = run.where("compute")
    before = run.data("uncalibrated/end") if "uncalibrated/end" in names else None
    rounds = sorted(n for n in names if n.startswith("calibration/loop_"))
    errors = [float(np.sqrt(np.mean(run.data(n)[0] ** 2))) for n in rounds]
    energy = float(run.twin("run_energy").mean()) if "run_energy" in run.names("twin") else None
    return CircleSummary(
        calibrated=_quality(ends, truth, rng),
        uncalibrated=None if before is None else _quality(before, truth, rng),
        programming=summarise(run),
        run_seconds=len(run.data("drive/table")) * TICK,
        sample_seconds=float(np.median(events["duration"][compute])) if compute.any() else float("nan"),
        lab_seconds=float(events["time"].max() - events["time"].min()),
        calibration=np.array(errors),
        array_power=array_power(run),
        true_array_energy=energy,
    )


def has_samples(run: RunFile) -> bool:
    """Whether a circle run came far enough to be judged."""
    return len(final_states(run)) >= 2


def reference() -> Truth:
    """The true circle: 2e5 seeded draws, and its density."""
    ring = Ring()
    return Truth.from_points(ring.draw(200_000, np.random.default_rng(2024)), ring.density)


def _quality(ends: Array, truth: Truth, rng: np.random.Generator) -> Quality:
    good = ends[np.isfinite(ends).all(axis=1)]
    return Quality(judge(good, truth, rng), len(good))


def trajectories(run: RunFile, count: int) -> tuple[Array, Array]:
    """Times (m,) s and the first `count` recorded solutions (count, 2, m) in units of 0.1 V."""
    waves = run.waveforms("scope1")
    count = min(count, len(waves))
    if not count:
        raise AnalysisError(f"run {run.header.run_id} recorded no waveforms")
    return waves.times(0), np.stack([waves.volts(i)[:2] for i in range(count)]) / UNIT_VOLT


def final_states(run: RunFile, window: float = 4e-3) -> Array:
    """Results of the recorded solutions (n, 2) in units of 0.1 V: mean of the last `window` s before the run's end."""
    if "scope1" not in run.scopes or "drive/table" not in run.names("data"):
        return np.zeros((0, 2))
    waves = run.waveforms("scope1")
    end = len(run.data("drive/table")) * TICK
    times = waves.times(0) if len(waves) else np.zeros(0)
    inside = (times > end - window) & (times < end)
    found = [waves.volts(i)[:2, inside].mean(axis=1) for i in range(len(waves))]
    return np.array(found).reshape(-1, 2) / UNIT_VOLT


def slices(run: RunFile, instants: tuple[float, ...]) -> list[Array]:
    """All recorded solutions at instants after the start, s: one (n, 2) array an instant, in units of 0.1 V."""
    waves = run.waveforms("scope1")
    times = waves.times(0) if len(waves) else np.zeros(0)
    at = [int(np.argmin(np.abs(times - t))) for t in instants]
    seen = np.empty((len(waves), 2, len(at)))
    for i in range(len(waves)):
        seen[i] = waves.volts(i)[:2, at]
    return [seen[:, :, k] / UNIT_VOLT for k in range(len(at))]


_LAYER_INPUTS = (("x", "y"), tuple(f"h1_{i}" for i in range(1, 15)), tuple(f"h2_{i}" for i in range(1, 15)))


def node_waveforms(run: RunFile) -> tuple[Array, dict[str, Array]]:
    """Times (m,) s of the waveforms phase, and the volts (m,) of every node that was probed."""
    traces: dict[str, Array] = {}
    for name in run.names("data"):
        if name.startswith("waveforms/") and name != "waveforms/time":
            for node, volts in zip(_nodes(name), run.data(name), strict=True):
                traces[node] = volts
    return run.data("waveforms/time"), traces


def node_voltages(run: RunFile) -> dict[str, Array]:
    """Volts that every probed node took during solutions from several initial states, in no order."""
    seen: dict[str, Array] = {}
    for name in run.names("data"):
        if name.startswith("voltages/"):
            values = run.data(name)
            for i, node in enumerate(_nodes(name.replace("voltages/", "waveforms/"))):
                seen[node] = values[:, i].ravel()
    return seen


def _nodes(name: str) -> list[str]:
    """Names of the nodes in a dataset's name, such as waveforms/h1_1_h1_2."""
    nodes: list[str] = []
    for part in name.removeprefix("waveforms/").split("_"):
        if part.isdigit() and nodes and nodes[-1] in ("h1", "h2"):
            nodes[-1] += f"_{part}"
        else:
            nodes.append(part)
    return nodes


def array_power(run: RunFile) -> float:
    """Mean power in the arrays during a solution, W: V^2 G of every cell, and of the shared negative weights.

    Conductances as read back, voltages as on the oscilloscope, clamped as the board clamps them. A row's negative
    weight carries the sum of its inputs' voltages (paper, Fig. 2h). NaN where the run recorded no such waveforms.
    """
    names = run.names("data")
    if "waveforms/time" not in names or "network/rows_1" not in names:
        return float("nan")
    time, traces = node_waveforms(run)
    inside = (time >= 0) & (time < 1)
    g = run.map("conductance_after")
    total = 0.0
    for layer, inputs in enumerate(_LAYER_INPUTS, 1):
        if not all(node in traces for node in inputs):
            return float("nan")
        volts = np.stack([np.clip(traces[node][inside], *CLAMP_VOLTS) for node in inputs])
        volts = np.concatenate([volts, np.full((1, volts.shape[1]), UNIT_VOLT)])
        rows, columns = run.data(f"network/rows_{layer}"), run.data(f"network/columns_{layer}")
        cells = g[layer - 1][np.ix_(rows, columns)]
        total += float((cells.sum(axis=0) @ volts**2).mean())
        total += len(rows) * G_FIXED * float((volts.sum(axis=0) ** 2).mean())
    return total
