"""How often do jobs finish within the forecast's P10 to P90? `python tests/benchmarks/plan_against_actual.py`.

The actual course of a week comes from `actual_course`, which shares no code with the forecast: it steps from instant
to instant and looks at everything each time. What steps really take is drawn from distributions that the forecast
doesn't know (it has a few past runs, a person's estimate or a dry run's quantiles), or measured: programming runs of
small patterns on twins, each on a chip of its own.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from workflows.planning import Week, forecast, load_week
from workflows.planning.durations import PastRun, past_runs
from workflows.planning.model import Job, Resource, Step

WEEKS, REPEATS = 60, 300
DAY = 86400.0


@dataclass
class _Doing:
    """A job under way: what is left to do, s, and who helps."""

    job: Job
    order: int
    state: str = "asleep"  # asleep, queued, asking, working, done
    asked: float = 0.0
    todo: list[tuple[Step, float, str]] = field(default_factory=list)  # (step, seconds, instrument carried)
    helper: str = ""
    finished: float = float("inf")


def actual_course(
    week: Week,
    seconds: Mapping[tuple[str, int], float],
    moves: Mapping[tuple[str, str], float],
    broken: Mapping[str, Sequence[tuple[float, float]]],
) -> dict[str, float]:
    """What really happens, told by when each job finishes (s).

    Args:
        week: the plan.
        seconds: what each (job, step number) takes.
        moves: what it takes to carry (instrument) for (job).
        broken: by resource, when it is out of order.
    """
    things = {r.name: r for r in week.resources}
    place = {r.name: r.at for r in week.resources}
    doing = [_Doing(job, i) for i, job in enumerate(week.jobs)]
    by_name = {d.job.name: d for d in doing}
    edges = sorted({t for spans in broken.values() for span in spans for t in span})
    opens = sorted({t for shifts in week.operators.values() for t in shifts.opens})
    now = 0.0

    def is_down(name: str) -> bool:
        return any(a <= now + 1e-9 < b for a, b in broken.get(name, ()))

    def halted(d: _Doing) -> bool:
        return any(is_down(r) for r in d.job.resources)

    def rank(d: _Doing) -> tuple[int, float, int]:
        return (-d.job.priority, d.asked, d.order)

    def at_work(who: str, need: float) -> bool:
        shifts = week.operators[who]
        spans = zip(shifts.opens, shifts.closes, strict=True)
        return any(a <= now + 1e-6 and now + need <= b + 1e-6 for a, b in spans)

    def advance(d: _Doing) -> None:
        """To the next step that there is something to do in; or done."""
        d.helper = ""
        while d.todo and d.todo[0][2] and place[d.todo[0][2]] == d.job.station:
            d.todo.pop(0)
        if not d.todo:
            d.state, d.finished = "done", now
        elif d.todo[0][0].hands:
            d.state, d.asked = "asking", now
        else:
            d.state = "working"

    def settle() -> bool:
        changed = False
        for d in doing:
            if d.state == "working" and d.todo[0][1] <= 1e-7:
                carried = d.todo.pop(0)[2]
                if carried:
                    place[carried] = d.job.station
                advance(d)
                changed = True
            if d.state == "asleep" and d.job.arrival <= now + 1e-7:
                if any(by_name[o].state != "done" for o in d.job.after):
                    continue
                d.todo = [
                    (things[r].move, moves[d.job.name, r], r)
                    for r in d.job.resources
                    if d.job.station and things[r].move
                ]
                d.todo += [(s, seconds[d.job.name, i], "") for i, s in enumerate(d.job.steps)]
                d.state, d.asked, changed = "queued", now, True
        return changed

    def share_out() -> bool:
        changed = False
        holding = {r for d in doing if d.state in ("asking", "working") for r in d.job.resources}
        wanted: set[str] = set()
        for d in sorted((d for d in doing if d.state == "queued"), key=rank):
            mine = set(d.job.resources)
            if not mine & holding and (week.overtake or not mine & wanted) and not halted(d):
                holding |= mine
                advance(d)
                changed = True
            else:
                wanted |= mine
        helping = {d.helper for d in doing if d.state == "working"}
        for d in sorted((d for d in doing if d.state == "asking"), key=rank):
            need = d.todo[0][0].duration.median
            free = [w for w in week.operators if w in d.todo[0][0].hands and w not in helping and at_work(w, need)]
            if free:
                d.state, d.helper, changed = "working", free[0], True
                helping.add(free[0])
        return changed

    while any(d.state != "done" for d in doing):
        while settle() or share_out():
            pass
        future = [d.job.arrival for d in doing if d.state == "asleep"] + edges + opens
        future += [now + d.todo[0][1] for d in doing if d.state == "working" and not halted(d)]
        later = [t for t in future if t > now + 1e-9]
        if not later or now > week.limit:
            break
        until = min(later)
        for d in doing:
            if d.state == "working" and not halted(d):
                step, left, carried = d.todo[0]
                d.todo[0] = (step, left - (until - now), carried)
        now = until
    return {d.job.name: d.finished for d in doing}


def breakages(
    resources: Sequence[Resource], limit: float, rng: np.random.Generator
) -> dict[str, list[tuple[float, float]]]:
    """When each resource is out of order."""
    found: dict[str, list[tuple[float, float]]] = {}
    for r in resources:
        now = 0.0
        while r.mtbf and now < limit:
            begin = now + rng.exponential(r.mtbf)
            now = begin + rng.exponential(r.mttr)
            found.setdefault(r.name, []).append((begin, now))
    return found


def random_week(
    rng: np.random.Generator, folder: Path
) -> tuple[Week, dict[tuple[str, int], float], dict[tuple[str, str], float]]:
    """A plan with what the forecaster may know, and what its steps and moves then really take."""
    past: list[PastRun] = []
    truths: list[tuple[str, float, float]] = []  # how it is written, true centre of the logarithm, true spread
    for kind in range(9):
        centre, spread = np.log(rng.uniform(600, 6 * 3600)), rng.uniform(0.03, 0.3)
        draws = np.exp(rng.normal(centre, spread, int(rng.integers(3, 30)) if kind < 3 else 100))
        if kind < 3:
            past += [PastRun(f"kind{kind}", "simulated", 1024, float(s), {}) for s in draws]
            text = f"{{history: {{procedure: kind{kind}}}}}"
        elif kind < 6:
            text = f"{np.exp(centre):.1f} s +- {spread * 100:.1f} %"
        else:
            low, middle, high = np.quantile(draws, [0.1, 0.5, 0.9])
            text = f"{{p10: {low:.1f} s, p50: {middle:.1f} s, p90: {high:.1f} s}}"
        truths.append((text, centre, spread))
    lines, really = [], {}
    count = int(rng.integers(25, 50))
    for i in range(count):
        station = "abc"[rng.integers(3)]
        text, centre, spread = truths[rng.integers(len(truths))]
        really[f"j{i}", 0] = float(np.exp(rng.normal(centre, spread)))
        steps = [f"{{duration: {text}}}"]
        if rng.random() < 0.3:
            steps.append("{duration: 15 min +- 20 %, hands: [lena, omar]}")
            really[f"j{i}", 1] = float(900 * np.exp(rng.normal(0, 0.2)))
        scope = ", instruments: scope" if rng.random() < 0.35 else ""
        after = f", after: j{rng.integers(i)}" if i and rng.random() < 0.25 else ""
        arrive = f"2031-05-{rng.integers(5, 9):02d}T{rng.integers(9, 20):02d}:{rng.integers(60):02d}"
        when = f"arrive: {arrive}, priority: {rng.integers(3)}{scope}{after}"
        lines.append(f"  j{i}: {{station: {station}, {when}, steps: [{', '.join(steps)}]}}")
    text = """plan: {start: "2031-05-05T08:00", zone: Europe/Berlin}
stations: {a: {failures: {mtbf: 6 d, mttr: 2 h}}, b: , c: }
instruments: {scope: {at: a, move: {duration: 20 min +- 20 %, hands: [lena, omar]}}}
operators: {lena: {hours: Mon-Fri 08:00-17:00}, omar: {hours: Mon-Sun 11:00-21:00}}
jobs:
""" + "\n".join(lines)
    path = folder / "week.yaml"
    path.write_text(text)
    moves = {(f"j{i}", "scope"): float(1200 * np.exp(rng.normal(0, 0.2))) for i in range(count)}
    return load_week(path, past), really, moves


def synthetic(folder: Path) -> None:
    """Coverage over weeks drawn at random."""
    rng = np.random.default_rng(1)
    shares, jobs, waited, seconds_used = [], 0, 0, 0.0
    for _ in range(WEEKS):
        week, really, moves = random_week(rng, folder)
        begin = time.process_time()
        expected = forecast(week, rng, REPEATS)
        seconds_used += time.process_time() - begin
        actual = actual_course(week, really, moves, breakages(week.resources, week.limit, rng))
        shares.append(expected.coverage(actual))
        jobs += len(actual)
        waited += int((expected.waiting[1] > 60).sum())
    mean, error = np.mean(shares), np.std(shares) / np.sqrt(WEEKS)
    low, high = np.quantile(shares, [0.1, 0.9])
    print(f"{WEEKS} synthetic weeks, {jobs} jobs, {waited} of which wait for more than a minute")
    print(f"within P10-P90: {mean:.1%} +- {error:.1%}; a week's own share lies in {low:.0%}-{high:.0%} (P10-P90)")
    print(f"forecast of a week: {seconds_used / WEEKS:.2f} s of processor time, {REPEATS} repeats")


def twin_runs(folder: Path, runs: int = 48) -> list[PastRun]:
    """Programming runs of small patterns on twins, each on a chip of its own."""
    from workflows.procedures.job import Job
    from workflows.procedures.program_job import PROCEDURE as PROGRAM
    from workflows.procedures.program_job import ProgramOptions

    rng = np.random.default_rng(2)
    begin = time.perf_counter()
    for number in range(runs):
        target = np.full((32, 32), np.nan)
        side = 4 + number % 3
        target[:side, :side] = rng.uniform(20e-6, 90e-6, (side, side))
        pattern = folder / f"pattern{number}.npy"
        np.save(pattern, target)
        options = ProgramOptions(
            pattern=str(pattern), runs=str(folder / "runs"), run_id=f"run{number}", chip=str(100 + number), fresh=True
        )
        Job.prepare(PROGRAM, options).run()
    print(f"{runs} programming runs on twins in {time.perf_counter() - begin:.0f} s")
    return past_runs(folder / "runs")


def twins(folder: Path, made: Sequence[PastRun], days: int = 60) -> None:
    """Coverage where durations are those of runs on twins.

    Each day half of the runs, chosen anew, are the past, and jobs take as long as others of them did.
    """
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(days):
        order = rng.permutation(len(made))
        past, happening = ([made[i] for i in half] for half in np.array_split(order, 2))
        lines, really = [], {}
        for i in range(16):
            run = happening[i]  # each once: two jobs never take exactly as long
            really[f"j{i}", 0] = run.seconds
            lines.append(
                f"  j{i}: {{station: {'ab'[i % 2]}, arrive: every 1 d, priority: {rng.integers(3)}, "
                f"instruments: {'[meter]' if i % 3 == 0 else '[]'}, "
                f"duration: {{history: {{procedure: program, cells: {run.cells}}}}}}}"
            )
        path = folder / "week.yaml"
        head = 'plan: {start: "2031-05-05T08:00Z", days: 1}\nstations: {a: , b: }\ninstruments: {meter: }\njobs:\n'
        path.write_text(head + "\n".join(lines))
        expected = forecast(load_week(path, past), rng, REPEATS)
        seconds = {(f"{name}#1", step): value for (name, step), value in really.items()}
        shares.append(expected.coverage(actual_course(expected.week, seconds, {}, {})))
    mean, error = np.mean(shares), np.std(shares) / np.sqrt(days)
    low, high = np.quantile(shares, [0.1, 0.9])
    print(f"{days} days of 16 such runs on two stations")
    print(f"within P10-P90: {mean:.1%} +- {error:.1%}; a day's own share lies in {low:.0%}-{high:.0%} (P10-P90)")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        synthetic(Path(scratch))
        if "--no-twins" not in sys.argv:
            twins(Path(scratch), twin_runs(Path(scratch)))
