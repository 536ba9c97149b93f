"""The pytest plugin, as a laboratory's own suite uses it: in a folder of its own, in a pytest of its own."""

import re

import pytest

pytest_plugins = ["pytester"]

SUITE = """
import pytest

def test_a_driver_of_ours(bench, virtual_time):
    resource = bench.manager.open_resource("GPIB0::17::INSTR", read_termination="\\r\\n", write_termination="\\r\\n")
    assert "B1500A" in resource.query("*IDN?")
    assert 0 < virtual_time.now() < 1

def test_a_station(station, virtual_time, bench_seed):
    assert station.bench.seed == bench_seed
    station.array.prepare()
    station.array.select(0, 3, 4)
    assert 0 < station.array.read().conductance < 2e-4
    before = virtual_time.now()
    virtual_time.sleep(3600)
    assert virtual_time.now() == before + 3600

def test_a_procedure(run_procedure, bench_seed):
    run = run_procedure("iv", cells=1, cycles=2, run_id="mine")
    assert run.status == "completed"
    assert f"seed {bench_seed}" in run.header.chip

@pytest.mark.parametrize("fault_profile", ["timeouts"])
@pytest.mark.bench(preset="ideal")
def test_another_bench(bench, bench_seed):
    assert bench.chip.preset == "ideal"
    assert bench.manager.visalib.faults is not None

def test_what_was_recorded(bench, played_back, tmp_path):
    from instruments.tape import recording
    with recording(bench.manager, tmp_path / "a.jsonl"):
        then = bench.manager.open_resource("GPIB0::17::INSTR").query("*IDN?")
    now = played_back(tmp_path / "a.jsonl")
    assert now.manager.open_resource("GPIB0::17::INSTR").query("*IDN?") == then

def test_drives_too_much(station):
    station.bench.ledger.highest["set"] = 9.0  # as a driver that went round the limits
"""


@pytest.fixture
def lab(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(test_lab=SUITE)
    return pytester


def test_a_laboratory_tests_its_own_code_against_the_twin(lab: pytest.Pytester) -> None:
    ended = lab.runpytest_subprocess("-q", "-W", "error", "-p", "no:cacheprovider", "--bench-seeds", "1,2")
    ended.assert_outcomes(passed=12, errors=2)  # who drives too much passes its own checks, and fails afterwards
    told = re.findall(
        r"the station was left unsafe: 9 V came across a cell, the limits end at 3.5 V", ended.stdout.str()
    )
    assert told


def test_an_option_that_makes_no_sense_is_told(lab: pytest.Pytester) -> None:
    ended = lab.runpytest_subprocess("-q", "--bench-seeds", "one")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR or "give whole numbers" in ended.stdout.str()
    assert "--bench-seeds 'one': give whole numbers with commas between them" in ended.stdout.str() + ended.stderr.str()


def test_the_fixtures_are_listed(lab: pytest.Pytester) -> None:
    ended = lab.runpytest_subprocess("--fixtures", "-q")
    for name in ("bench", "station", "virtual_time", "run_procedure", "played_back", "bench_seed", "fault_profile"):
        assert re.search(rf"^{name}\b.*workflows.pytest_plugin", ended.stdout.str(), re.MULTILINE), name
