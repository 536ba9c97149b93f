"""`ohmflow` as its users type it: one clear sentence for what is wrong, and nothing pulsed because of it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import Ohmflow, in_process
from program_jobs import command, finish, pattern, programmed, row

import sim_configs
from analysis.records import open_run, read_journal


@pytest.fixture
def ohmflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ohmflow:
    """The command in this process, in an empty folder: exit code, stdout, stderr."""
    return in_process(tmp_path, tmp_path / "home", monkeypatch, capsys, 120)


def station_file(folder: Path, name: str = "mine.yaml", **changes: object) -> Path:
    """The packaged twin's station file with some sections' entries changed (`section__key=value`)."""
    data = yaml.safe_load(sim_configs.path("station-twin.yaml").read_text())
    for place, value in changes.items():
        *sections, key = place.split("__")
        section = data
        for part in sections:
            section = section[part]
        section[key] = value
    path = folder / name
    path.write_text(yaml.safe_dump(data))
    return path


def prepare_wrong_shape(folder: Path) -> list[str]:
    np.save(folder / "p.npy", np.full((16, 32), 5e-5))
    return ["--pattern", "p.npy"]


def prepare_microsiemens(folder: Path) -> list[str]:
    np.savetxt(folder / "p.csv", np.full((32, 32), 50.0), delimiter=",")
    return ["--pattern", "p.csv"]


def prepare_outside(folder: Path) -> list[str]:
    np.save(folder / "p.npy", pattern({(3, 4): 50, (5, 6): 130}))
    return ["--pattern", "p.npy"]


def prepare_words(folder: Path) -> list[str]:
    (folder / "p.csv").write_text("a,b\n1,2\n")
    return ["--pattern", "p.csv"]


def prepare_all_nan(folder: Path) -> list[str]:
    np.save(folder / "p.npy", np.full((32, 32), np.nan))
    return ["--pattern", "p.npy"]


def prepare_empty(folder: Path) -> list[str]:
    (folder / "p.csv").write_text("")
    return ["--pattern", "p.csv"]


def prepare_pickle(folder: Path) -> list[str]:
    np.save(folder / "p.npy", np.array([{"a": 1}], dtype=object))
    return ["--pattern", "p.npy"]


def prepare_resource(folder: Path) -> list[str]:
    return ["--station", str(station_file(folder, instruments__analyzer__resource="GPIB0::18::INSTR"))]


def prepare_limits(folder: Path) -> list[str]:
    return ["--station", str(station_file(folder, limits__bit_line=["0.5 V", "0.1 V"]))]


def prepare_limits_apart(folder: Path) -> list[str]:
    return ["--station", str(station_file(folder, limits__compute=["-0.2 V", "4 V"]))]


def prepare_tight(folder: Path) -> list[str]:
    return ["--station", str(station_file(folder, limits__source_line=["-0.5 V", "1.8 V"]))]


def prepare_malformed(folder: Path) -> list[str]:
    (folder / "bad.yaml").write_text("station: {name: x\n  world: [")
    return ["--station", "bad.yaml"]


def prepare_no_station(folder: Path) -> list[str]:
    (folder / "bad.yaml").write_text("- 1\n- 2\n")
    return ["--station", "bad.yaml"]


def prepare_unknown_driver(folder: Path) -> list[str]:
    return ["--station", str(station_file(folder, instruments__analyzer__driver="b1500b"))]


def prepare_wrong_library(folder: Path) -> list[str]:
    return ["--station", str(station_file(folder, station__visa="absent.yaml@twin"))]


def prepare_runs_is_a_file(folder: Path) -> list[str]:
    (folder / "runs").write_text("a file")
    return []


BAD = {
    "missing pattern": (["--pattern", "absent.npy"], r"pattern file absent\.npy not found"),
    "unknown pattern": (["--pattern", "sun"], r"pattern 'sun' is unknown; give moon-star, or a \.npy or \.csv file"),
    "wrong shape": (prepare_wrong_shape, r"p\.npy has shape \(16, 32\); this array needs \(32, 32\)"),
    "microsiemens": (prepare_microsiemens, r"cell \(0, 0\) is 5e\+07 uS, .*must be in siemens \(20 uS is 2e-5\)"),
    "outside": (prepare_outside, r"target of cell \(5, 6\) is 130 uS, outside the device's window of 10\.\.120 uS"),
    "words": (prepare_words, r"p\.csv can't be read as numbers"),
    "all nan": (prepare_all_nan, r"p\.npy must hold finite conductances in S"),
    "empty": (prepare_empty, r"p\.csv has shape"),
    "pickle": (prepare_pickle, r"p\.npy can't be read as numbers"),
    "missing station": (["--station", "absent.yaml"], r"station file absent\.yaml not found; packaged stations: "),
    "malformed YAML": (prepare_malformed, r"station file bad\.yaml is not YAML"),
    "no station": (prepare_no_station, r"bad\.yaml must have a `station:` mapping"),
    "unknown resource": (prepare_resource, r"analyzer at GPIB0::18::INSTR can't be reached: .*Check the address"),
    "unknown driver": (prepare_unknown_driver, r"driver 'b1500b' is unknown; known: b1500a"),
    "unknown library": (prepare_wrong_library, r"simulated bench 'absent\.yaml' not found"),
    "empty limits": (prepare_limits, r"limits: bit_line is empty"),
    "contradicting limits": (prepare_limits_apart, r"limits contradict each other: compute .* not lie within bit_line"),
    "limits too tight": (prepare_tight, r"strongest RESET pulse of model-based: 2\.2 V is outside "),
    "window in volts": (["--window", "1 V"], r"--window: '1 V' is not a quantity in S; write for example '20 uS'"),
    "window without number": (["--window", "uS"], r"--window: 'uS' is not a quantity in S"),
    "window of nothing": (["--window", "0 uS"], r"window of \+-0 uS makes no sense"),
    "window in uS without unit": (["--window", "1"], r"window of \+-1e\+06 uS makes no sense"),
    "verify": (["--verify", "1.5"], r"verify share 1\.5 must lie within 0\.\.1"),
    "budget": (["--budget", "0"], r"budget of 0 pulses must lie within"),
    "settle rows": (["--settle-rows", "-1"], r"settle_rows -1 must lie within"),
    "algorithm": (["--algorithm", "magic"], r"algorithm 'magic' is unknown; known: model-based, incremental-reversal"),
    "array": (["--array", "3"], r"array 3 does not exist; station rram-twin has arrays 0\.\.2"),
    "negative array": (["--array", "-1"], r"array -1 does not exist"),
    "adc": (["--adc", "slow"], r"adc 'slow' is unknown; allowed: plc, high-speed"),
    "run id": (["--run-id", "../elsewhere"], r"run id '\.\./elsewhere' may hold up to 100 letters, digits"),
    "seed": (["--chip", "lot-7"], r"seed 'lot-7' must be a whole number"),
    "preset": (["--preset", "unobtainium"], r"device preset 'unobtainium' not found; packaged presets: cmo-hfox"),
    "resume of nothing": (["--resume", "absent"], r"run 'absent' not found, neither as a folder nor under runs"),
    "runs is a file": (prepare_runs_is_a_file, r"can't make the run's folder runs"),
    "bench of a real station": (["--station", "station-lab.yaml", "--bench", "b"], r"rram-lab is real: a bench"),
    "chip of a real station": (["--station", "station-lab.yaml", "--chip", "1"], r"rram-lab is real: preset"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_nothing_is_pulsed(ohmflow: Ohmflow, tmp_path: Path, case: str) -> None:
    given, sentence = BAD[case]
    arguments = given(tmp_path) if callable(given) else given
    code, out, err = ohmflow("program", "--direct", *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert re.search(sentence, err), err
    assert "Traceback" not in out + err
    assert not (tmp_path / "runs").is_dir()
    for cells in tmp_path.rglob("cells.npy"):  # the bench may have been opened; no cell of it was pulsed
        assert np.load(cells)["pulses"].sum() == 0


def test_an_option_that_is_no_number_is_told_by_the_parser(ohmflow: Ohmflow, tmp_path: Path) -> None:
    code, _, err = ohmflow("program", "--array", "one")
    assert code == 2
    assert "Invalid value for '--array'" in err
    assert not (tmp_path / "runs").exists()


def test_help_names_every_command(ohmflow: Ohmflow) -> None:
    code, out, _ = ohmflow("--help")
    assert code == 0
    for name in ("program", "demo", "summary", "salvage", "station"):
        assert name in out


def test_help_is_quick_and_programming_does_without_torch() -> None:
    """What is slow to import is imported by those who need it."""
    script = (
        "import sys, workflows.cli, workflows.console; first = set(sys.modules);"
        "import workflows.running, workflows.tables, workflows.procedures.program_job;"
        "print(first & {'numpy', 'pyvisa', 'prefect', 'torch'}, set(sys.modules) & {'prefect', 'torch'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set() set()\n"


CELLS = {**row(8, 2, 4)}


def test_a_run_a_summary_and_what_can_not_be_done_with_it(ohmflow: Ohmflow, tmp_path: Path) -> None:
    np.savetxt("cells.csv", pattern(CELLS), delimiter=",")  # a CSV says nan where a cell has no target
    arguments = ("program", "--direct", "--pattern", "cells.csv", "--chip", "1", "--run-id", "first")
    code, out, err = ohmflow(*arguments, "--operator", "A. Newcomer")
    assert (code, err) == (0, "")
    assert "station rram-twin (simulated), run runs/first" in out
    assert "first: SIMULATED, completed" in out
    assert "1: unresponsive (8,3)" in out
    assert "known only to the twin" in out
    for name in ("run.h5", "figures/programming.png", "figures/traces.png"):
        assert f"runs/first/{name}" in out
        assert (tmp_path / "runs" / "first" / name).is_file()
    assert sorted(p.name for p in (tmp_path / "runs" / "first").iterdir()) == [
        "figures", "journal.jsonl", "run.h5", "station.yaml",
    ]  # fmt: skip
    with open_run(tmp_path / "runs" / "first") as run:
        header = run.header
        assert header.operator == "A. Newcomer"
        assert header.command_line.startswith("ohmflow program --direct --pattern cells.csv")
        assert header.seed == 1
        assert [i.role for i in header.instruments][:2] == ["analyzer", "board"]
        assert "B1500A" in header.instruments[0].idn
        assert {"ohmflow", "numpy", "pymeasure", "python"} <= set(header.packages)
        assert header.paths["bench"] == str(tmp_path / "home" / "benches" / "rram-twin")

    before = (tmp_path / "runs" / "first" / "journal.jsonl").read_bytes()
    for more, sentence in (
        (("--run-id", "first"), "run runs/first exists; go on with it by --resume runs/first, or choose another name"),
    ):
        code, _, err = ohmflow("program", "--direct", "--pattern", "cells.csv", *more)
        assert (code, err) == (2, f"error: {sentence}\n")
    for words, sentence in (
        (("--resume", "first"), r"error: run runs/first is complete; there is nothing to resume"),
        (("--resume", "first", "--budget", "9"), r"error: --budget can't be given with --resume"),
        (("--resume", "first", "--settle-rows", "2"), r"error: --settle-rows can't be given with --resume"),
    ):
        code, _, err = ohmflow("program", "--direct", *words)
        assert code == 2
        assert err.startswith(sentence)
        assert len(err.splitlines()) == 1
    assert (tmp_path / "runs" / "first" / "journal.jsonl").read_bytes() == before

    figure = tmp_path / "runs" / "first" / "figures" / "programming.png"
    figure.unlink()
    code, out, _ = ohmflow("summary", "first")
    assert code == 0
    assert "1: unresponsive (8,3)" in out
    assert figure.stat().st_size > 10_000


def test_a_chip_that_is_gone_can_not_be_gone_on_with(ohmflow: Ohmflow, tmp_path: Path) -> None:
    """Without a bench directory the chip ends with its process: resuming would program another one in its place."""
    programmed(tmp_path / "runs" / "gone", pattern(CELLS), settle_rows=0)
    journal = tmp_path / "runs" / "gone" / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:40]))
    code, _, err = ohmflow("program", "--direct", "--resume", "gone")
    assert code == 2
    assert err == "error: run runs/gone can't be resumed: its simulated chip was gone with its process\n"
    assert len(read_journal(journal).records) == 40


def test_what_a_killed_run_left_is_salvaged_and_shown(ohmflow: Ohmflow, tmp_path: Path) -> None:
    programmed(tmp_path / "runs" / "killed", pattern(CELLS), bench=tmp_path / "bench", settle_rows=0)
    journal = tmp_path / "runs" / "killed" / "journal.jsonl"
    (journal.parent / "run.h5").unlink()
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"kind":"intent"' in line)
    journal.write_bytes(b"".join(lines[: last + 1]) + b'{"seq":')
    code, _, err = ohmflow("summary", "killed")
    assert code == 2
    assert "salvage" in err
    code, out, err = ohmflow("salvage", "killed")
    assert (code, err) == (0, "")
    assert out.startswith("killed: SIMULATED, killed\n")
    assert "in doubt: a " in out
    assert "lost: 0 damaged lines of the journal, 7 bytes of an unfinished one" in out
    code, out, _ = ohmflow("summary", "killed")
    assert code == 0
    assert "cells not finished" in out
    code, out, _ = ohmflow("salvage", "killed")
    assert "was whole already" in out


def test_a_station_is_checked_without_driving_anything(ohmflow: Ohmflow, tmp_path: Path) -> None:
    code, out, err = ohmflow("station", "check")
    assert (code, err) == (0, "")
    assert "rram-twin: simulated, 3 arrays of 32x32 cells" in out
    assert "analyzer: Agilent Technologies,B1500A" in out
    assert "board: " in out
    code, _, err = ohmflow("station", "check", station_file(tmp_path, instruments__board__resource="ASRL9::INSTR"))
    assert code == 2
    assert err.startswith("error: board at ASRL9::INSTR can't be reached")


def test_a_station_file_may_say_where_its_chips_are(ohmflow: Ohmflow, tmp_path: Path) -> None:
    np.save("cells.npy", pattern({(4, 4): 40}))
    # A folder with everything in its name that has a meaning in a VISA library's specification.
    chips = tmp_path / "user@lab & co" / "50% chips?"
    mine = station_file(tmp_path, twin={"dir": str(chips), "seed": 5})
    code, _, err = ohmflow("program", "--direct", "--pattern", "cells.npy", "--station", mine)
    assert (code, err) == (0, "")
    assert (chips / "chip-5" / "cells.npy").is_file()
    assert not (tmp_path / "home" / "benches").exists()


@pytest.mark.parametrize("case", ["missing pattern", "unknown resource", "window in volts"])
def test_bad_input_from_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Exit code and stderr as a shell sees them, and with Prefect, which must not even be started."""
    monkeypatch.chdir(tmp_path)
    given, sentence = BAD[case]
    arguments = given(tmp_path) if callable(given) else given
    direct = ["--direct"] if case == "unknown resource" else []
    ended = finish(command("program", *arguments, *direct, home=tmp_path / "home"))
    assert ended.code == 2
    assert re.match(f"error: .*{sentence}", ended.err), ended.err
    assert len(ended.err.splitlines()) == 1
    assert "Traceback" not in ended.out
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "home" / "prefect").exists()
