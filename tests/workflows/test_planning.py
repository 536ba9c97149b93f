"""The forecast of the queue: what a plan file may say, what the simulation makes of it, how right it is."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from benchmarks.plan_against_actual import actual_course, breakages, random_week
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.records import RunHeader, RunWriter
from instruments.errors import ConfigError
from workflows.planning import Forecast, forecast, load_week, plan
from workflows.planning.compiled import compile_week
from workflows.planning.durations import PastRun, past_runs
from workflows.planning.engine import Lab
from workflows.planning.gantt import draw
from workflows.planning.tables import conflict_table, job_table, markdown, tables, to_json

HEAD = 'plan: {start: "2031-05-05T08:00", zone: Europe/Berlin}\n'  # a Monday
STATIONS = "stations: {a: , b: }\n"

Load = Callable[..., Forecast]


@pytest.fixture
def foretell(tmp_path: Path) -> Load:
    def run(text: str, past: tuple[PastRun, ...] = (), repeats: int = 20, seed: int = 1) -> Forecast:
        path = tmp_path / "week.yaml"
        path.write_text(text, encoding="utf-8")
        return forecast(load_week(path, past), np.random.default_rng(seed), repeats)

    return run


def finishes(f: Forecast) -> dict[str, float]:
    """Median finish in hours from the start, by job."""
    return {job.name: float(f.finish[1, i]) / 3600 for i, job in enumerate(f.week.jobs)}


def test_jobs_with_exact_durations_queue_by_priority_then_by_arrival(foretell: Load) -> None:
    f = foretell(
        HEAD + STATIONS + "jobs:\n"
        "  first: {station: a, duration: 2 h}\n"
        "  late: {station: a, duration: 1 h, arrive: 2031-05-05 09:00}\n"
        "  later: {station: a, duration: 1 h, arrive: 2031-05-05 09:30}\n"
        "  urgent: {station: a, duration: 1 h, arrive: 2031-05-05 09:40, priority: 1}\n"
        "  elsewhere: {station: b, duration: 1 h}\n"
    )
    assert finishes(f) == pytest.approx({"first": 2, "urgent": 3, "late": 4, "later": 5, "elsewhere": 1})
    assert f.waiting[1] == pytest.approx([0, 7200, 9000, 1200, 0])
    assert f.critical == "a"
    assert f.used["a"] == pytest.approx((5 / 168,) * 3)
    first = f.conflicts[0]
    assert (first.waits, first.holds, first.resource, first.share) == ("late", "first", "a", 1.0)


def test_of_jobs_that_ask_at_one_instant_the_urgent_one_is_first_wherever_it_is_written(foretell: Load) -> None:
    f = foretell(
        HEAD + STATIONS + "jobs:\n  x: {station: a, duration: 1 h}\n  y: {station: a, duration: 1 h, priority: 5}"
    )
    assert finishes(f) == pytest.approx({"y": 1, "x": 2})


@pytest.mark.parametrize(("overtake", "small"), [("false", 5.0), ("true", 3.5)])
def test_resources_are_taken_all_at_once_and_a_waiting_job_keeps_its_turn(
    foretell: Load, overtake: str, small: float
) -> None:
    f = foretell(
        f"plan: {{start: 2031-05-05T08:00Z, overtake: {overtake}}}\n" + STATIONS + "instruments: {scope: }\njobs:\n"
        "  a has: {station: a, duration: 3 h}\n"
        "  b soon free: {station: b, duration: 2 h}\n"
        "  both: {station: a, instruments: scope, duration: 1 h, arrive: 2031-05-05 09:00}\n"
        "  small: {station: b, instruments: scope, duration: 1 h, arrive: 2031-05-05 10:30}\n"
    )
    ends = finishes(f)
    # The scope is idle from the start. Who waits for station a doesn't hold it, yet it is his turn.
    assert ends["small"] == pytest.approx(small)
    assert ends["both"] == pytest.approx(4.5 if overtake == "true" else 4.0)


def test_a_step_with_hands_waits_for_the_morning_if_it_does_not_fit_the_shift(foretell: Load) -> None:
    f = foretell(
        HEAD + STATIONS + "operators: {lena: {hours: Mon-Fri 09:00-17:00, away: 2031-05-06}}\njobs:\n"
        "  early: {station: a, steps: [{name: swap, duration: 30 min, hands: lena}, {duration: 1 h}]}\n"
        "  evening: {station: b, arrive: 2031-05-05 16:45, duration: 1 h, after: early, priority: 1,\n"
        "            due: 2031-05-06 12:00}\n"
        "  too late: {station: a, arrive: 2031-05-05 16:45, steps: [{duration: 30 min, hands: [lena]}]}\n"
    )
    ends = finishes(f)
    assert ends["early"] == pytest.approx(2.5)  # from nine
    assert ends["too late"] == pytest.approx(49.5)  # Wednesday half past nine: she is away on Tuesday
    assert f.late[1] == 0
    assert np.isnan(f.late[0])
    assert "out of hours" in conflict_table(f).rows[0]


def test_carrying_the_scope_to_another_station_takes_its_time_once(foretell: Load) -> None:
    f = foretell(
        HEAD + STATIONS + "instruments: {scope: {at: a, move: {duration: 15 min}}}\njobs:\n"
        "  one: {station: a, instruments: scope, duration: 1 h}\n"
        "  two: {station: b, instruments: [scope], duration: 1 h, after: one}\n"
        "  three: {station: b, instruments: scope, duration: 1 h, after: two}\n"
    )
    assert finishes(f) == pytest.approx({"one": 1, "two": 2.25, "three": 3.25})


def test_a_failing_station_halts_its_job_by_the_share_of_time_that_it_is_down(foretell: Load) -> None:
    f = foretell(
        "plan: {start: 2031-05-05T08:00Z, days: 60}\n"
        "stations: {a: {failures: {mtbf: 20 h, mttr: 5 h}}, b: }\n"
        "jobs: {work: {station: a, duration: 800 h, due: 2000 h}, calm: {station: b, duration: 800 h}}",
        repeats=300,
    )
    # 800 h / 20 h = 40 breakages of 5 h: 200 h more, with a standard deviation of 5 h * sqrt(80), 45 h.
    low, middle, high = f.finish[:, 0] / 3600
    assert middle == pytest.approx(1000, abs=12)
    assert high - low == pytest.approx(2 * 1.2816 * 44.7, rel=0.25)
    assert f.finish[:, 1] / 3600 == pytest.approx([800] * 3)


def test_recurring_jobs_keep_local_time_when_the_clocks_change_and_match_their_followers(foretell: Load) -> None:
    f = foretell(  # clocks go forward on Sunday, 30 March 2031
        'plan: {start: "2031-03-29T00:00", zone: Europe/Berlin, days: 3}\n' + STATIONS + "jobs:\n"
        "  nightly: {station: a, arrive: daily 22:00, duration: 1 h, due: 90 min}\n"
        "  report: {after: nightly, duration: 30 min}\n"
        "  sunday: {station: b, arrive: 'Sat-Sun 12:00', after: nightly, duration: 1 h}\n"
        "  poll: {station: b, arrive: every 1 d, duration: 1 min}\n"
    )
    arrivals = {job.name: job.arrival / 3600 for job in f.week.jobs}
    assert [arrivals[f"nightly#{i}"] for i in (1, 2, 3)] == [22, 45, 69]
    assert [arrivals[f"poll#{i}"] for i in (1, 2, 3)] == [0, 24, 48]
    assert finishes(f)["report#2"] == pytest.approx(46.5)
    after = {job.name: job.after for job in f.week.jobs}
    assert (after["sunday#1"], after["sunday#2"]) == ((), ("nightly#1",))
    assert to_json(f)["jobs"]["nightly#2"]["arrival"] == "2031-03-30T22:00:00+02:00"


def test_given_durations_have_the_quantiles_that_were_asked_for(foretell: Load) -> None:
    f = foretell(
        HEAD + "jobs:\n  dry: {duration: {p10: 10 min, p50: 12 min, p90: 20 min}}\n  rough: {duration: 10 h +- 10 %}\n"
        "  absolute: {duration: 10 h ± 60 min}\n",
        repeats=20_000,
    )
    assert f.finish[:, 0] / 60 == pytest.approx([10, 12, 20], rel=0.01)
    # one standard deviation of 10 %, so P10 and P90 lie 12.8 % away, in logarithms
    sigma = np.sqrt(np.log(1.01))
    wanted = 36000 * np.exp(sigma * np.array([-1.28155, 0, 1.28155]))
    assert f.finish[:, 1] == pytest.approx(wanted, rel=0.005)
    assert f.finish[:, 2] == pytest.approx(wanted, rel=0.005)


def past(seconds: list[float], cells: int = 100, world: str = "simulated", **parameters: object) -> tuple[PastRun, ...]:
    return tuple(PastRun("program", world, cells, s, parameters) for s in seconds)


HISTORY = HEAD + "jobs: {run: {duration: {history: {procedure: program, cells: 100, %s}, else: 1 h}}}"


def test_few_past_runs_leave_much_open_and_many_give_their_own_distribution(foretell: Load) -> None:
    skewed = list(600 + np.random.default_rng(3).exponential(300, 400))
    many = foretell(HISTORY % "", past(skewed), repeats=5000).finish[:, 0]
    assert many == pytest.approx(np.quantile(skewed, [0.1, 0.5, 0.9]), rel=0.05)
    few = foretell(HISTORY % "", past([600.0, 620.0, 640.0]), repeats=5000).finish[:, 0]
    assert few[1] == pytest.approx(620, rel=0.02)
    assert few[2] - few[0] > 2 * 1.28 * 20  # more than the three show


def test_history_is_chosen_by_size_world_and_parameters_and_else_steps_in(foretell: Load) -> None:
    runs = (
        *past([100.0] * 4, cells=50, world="real", options={"adc": "plc"}),
        *past([900.0] * 9, cells=201, world="real", options={"adc": "plc"}),
        *past([10.0] * 9, world="simulated", options={"adc": "high-speed"}),
    )
    for wanted, median in (("world: real", 200), ("world: simulated", 10), ("parameters: {options.adc: plc}", 200)):
        assert foretell(HISTORY % wanted, runs, repeats=500).finish[1, 0] == pytest.approx(median, rel=0.05)
    assert foretell(HISTORY % "parameters: {options.adc: none}", runs).finish[1, 0] == 3600
    with pytest.raises(ConfigError, match="both simulated and real"):
        foretell(HISTORY % "", runs)
    with pytest.raises(ConfigError, match=r"jobs\.run\.duration\.history: no completed run"):
        foretell(HEAD + "jobs: {run: {duration: {history: {procedure: forming}}}}", runs)


def test_durations_are_learnt_from_run_files_and_from_nothing_else(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, seconds, ending in (("a", 600.0, "completed"), ("b", 600.0, "completed"), ("c", 5.0, "failed")):
        clock = iter(itertools.chain([100.0], itertools.repeat(100.0 + seconds)))
        header = RunHeader("program", "simulated", name, "2031-05-01T08:00:00+00:00", rows=4, cols=5)
        with_parameters = replace(header, parameters={"adc": "plc"})
        writer = RunWriter.create(runs / name, with_parameters, now=clock.__next__)
        writer.note("under way")
        writer.close(ending)
    (runs / "d").mkdir()
    (runs / "d" / "run.h5").write_bytes(b"not HDF5")
    found = past_runs(runs)
    assert [(r.procedure, r.world, r.cells, r.seconds) for r in found] == [("program", "simulated", 20, 600.0)] * 2
    path = tmp_path / "week.yaml"
    path.write_text(HEAD + "jobs: {run: {duration: {history: {procedure: program, parameters: {adc: plc}}}}}")
    f = plan(path, runs, seed=3, repeats=300)
    assert f.finish[1, 0] == pytest.approx(600, rel=0.05)
    assert past_runs(tmp_path / "nowhere") == []


def test_the_packaged_example_is_forecast_alike_for_one_seed_and_told_in_every_form(tmp_path: Path) -> None:
    f, again, other = (plan("week-example.yaml", tmp_path, seed=seed, repeats=40) for seed in (1, 1, 2))
    assert json.dumps(to_json(f), allow_nan=False) == json.dumps(to_json(again), allow_nan=False)
    assert to_json(f) != to_json(other)
    assert np.all(np.diff(f.finish, axis=0) >= 0)
    assert np.all(f.finish >= f.start)
    text = markdown(f)
    for table in tables(f):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.title in text
    assert {row[0] for row in job_table(f).rows} == {job.name for job in f.week.jobs}
    assert set(f.used) == {"rram-a", "rram-b", "scope", "chamber", "lena", "omar"}
    one, two = draw(f, tmp_path / "a" / "gantt.png"), draw(again, tmp_path / "b" / "gantt.png")
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_never_ends_is_said_to_be_beyond_the_plan(foretell: Load, tmp_path: Path) -> None:
    f = foretell(
        HEAD + STATIONS + "jobs: {one: {station: a, duration: 300 d, due: 7 d}, two: {station: a, duration: 1 h}}"
    )
    assert list(f.unfinished) == [1, 1]
    assert f.late[0] == 1
    assert to_json(f)["jobs"]["two"]["start"] == {"p10": None, "p50": None, "p90": None}
    assert "beyond the plan" in markdown(f)
    assert draw(f, tmp_path / "gantt.png").is_file()


def test_coverage_counts_what_ended_within_p10_and_p90(foretell: Load) -> None:
    f = foretell(HEAD + "jobs: {x: {duration: 10 h +- 10 %}, y: {duration: 1 h}}", repeats=1000)
    assert f.coverage({"x": 36000.0, "y": 3600.0}) == 1
    assert f.coverage({"x": 36000.0 * 1.5, "y": 3600.0}) == 0.5
    assert f.coverage({"x": datetime.fromisoformat("2031-05-05T18:00")}) == 1  # local
    assert f.coverage({"x": datetime.fromisoformat("2031-05-05T18:00+00:00")}) == 0  # two hours later
    with pytest.raises(ConfigError, match="no job 'z'"):
        f.coverage({"z": 1.0})


def test_the_queue_does_what_an_independent_simulator_does(tmp_path: Path) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        week, really, moves = random_week(rng, tmp_path)
        week = replace(week, overtake=bool(seed % 2))
        broken = breakages(week.resources, week.limit, rng)
        compiled = compile_week(week)
        seconds = [0.0] * len(compiled.durations)
        for job, ready in zip(week.jobs, compiled.jobs, strict=True):
            steps = itertools.count()
            for part in ready.parts:
                known = moves[job.name, "scope"] if part.moves >= 0 else really[job.name, next(steps)]
                seconds[part.column] = known
        course = Lab(compiled, seconds, [broken.get(r.name, []) for r in week.resources]).run()
        expected = actual_course(week, really, moves, broken)
        assert course.finish == pytest.approx([expected[job.name] for job in week.jobs], abs=1e-3)


def test_eight_in_ten_jobs_end_within_p10_and_p90_of_weeks_that_the_forecast_half_knows(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    shares = []
    for _ in range(12):
        week, really, moves = random_week(rng, tmp_path)
        actual = actual_course(week, really, moves, breakages(week.resources, week.limit, rng))
        shares.append(forecast(week, rng, 100).coverage(actual))
    # Jobs of one week are late together: a week's share has a standard deviation of 0.12, the mean of twelve 0.035.
    assert 0.69 < np.mean(shares) < 0.91


@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(1, 300)), min_size=1, max_size=12),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_station_serves_in_order_of_arrival_without_a_pause(foretell: Load, work: list[tuple[int, int]]) -> None:
    jobs = "".join(
        f"  j{i}: {{station: a, arrive: '2031-05-05T{8 + at // 60:02d}:{at % 60:02d}', duration: {length} min}}\n"
        for i, (at, length) in enumerate(work)
    )
    f = foretell(HEAD + STATIONS + "jobs:\n" + jobs, repeats=10)
    free, expected = 0.0, {}
    for at, i in sorted((at, i) for i, (at, _) in enumerate(work)):
        free = max(free, at) + work[i][1]
        expected[f"j{i}"] = free / 60
    assert finishes(f) == pytest.approx(expected)
    assert f.used["a"][1] * 168 * 60 == pytest.approx(sum(length for _, length in work))


BAD = [
    ("", r"plan\.start: None is no time"),
    ("[1, 2]", "must be a mapping"),
    ("plan: {start: 2031-05-05T08:00}\njobs: {x: {duration: 1 h}}", "doesn't say its zone"),
    ("plan: {start: 2031-05-05T08:00, zone: Mars/Base}", r"plan\.zone"),
    ("plan: {start: 2031-05-05T08:00, zone: ../../etc/passwd}", r"plan\.zone"),
    (HEAD, "jobs: there are none"),
    (HEAD + "job: {}", "unknown key 'job'; allowed: plan, stations, instruments, operators, jobs"),
    (HEAD + "jobs: {x: {duration: 1 h, prio: 3}}", r"jobs\.x: unknown key 'prio'; allowed: station, instruments"),
    (HEAD + "jobs: {x: {duration: 1 h}, x: {duration: 2 h}}", "'x' is given twice"),
    (HEAD + "jobs: {x: {duration: 5 V}}", r"jobs\.x\.duration: '5 V' is not a quantity in s"),
    (HEAD + "jobs: {x: {duration: -5 s}}", "is no duration; allowed"),
    (HEAD + "jobs: {x: {duration: 1 h +- 900 %}}", "allowed: 0 to 200 %"),
    (HEAD + "jobs: {x: {duration: {p10: 3 h, p50: 2 h, p90: 1 h}}}", "in order"),
    (HEAD + "jobs: {x: {duration: {p50: 2 h}}}", "allowed: p10, p50 and p90"),
    (HEAD + "jobs: {x: {station: c, duration: 1 h}}", r"jobs\.x\.station: 'c' is no station"),
    (HEAD + STATIONS + "jobs: {x: {instruments: a, duration: 1 h}}", "'a' is no instrument"),
    (HEAD + "jobs: {x: {}}", "needs either `duration` or `steps`"),
    (HEAD + "jobs: {x: {steps: []}}", "1 to 50 steps"),
    (HEAD + "jobs: {x: {steps: [{duration: 1 h, hands: eve}]}}", r"jobs\.x\.steps\[1\]\.hands: 'eve' is no operator"),
    (HEAD + "jobs: {x: {duration: 1 h, arrive: sometimes}}", "write '2031-05-06 09:00', 'daily 22:00'"),
    (HEAD + "jobs: {x: {duration: 1 h, arrive: 2041-05-05 09:00}}", "lies outside the plan"),
    (HEAD + "jobs: {x: {duration: 1 h, arrive: every 1 min}, y: {duration: 1 h}}", "more than 2000"),
    (HEAD + "jobs: {x: {duration: 1 h, after: y}}", r"jobs\.x\.after: there is no job 'y'; allowed: x"),
    (HEAD + "jobs: {x: {duration: 1 h, due: yesterday}}", r"jobs\.x\.due"),
    (HEAD + "jobs: {x: {duration: 1 h, priority: high}}", "higher goes first"),
    (HEAD + "operators: {o: {hours: Mon-Fri}}\njobs: {x: {duration: 1 h}}", r"operators\.o\.hours"),
    (HEAD + "operators: {o: {hours: Foo 09:00-12:00}}\njobs: {x: {duration: 1 h}}", "'Foo' is no day"),
    (
        HEAD + "operators: {o: {hours: Mon 09:00-10:00}}\njobs: {x: {steps: [{duration: 2 h, hands: o}]}}",
        "longer than any shift of o; split the step",
    ),
    (HEAD + "stations: {a: {failures: {mtbf: 1 h, mttr: 2 h}}}", "at most half of mtbf"),
    (HEAD + "stations: {a: }\noperators: {a: {hours: daily 08:00-20:00}}", "'a' names two of"),
    (HEAD + "instruments: {s: {move: {duration: 1 h}}}", "has `move` but not `at`"),
    (HEAD + "jobs: &a {x: {duration: 1 h, after: *a}}", "aliases"),
    (HEAD + "jobs: !!python/object/apply:os.system [ls]", "not YAML"),
    ("plan: [" * 5000, "nested too deeply"),
    ("# " + "x" * (1 << 20), "larger than 1 MiB"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_wrong_plan_is_refused_with_file_place_and_what_is_allowed(foretell: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        foretell(text)
    assert "week.yaml" in str(caught.value)


def test_jobs_that_wait_for_each_other_are_named_in_order(foretell: Load) -> None:
    with pytest.raises(ConfigError, match="these wait for each other for ever: ") as caught:
        foretell(
            HEAD + "jobs:\n  x: {duration: 1 h, after: z}\n  y: {duration: 1 h, after: x}\n"
            "  z: {duration: 1 h, after: [y, w]}\n  w: {duration: 1 h}\n"
        )
    ring = str(caught.value).rsplit(": ", 1)[1].split(" after ")
    assert ring[0] == ring[-1]
    assert set(ring) == {"x", "y", "z"}
    waits = {"x": "z", "y": "x", "z": "y"}
    assert all(waits[one] == other for one, other in itertools.pairwise(ring))


def test_missing_files_and_senseless_repeats_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plan file .*nothing\.yaml: not found"):
        plan(tmp_path / "nothing.yaml", tmp_path)
    with pytest.raises(ConfigError, match=r"plan file .*: can't be read"):
        plan(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="allowed: 10 to 100000"):
        plan("week-example.yaml", tmp_path, repeats=1)


EXAMPLE = (Path(__file__).parents[2] / "sim_configs" / "week-example.yaml").read_bytes()


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_plan_is_read_or_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["byte", "cut", "copy", "number"]))
        if kind == "byte":
            raw[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del raw[at : at + data.draw(st.integers(1, 40))]
        elif kind == "copy":
            raw[at:at] = raw[at : at + data.draw(st.integers(1, 200))]
        else:
            raw[at:at] = data.draw(st.sampled_from([b"9" * 30, b"1e999", b"-1", b"~", b"[", b"{a: ", b"nan", b"99:99"]))
        if not raw:
            return
    path = tmp_path / "mutated.yaml"
    path.write_bytes(bytes(raw))
    message = ""
    try:
        jobs = len(load_week(path).jobs)
    except ConfigError as error:
        jobs, message = 0, str(error)
    assert jobs or "mutated.yaml" in message
