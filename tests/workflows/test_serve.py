"""The service: what a schedule file may say, and one life of a service with runs by hand, cancelled and stopped."""

import importlib
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program_jobs import pattern, row
from served import Service

import sim_configs
from analysis.records import open_run
from instruments.errors import ConfigError
from workflows.flows import environment
from workflows.flows.schedule import MOST_DEPLOYMENTS, OFFERS, load_schedule


@pytest.fixture(scope="module", autouse=True)
def _prefect_is_set_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        before = dict(os.environ)
        environment.prepare(tmp_path_factory.mktemp("prefect"))
        yield
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


Read = Callable[[str], Any]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Deployments of a schedule file with this text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OHMFLOW_HOME", str(tmp_path / "home"))

    def reading(text: str) -> Any:
        (tmp_path / "s.yaml").write_text(text)
        return load_schedule(tmp_path / "s.yaml").deployments

    return reading


def test_without_a_file_every_flow_is_there_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OHMFLOW_HOME", str(tmp_path / "home"))
    found = {one.label: one for one in load_schedule(None).deployments}
    assert set(found) == {*(f"{name}/by hand" for name in OFFERS)}
    assert not any(one.cron for one in found.values())
    # A twin keeps its chip between runs, and runs are kept where the service was started.
    bench, runs = tmp_path / "home" / "benches" / "rram-twin", tmp_path / "runs"
    assert found["program/by hand"].parameters == {"bench": str(bench), "runs": str(runs)}
    assert list(tmp_path.iterdir()) == []


def test_the_packaged_example_is_a_schedule() -> None:
    found = load_schedule(Path("schedule-example.yaml")).deployments
    assert sim_configs.path("schedule-example.yaml").is_file()
    assert [one.label for one in found if one.name != "by hand"] == [
        "station-check/morning", "program/nightly", "health/nightly", "retention/nightly", "iv/weekly", "circle/small",
        "analysis/morning",
    ]  # fmt: skip
    nightly = found[1]
    assert (nightly.cron, nightly.timezone, nightly.concurrency) == ("0 2 * * *", "Europe/Berlin", 1)
    assert nightly.parameters["window"] == 1e-6
    assert nightly.tags == ("reference",)
    assert found[3].parameters["end"] == 1e4
    assert found[5].cron == ""


def test_parameters_are_in_si_and_of_the_flows_types(read: Read) -> None:
    one = read("deployments: [{flow: program, name: a, parameters: {window: 2 uS, verify: 1, bench: there}}]")[0]
    assert (one.parameters["window"], one.parameters["verify"], one.parameters["bench"]) == (2e-6, 1.0, "there")
    assert isinstance(one.parameters["verify"], float)


GOOD = "flow: program, name: a"
WRONG = {
    "": "deployments: must be a list of 1..100 entries",
    "deployments: []": "deployments: must be a list of 1..100 entries",
    "deployments: {a: b}": "deployments: must be a list of 1..100 entries",
    "[1, 2]": "top: must be a mapping",
    "deployments: [x": "not YAML",
    "deployments: [!!python/object/apply:os.system [true]]": "not YAML",
    "deployments: [&a {flow: program}, *a]": "aliases",
    "jobs: []": "top: unknown key 'jobs'; allowed: deployments",
    "deployments: [x]": "deployments, entry 1: must be a mapping",
    "deployments: [{name: a}]": "entry 1: flow None is unknown; known: program, circle, ",
    "deployments: [{flow: [program], name: a}]": "is unknown; known: program",
    "deployments: [{flow: program}]": "entry 1: name None must be",
    "deployments: [{flow: program, name: ../a}]": "entry 1: name '../a' must be",
    "deployments: [{flow: program, name: by hand}]": "('by hand' is taken)",
    f"deployments: [{{{GOOD}}}, {{{GOOD}}}]": "entry 2: program 'a' is there already",
    f"deployments: [{{{GOOD}, when: now}}]": "entry 1: unknown key 'when'; allowed: flow, name, cron",
    f"deployments: [{{{GOOD}, cron: '0 2 * *'}}]": "entry 1 (a): cron '0 2 * *' must be five fields",
    f"deployments: [{{{GOOD}, cron: '61 2 * * *'}}]": "must be five fields",
    f"deployments: [{{{GOOD}, cron: '0 0 2 * * *'}}]": "must be five fields",
    f"deployments: [{{{GOOD}, cron: 'R R * * *'}}]": "must be five fields",
    f"deployments: [{{{GOOD}, cron: 5}}]": "entry 1 (a): cron 5 must be a text",
    f"deployments: [{{{GOOD}, timezone: UTC}}]": "timezone without cron",
    f"deployments: [{{{GOOD}, cron: '0 2 * * *', timezone: Mars/Olympus}}]": "timezone 'Mars/Olympus' is unknown",
    f"deployments: [{{{GOOD}, cron: '0 2 * * *', timezone: ../../etc/passwd}}]": "is unknown",
    f"deployments: [{{{GOOD}, cron: '0 2 * * *', timezone: Europe}}]": "is unknown",
    f"deployments: [{{{GOOD}, concurrency: 0}}]": "concurrency 0 must be a whole number, 1..100",
    f"deployments: [{{{GOOD}, concurrency: true}}]": "concurrency True must be a whole number",
    f"deployments: [{{{GOOD}, tags: [1]}}]": "tags: 1 must be a text or a list of texts",
    f"deployments: [{{{GOOD}, parameters: [1]}}]": "entry 1 (a), parameters: must be a mapping",
    f"deployments: [{{{GOOD}, parameters: {{samples: 1}}}}]": "parameters: unknown key 'samples'; allowed: pattern,",
    f"deployments: [{{{GOOD}, parameters: {{run_id: x}}}}]": "parameters: unknown key 'run_id'",
    f"deployments: [{{{GOOD}, parameters: {{array: one}}}}]": "parameters: array 'one' must be a whole number",
    f"deployments: [{{{GOOD}, parameters: {{array: true}}}}]": "array True must be a whole number",
    f"deployments: [{{{GOOD}, parameters: {{fresh: 1}}}}]": "fresh 1 must be true or false",
    f"deployments: [{{{GOOD}, parameters: {{window: 1 V}}}}]": "window: '1 V' is not a quantity in S",
    f"deployments: [{{{GOOD}, parameters: {{window: 1 S}}}}]": "parameters: window of",
    f"deployments: [{{{GOOD}, parameters: {{array: 7}}}}]": "parameters: array 7 does not exist",
    f"deployments: [{{{GOOD}, parameters: {{station: none.yaml}}}}]": "none.yaml",
    f"deployments: [{{{GOOD}, parameters: {{pattern: none.npy}}}}]": "none.npy",
    "deployments: [{flow: station-check, name: a, parameters: {station: none.yaml}}]": "none.yaml",
    "deployments: [{flow: circle, name: a, parameters: {recipe: none}}]": "parameters: ",
    "deployments: [{flow: analysis, name: a, parameters: {days: 0}}]": "days must be more than 0, at most 36500, not 0",
    "deployments: [{flow: control-run, name: a, parameters: {order: dance}}]": "order 'dance' is unknown",
    f"deployments: [{{{GOOD}}}]\nnotify: mail": "notify: must be a mapping",
    f"deployments: [{{{GOOD}}}]\nnotify: {{to: me}}": "notify: unknown key 'to'; allowed: urls_from, on",
    f"deployments: [{{{GOOD}}}]\nnotify: {{on: [failed]}}": "notify: urls_from must be the name of an environment",
    f"deployments: [{{{GOOD}}}]\nnotify: {{urls_from: 'mailto://a:b@c', on: [failed]}}": "themselves are secrets",
    f"deployments: [{{{GOOD}}}]\nnotify: {{urls_from: URLS, on: [lunch]}}": "notify: on ['lunch'] must be a list",
    f"deployments: [{{{GOOD}}}]\nnotify: {{urls_from: URLS}}": "notify: on None must be a list of some of",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_with_file_and_place(read: Read, tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as told:
        read(text)
    message = str(told.value)
    assert message.startswith(f"schedule file {tmp_path / 's.yaml'}")
    assert WRONG[text] in message
    assert len(message) < 1000
    assert {path.name for path in tmp_path.iterdir()} == {"s.yaml"}


def test_too_many_deployments_and_no_file_are_refused(read: Read, tmp_path: Path) -> None:
    many = "".join(f"  - {{flow: station-check, name: n{number}}}\n" for number in range(MOST_DEPLOYMENTS + 1))
    with pytest.raises(ConfigError, match=r"1\.\.100 entries"):
        read(f"deployments:\n{many}")
    with pytest.raises(ConfigError, match="not found"):
        load_schedule(tmp_path / "nowhere.yaml")


def test_every_parameter_that_is_shown_is_described_and_can_be_set() -> None:
    """What the UI shows comes from the flow's schema."""
    for offer in OFFERS.values():
        options, _ = offer.load()
        module, _, function = offer.target.partition(":")
        shown = getattr(importlib.import_module(module), function).parameters.properties
        assert set(shown) == set(options.__dataclass_fields__)
        assert all(len(one["description"]) > 10 for one in shown.values())


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    schedule = (
        "deployments:\n"
        "  - {flow: program, name: small, cron: '0 2 * * *', timezone: Europe/Berlin, tags: [test],\n"
        f"     parameters: {{chip: '1', settle_rows: 2, window: 1 uS, runs: {tmp_path / 'runs'}}}}}\n"
    )
    with Service(tmp_path, schedule) as started:
        yield started


@pytest.mark.timeout(240)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc")
def test_a_service_runs_cancels_and_stops_in_order(service: Service, tmp_path: Path) -> None:
    few, more = tmp_path / "few.npy", tmp_path / "more.npy"
    np.save(few, pattern(row(8, 2, 5)))
    np.save(more, pattern({cell: level for number in range(9, 21) for cell, level in row(number).items()}))
    service.until(lambda: "serving at " in service.said(), 120)

    known = service("GET", "/deployments/name/program/small")
    described = known["parameter_openapi_schema"]["properties"]["window"]["description"]
    assert described == "Half width of the target window. In S."
    assert known["tags"] == ["ohmflow", "program", "test"]
    assert [s["schedule"]["timezone"] for s in known["schedules"]] == ["Europe/Berlin"]
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(service.api[: -len("/api")]) as page:
        assert b"<html" in page.read().lower()

    state = service.until(service.ended(service.run("done", few), "Completed", "Failed", "Crashed"))
    assert state["name"] == "Completed", state
    with open_run(tmp_path / "runs" / "done") as run:
        assert run.status == "completed"

    cancelled = service.run("cancelled", more, passes=100)
    service.until(lambda: service.records("cancelled") > 300)
    service("POST", f"/flow_runs/{cancelled}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    service.until(service.ended(cancelled, "Cancelled"))

    stopped = service.run("stopped", more, passes=100)
    service.until(lambda: service.records("stopped") > 300)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0, service.said()
    assert service.processes() == []
    assert stopped
    for name in ("cancelled", "stopped"):
        with open_run(tmp_path / "runs" / name) as run:
            assert (run.status, run.reason) == ("interrupted", "Interrupted: stopped on request")
            assert any(note["text"] == "outputs at 0 V and open, board disconnected" for note in run.notes)
