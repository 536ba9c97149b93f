"""The simulated bench: chips that outlive their process, seeds that name them, a lock, a clock, and the ledger."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim_configs
from instruments.errors import BenchBusyError, ConfigError
from instruments.twin.bench import Bench, load_law, open_bench

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"rows": "4", "cols": "4", "preset": "cmo-hfox"}


def bench(folder: Path | None = None, section: dict[str, Any] | None = None, **params: str) -> Bench:
    where = {"dir": str(folder)} if folder else {}
    return open_bench(SMALL if section is None else section, base=Path("."), params={**where, **params})


def program(opened: Bench, times: int = 3) -> None:
    """A few pulses on cell (0, 1, 2), with time between them."""
    for k in range(times):
        opened.clock.sleep(0.25)
        now = opened.clock.now_ns
        opened.chip.set_pulse((slice(0, 1), 1, 2), 1.6 + 0.05 * k, 1.2, 1e-6, now, opened.rng("set"))


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A second process that has `open_bench` and this module's `SMALL` at hand."""
    prelude = "import os, signal, sys\nfrom pathlib import Path\nfrom instruments.twin.bench import open_bench\n"
    prelude += f"SMALL = {SMALL!r}\nbench = lambda d: open_bench(SMALL, base=Path('.'), params={{'dir': d}})\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


# Chips by seed


def test_a_seed_names_a_chip(tmp_path: Path) -> None:
    first, again, other = bench(seed="5"), bench(tmp_path, seed="5"), bench(seed="6")
    assert np.array_equal(first.chip.cells, again.chip.cells)
    assert not np.array_equal(first.chip.cells["v_t"], other.chip.cells["v_t"])
    assert (first.seed, first.preset, first.chip.cells.shape) == (5, "cmo-hfox", (1, 4, 4))
    again.close()


def test_a_chip_is_found_as_it_was_left(tmp_path: Path) -> None:
    opened = bench(tmp_path)
    program(opened)
    left, now = opened.chip.cells.copy(), opened.clock.now()
    opened.close()
    found = bench(tmp_path)
    assert np.array_equal(found.chip.cells, left)
    assert found.clock.now() == now == 0.75
    found.close()


def test_fresh_draws_the_same_chip_anew_and_leaves_other_seeds_alone(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        opened = bench(tmp_path, seed=seed)
        program(opened)
        opened.close()
    renewed = bench(tmp_path, seed="1", fresh="1")
    assert np.array_equal(renewed.chip.cells, bench(seed="1").chip.cells)
    assert renewed.clock.now() == 0.0
    renewed.close()
    kept = bench(tmp_path, seed="2", fresh="0")
    assert kept.chip.cells["pulses"].sum() == 3
    kept.close()


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened = bench(seed="1")
    program(opened)
    opened.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preset": "ideal"}, "another preset (cmo-hfox, asked for ideal)"),
        ({"rows": "5"}, "another shape ([1, 4, 4], asked for [1, 5, 4])"),
    ],
)
def test_a_chip_keeps_its_kind(tmp_path: Path, change: dict[str, str], words: str) -> None:
    bench(tmp_path).close()
    with pytest.raises(ConfigError) as caught:
        bench(tmp_path, {**SMALL, **change})
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    bench(tmp_path).close()  # and the refusal has not kept the lock


def test_a_preset_that_was_edited_is_noticed_and_named(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("cell: {v_t: 0.6 V}")
    section = {**SMALL, "preset": str(preset)}
    bench(tmp_path / "chips", section).close()
    preset.write_text("cell: {v_t: 0.7 V}")
    with pytest.raises(ConfigError, match=r"another law \(v_t is 0.6, asked for 0.7\)"):
        bench(tmp_path / "chips", section)


def test_a_chip_half_drawn_when_its_process_was_killed_is_drawn_anew(tmp_path: Path) -> None:
    bench(tmp_path).close()
    chip = tmp_path / "chip-1"
    (chip / "chip.json").unlink()
    (chip / "cells.npy").write_bytes(b"half a fi")
    opened = bench(tmp_path)
    assert np.array_equal(opened.chip.cells, bench().chip.cells)
    opened.close()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    bench(tmp_path).close()
    chip = tmp_path / "chip-1"
    np.save(chip / "cells.npy", np.zeros((1, 4, 4)))
    with pytest.raises(ConfigError, match=r"cells\.npy: not a chip of this version"):
        bench(tmp_path)
    (chip / "chip.json").write_text("{")
    with pytest.raises(ConfigError, match=r"chip\.json: is damaged"):
        bench(tmp_path)


# Processes


def test_what_another_process_programmed_is_seen_here_and_back(tmp_path: Path) -> None:
    code = """
        b = bench(sys.argv[1])
        b.clock.sleep(1.5)
        b.chip.set_pulse((slice(0, 1), 1, 2), 2.0, 1.2, 1e-6, b.clock.now_ns, b.rng("set"))
        print(b.true_conductance()[0, 1, 2].hex(), b.clock.now_ns)
        b.close()
    """
    opened = bench(tmp_path)
    before = opened.true_conductance()[0, 1, 2]
    opened.close()
    out, err = child(code, str(tmp_path)).communicate(timeout=60)
    assert err == ""
    conductance, now = float.fromhex(out.split()[0]), int(out.split()[1])
    opened = bench(tmp_path)
    assert opened.clock.now_ns == now == 1_500_000_000
    assert opened.true_conductance()[0, 1, 2] == conductance > 2 * before
    opened.close()


def test_a_kill_amid_pulses_loses_none_that_ended(tmp_path: Path) -> None:
    code = """
        b = bench(sys.argv[1])
        for k in range(200):
            b.clock.sleep(0.001)
            now = b.clock.now_ns
            where = (slice(0, 1), k % 4, k // 4 % 4)
            pulse = b.chip.set_pulse if k % 3 else b.chip.reset_pulse
            pulse(where, 1.5, 1.2, 1e-6, now, b.rng("pulse"))
            if k == 137:
                g = b.true_conductance().ravel()
                print(now, int(b.chip.cells["pulses"].sum()), *(v.hex() for v in g.tolist()), flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
    """
    process = child(code, str(tmp_path))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    now, pulses, *values = out.split()
    found = bench(tmp_path)  # the lock died with its owner
    assert found.clock.now_ns == int(now) == 138_000_000
    assert found.chip.cells["pulses"].sum() == int(pulses) == 138
    assert found.true_conductance().ravel().tolist() == [float.fromhex(v) for v in values]
    found.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    process = child("b = bench(sys.argv[1]); print('ready', flush=True); sys.stdin.read()", str(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        for params in ({}, {"fresh": "1"}, {"seed": "9"}):
            with pytest.raises(BenchBusyError, match=f"in use by process {process.pid}; wait for it"):
                bench(tmp_path, **params)
    finally:
        process.kill()
        process.communicate(timeout=60)
    bench(tmp_path).close()


def test_two_benches_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    first = bench(tmp_path)
    with pytest.raises(BenchBusyError, match=f"process {os.getpid()}"):
        bench(tmp_path)
    first.close()
    bench(tmp_path).close()


def test_closing_twice_does_not_disturb_the_next_holder(tmp_path: Path) -> None:
    first = bench(tmp_path)
    first.close()
    second = bench(tmp_path)
    second.clock.sleep(9)
    second.close()
    first.close()
    third = bench(tmp_path)
    assert third.clock.now() == 9.0
    third.close()


# Chance


def test_equal_seeds_and_equal_operations_draw_equally(tmp_path: Path) -> None:
    ends = []
    for folder in (None, tmp_path / "a"):
        opened = bench(folder, seed="3")
        program(opened)
        if folder is not None:  # interrupted and taken up again: no difference
            opened.close()
            opened = bench(folder, seed="3")
        program(opened)
        ends.append((opened.chip.cells.copy(), opened.rng("read").standard_normal(4)))
        opened.close()
    assert np.array_equal(ends[0][0], ends[1][0])
    assert np.array_equal(ends[0][1], ends[1][1])


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=12), st.integers(0, 2**63 - 1))
def test_a_draw_depends_on_seed_stream_and_number_alone(calls: list[tuple[str, int]], seed: int) -> None:
    one, two = bench(seed=str(seed)), bench(seed=str(seed))
    for stream, amount in calls:
        one.rng(stream).standard_normal(amount)  # however much is taken from a draw,
        two.rng("other")  # and whatever came before
    assert np.array_equal(one.rng("x").random(3), two.rng("x").random(3))
    assert not np.array_equal(one.rng("x").random(3), one.rng("x").random(3))
    assert not np.array_equal(one.rng("x").random(3), two.rng("y").random(3))


def test_looking_at_the_truth_draws_nothing() -> None:
    looked, other = bench(), bench()
    looked.true_conductance()
    assert looked.true_conductance().shape == (1, 4, 4)
    assert looked.rng("x").random() == other.rng("x").random()


def test_instruments_have_a_memory() -> None:
    opened = bench()
    opened.memory("scope", {"scale": 1})["scale"] = 2
    assert opened.memory("scope", {"scale": 1}) == {"scale": 2}


# The ledger


def test_the_ledger_adds_up() -> None:
    ledger = bench().ledger
    rows = [("set", 2.0, 3e-10), ("read", 0.2, 5e-8), ("set", 1.5, 2e-10), ("reset", -1.2, 1e-10), ("read", -0.1, 1e-8)]
    for k, (kind, volts, energy) in enumerate(rows):
        ledger.drive(0.5 * k, kind, (0, k, 1), volts, 1.2, 1e-6, energy)
    table = ledger.table()
    assert len(ledger) == len(table) == 5
    for kind in ("set", "reset", "read"):
        assert table["energy"][table["kind"] == kind.encode()].sum() == pytest.approx(ledger.energy[kind])
    assert ledger.highest == {"set": 2.0, "reset": 1.2, "read": 0.2}
    assert table["time"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert table["row"].tolist() == [0, 1, 2, 3, 4]


def test_an_empty_ledger_is_an_empty_table() -> None:
    ledger = bench().ledger
    assert len(ledger) == len(ledger.table()) == 0
    assert ledger.energy == ledger.highest == {}


# Files and parameters


@pytest.mark.parametrize("name", sim_configs.presets())
def test_packaged_presets_load_and_name_their_source(name: str) -> None:
    assert load_law(name, Path(".")).g_max > 100e-6
    assert "source: " in sim_configs.path(f"presets/{name}.yaml").read_text()


@pytest.mark.parametrize(
    ("section", "params", "words"),
    [
        ({}, {"sed": "1"}, "unknown parameter 'sed'"),
        ({}, {"seed": "one"}, "seed 'one' must be a whole number"),
        ({}, {"seed": "-1"}, "seed '-1'"),
        ({}, {"seed": "²"}, "seed '²'"),
        ({}, {"seed": str(2**63)}, "must be a whole number"),
        ({}, {"fresh": "yes"}, "fresh is 0 or 1, not 'yes'"),
        ({}, {"preset": "unobtainium"}, "'unobtainium' not found; packaged presets: cmo-hfox,"),
        ({"rows": "0"}, {}, "rows must be a whole number 1..4096, not '0'"),
        ({"cols": "many"}, {}, "cols must be a whole number"),
        ({"arrays": "²"}, {}, "arrays must be a whole number"),
        ({"wiring": "all"}, {}, "wiring: must be a mapping"),
        ({"wiring": {"body": {"smu": "4"}}}, {}, "unknown line 'body'"),
        ({"wiring": {"word_line": "2"}}, {}, "word_line needs smu"),
        ({"wiring": {"word_line": {"smu": "two"}}}, {}, "word_line.smu: 'two'"),
        ({"wiring": {"word_line": {"cmu": "2"}}}, {}, "word_line.cmu"),
        ({"wiring": {"word_line": {"smu": "1"}, "bit_line": {"smu": "1"}}}, {}, "smu 1 serves both"),
    ],
)
def test_mistakes_in_a_bench_get_one_sentence(section: dict[str, Any], params: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_bench({**SMALL, **section}, base=Path("."), params=params)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bench_section_that_is_none() -> None:
    with pytest.raises(ConfigError, match="bench: must be a mapping"):
        open_bench("rram", base=Path("."), params={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cell: {v_tt: 1 V}", "unknown cell constant 'v_tt'"),
        ("cell: {v_t: 1 S}", "'1 S' is not a quantity in V"),
        ("cell: {v_t: [1]}", "'v_t' must be finite"),
        ("cell: 5", "has a `cell:` mapping"),
        ("- 1", "has a `cell:` mapping"),
        ("", "has a `cell:` mapping"),
        ("cell: {", "mine.yaml"),
    ],
)
def test_a_broken_preset_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_law("mine.yaml", tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)
