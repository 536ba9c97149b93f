"""What a run costs, phase by phase; what one more will cost, foretold from runs like it; and how good that was.

The spread of a forecast from n runs is that of the next run, not of their mean: with logarithms of cost taken as
normal, the quantiles of the predictive distribution are exp(mean ± t s sqrt(1 + 1/n)), t Student's with n - 1 degrees
of freedom. So a forecast from few runs is honest about it: it is wide.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from analysis.errors import AnalysisError
from analysis.records import RunFile
from analysis.records.layout import EVENT_CODE, PULSE_KINDS

MEASURES = {"seconds": "s", "energy": "J", "pulses": "", "reads": ""}
"""What is counted, and its unit: time on the laboratory's clock, the laboratory's own estimate of the energy, ..."""
TOTAL = "total"


@dataclass(frozen=True)
class Spent:
    """What a phase, or a run, took: s, J, and counts."""

    seconds: float = 0.0
    energy: float = 0.0
    pulses: float = 0.0
    reads: float = 0.0


@dataclass(frozen=True)
class Range:
    """Quantiles of what is foretold."""

    p10: float
    p50: float
    p90: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within P10 and P90; a thousandth of it is forgiven, for forecasts without spread."""
        slack = 1e-3 * abs(self.p50)
        return self.p10 - slack <= value <= self.p90 + slack


@dataclass(frozen=True)
class Forecast:
    """What a run is foretold to cost.

    Attributes:
        procedure: of the run.
        device: device preset of the twins that were asked, and how many.
        runs: number of dry runs.
        phases: by phase in their order, the total last: by measure, the range.
    """

    procedure: str
    device: str
    runs: int
    phases: Mapping[str, Mapping[str, Range]]

    def to_json(self) -> str:
        """As text, for a file or a run's record."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Forecast":
        """From `to_json`.

        Raises:
            AnalysisError: it is none.
        """
        try:
            data = json.loads(text)
            phases = {
                str(name): {str(m): Range(**{k: float(v) for k, v in one.items()}) for m, one in measures.items()}
                for name, measures in data["phases"].items()
            }
            return cls(str(data["procedure"]), str(data["device"]), int(data["runs"]), phases)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnalysisError(f"this is no forecast: {error}") from error


def spent(run: RunFile) -> dict[str, Spent]:
    """What a run took, by phase and in total; an uninterrupted run's phases add up to its total."""
    events = run.events
    time = np.asarray(events["time"], dtype=np.float64)
    ended = time + np.nan_to_num(np.asarray(events["duration"], dtype=np.float64))
    energy = np.nan_to_num(np.asarray(events["energy"], dtype=np.float64))
    kind = np.asarray(events["kind"])
    is_pulse = np.isin(kind, [EVENT_CODE[name] for name in PULSE_KINDS])
    is_read = kind == EVENT_CODE["read"]
    starts = [(float(p["time"]), str(p["name"])) for p in run.phases]
    marks = [t for t, _ in starts] + [float(n["time"]) for n in run.notes]
    begin = min([*marks, *time.tolist()[:1]], default=0.0)
    end = max([*marks, float(ended.max()) if ended.size else begin], default=0.0)
    if not starts or starts[0][0] > begin:
        starts.insert(0, (begin, "begin"))
    found: dict[str, Spent] = {}
    for (start, name), (stop, _) in zip(starts, [*starts[1:], (math.inf, "")], strict=True):
        inside = (time >= start) & (time < stop)
        before = found.get(name, Spent())
        found[name] = Spent(
            before.seconds + min(stop, end) - start,
            before.energy + float(energy[inside].sum()),
            before.pulses + float((inside & is_pulse).sum()),
            before.reads + float((inside & is_read).sum()),
        )
    found[TOTAL] = Spent(end - begin, float(energy.sum()), float(is_pulse.sum()), float(is_read.sum()))
    return found


def foretell(procedure: str, device: str, runs: Sequence[Mapping[str, Spent]]) -> Forecast:
    """A forecast from runs like the one to come.

    Raises:
        AnalysisError: there are fewer than two.
    """
    if len(runs) < 2:
        raise AnalysisError("a forecast needs at least two dry runs")
    names = list(dict.fromkeys(name for run in runs for name in run if name != TOTAL))
    phases = {
        name: {m: _predicted(np.array([getattr(run.get(name, Spent()), m) for run in runs])) for m in MEASURES}
        for name in [*names, TOTAL]
    }
    return Forecast(procedure, device, len(runs), phases)


def _predicted(values: np.ndarray[Any, np.dtype[np.float64]]) -> Range:
    positive = values[values > 0]
    if len(positive) < len(values) or len(values) < 2:  # a count that may be nothing: its own quantiles
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
        return Range(float(low), float(middle), float(high))
    logs = np.log(positive)
    n = len(logs)
    reach = float(stdtrit(n - 1, 0.9)) * float(logs.std(ddof=1)) * math.sqrt(1 + 1 / n)
    mean = float(logs.mean())
    return Range(math.exp(mean - reach), math.exp(mean), math.exp(mean + reach))


@dataclass(frozen=True)
class Judged:
    """A forecast beside what happened: the measure, what was foretold, the outcome, whether it held."""

    measure: str
    foretold: Range
    outcome: float
    held: bool


def judged(run: RunFile) -> list[Judged]:
    """How good the forecast was that a run was begun with; nothing if it had none, or was interrupted."""
    if "forecast" not in run.names("data") or len(run.segments) != 1 or run.status != "completed":
        return []
    forecast = Forecast.from_json(bytes(run.data("forecast").astype(np.uint8)))
    total = spent(run)[TOTAL]
    found = []
    for measure in MEASURES:
        foretold = forecast.phases[TOTAL][measure]
        outcome = float(getattr(total, measure))
        found.append(Judged(measure, foretold, outcome, foretold.holds(outcome)))
    return found
