"""Fault profiles as files, and each fault as an instrument's user meets it."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvisa
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError
from twin.reply_fuzz import fuzz_analyzer, fuzz_board

from instruments.clock import wall_time
from instruments.errors import ConfigError
from instruments.twin.fault_profile import SETTINGS, FaultProfile, Rule, profiles
from instruments.twin.faults import FaultInjector, limit_file_size
from instruments.twin.visa import TwinVisaLibrary

GPIB, SERIAL = "GPIB0::17::INSTR", "ASRL1::INSTR"


class Lab:
    """An open bench with faults of its own."""

    def __init__(self, rules: list[dict[str, Any]], seed: int = 1) -> None:
        self.lib = TwinVisaLibrary.from_file(f"bench-rram32.yaml?name=faults{id(self)}")
        self.manager = pyvisa.ResourceManager(self.lib)
        profile = FaultProfile("test", "", tuple(Rule.parse(rule, "rule") for rule in rules))
        self.disk: list[int | None] = []
        self.injector = FaultInjector(profile, seed, self.lib.bench, self.lib, self.disk.append)
        self.lib.faults = self.injector
        self.clock = self.lib.clock
        self.bench: Any = self.lib.bench

    def open(self, name: str = GPIB) -> Any:
        """A session with 1 s of time-out."""
        return self.manager.open_resource(name, timeout=1000, read_termination="\r\n", write_termination="\r\n")


@pytest.fixture
def lab() -> Iterator[Any]:
    labs: list[Lab] = []

    def make(*rules: dict[str, Any], seed: int = 1) -> Lab:
        labs.append(Lab(list(rules), seed))
        return labs[-1]

    yield make
    for made in labs:
        made.manager.close()


def fails(session: Any, code: StatusCode, query: str = "*OPC?") -> None:
    with pytest.raises(VisaIOError) as caught:
        session.query(query)
    assert caught.value.error_code == code


# Files


def test_every_packaged_profile_is_sound_and_says_what_it_is() -> None:
    assert len(profiles()) == 14
    for name in profiles():
        profile = FaultProfile.load(name)
        assert profile.description.endswith(".")
        assert profile.rules
    assert {rule.fault for name in profiles() for rule in FaultProfile.load(name).rules} == set(SETTINGS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{fault: fire}]", "fault 'fire' is unknown; known: lost-write"),
        ("rules: [{fault: lost-reply, chance: 2}]", "chance 2 must be a number 0..1"),
        ("rules: [{fault: lost-reply, chanse: 0.1}]", "unknown setting 'chanse'"),
        ("rules: [{fault: late-reply}]", "delay: is required"),
        ("rules: [{fault: late-reply, delay: 3 V}]", "is not a quantity in s"),
        ("rules: [{fault: dying-cell, to: gold}]", "allowed: stuck-on, stuck-off, open"),
        ("rules: [{fault: disk-full, size: -1}]", "whole number of at least 1"),
        ("rules: {}", "must have `rules:`"),
        ("[", "is not YAML"),
        ("rules: [3]", "must be a mapping"),
    ],
)
def test_a_wrong_profile_is_one_clear_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        FaultProfile.load(str(path))


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'nosuch' not found; packaged profiles: clock-steps, "):
        FaultProfile.load("nosuch")
    with pytest.raises(ConfigError, match="not found"):
        FaultProfile.load("../presets/ideal")


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["1 s", "open"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
KEYS = st.sampled_from(["fault", "resource", "chance", "at", "after", "most", "delay", "cells", "size", "texts", "to"])


@given(st.dictionaries(KEYS, VALUES), st.sampled_from(sorted(SETTINGS)))
def test_whatever_a_rule_says_it_is_read_or_refused(data: dict[str, Any], fault: str) -> None:
    try:
        rule = Rule.parse({**data, "fault": fault}, "rule")
    except ConfigError:
        return
    assert 0 <= rule.chance <= 1
    assert rule.most >= 1


def test_the_resource_string_chooses_profile_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "mute.yaml"
    path.write_text(yaml.safe_dump({"rules": [{"fault": "lost-reply"}]}))
    manager = pyvisa.ResourceManager(f"bench-rram32.yaml?faults={path}&faults_seed=7&name=chosen@twin")
    fails(manager.open_resource(GPIB, timeout=1000), StatusCode.error_timeout)
    manager.close()
    for bad in ("faults=nosuch", "faults=timeouts&faults_seed=x"):
        with pytest.raises(ConfigError):
            pyvisa.ResourceManager(f"bench-rram32.yaml?{bad}&name=bad@twin")


# On the wire


def test_lost_replies_cost_the_time_out_and_nothing_else(lab: Any) -> None:
    bench = lab({"fault": "lost-reply", "message": "[*]OPC?", "at": [2]})
    session = bench.open()
    assert session.query("*OPC?") == "1"
    before = bench.clock.now()
    fails(session, StatusCode.error_timeout)
    assert bench.clock.now() - before == pytest.approx(1.0, abs=0.05)
    assert session.query("*OPC?") == "1"


def test_lost_writes_time_out_on_gpib_and_vanish_on_a_serial_line(lab: Any) -> None:
    bench = lab({"fault": "lost-write", "at": [1], "resource": "GPIB*"}, {"fault": "lost-write", "resource": "ASRL*"})
    with pytest.raises(VisaIOError):
        bench.open().write("DV 1,0,0.1,1E-4")
    bench.open(SERIAL).write("hello")
    assert bench.injector.struck["lost-write"] == 2


def test_late_replies_come_when_something_else_is_asked(lab: Any) -> None:
    session = lab({"fault": "late-reply", "at": [1], "delay": "1.5 s"}).open()
    fails(session, StatusCode.error_timeout, "*IDN?")
    session.timeout = 2000
    assert session.read().startswith("Agilent")


def test_a_device_clear_drops_what_is_late(lab: Any) -> None:
    bench = lab({"fault": "late-reply", "at": [1], "delay": "1.5 s"})
    session = bench.open()
    fails(session, StatusCode.error_timeout, "*IDN?")
    session.clear()
    bench.clock.sleep(3)
    assert session.query("*OPC?") == "1"


def test_cut_replies_are_beginnings(lab: Any) -> None:
    session = lab({"fault": "cut-reply", "resource": "GPIB*"}).open()
    whole = "Agilent Technologies,B1500A,0,A.06.02.2023.0401"
    seen = set()
    for _ in range(8):
        session.write("*IDN?")
        try:
            seen.add(session.read_raw().decode())
        except VisaIOError:
            seen.add("")
    assert len(seen) > 3
    assert all(whole.startswith(piece) and piece != whole for piece in seen)


def test_bits_flip_both_ways(lab: Any) -> None:
    bench = lab({"fault": "bit-flips", "message": "[*]IDN?", "flips": 1})
    session = bench.open()
    session.write("*IDN?")
    assert bench.injector.struck["bit-flips"] == 1
    panel = bench.lib.instruments[GPIB].panel
    assert panel.errors.pop().code != 0  # the instrument didn't know what it got


def test_a_disconnected_instrument_needs_a_new_session(lab: Any) -> None:
    bench = lab({"fault": "disconnect", "at": [2], "for": "10 s", "resource": "GPIB*"})
    session = bench.open()
    assert session.query("*OPC?") == "1"
    fails(session, StatusCode.error_connection_lost)
    for operation in (session.read_stb, session.clear, session.read, session.assert_trigger):
        with pytest.raises(VisaIOError) as caught:
            operation()
        assert caught.value.error_code == StatusCode.error_connection_lost
    with pytest.raises(VisaIOError):
        bench.open()
    assert bench.open(SERIAL) is not None
    bench.clock.sleep(10)
    fails(session, StatusCode.error_connection_lost)
    assert bench.open().query("*OPC?") == "1"


# Around it


def test_an_entry_appears_in_the_error_queue(lab: Any) -> None:
    bench = lab({"fault": "error-entry", "message": "[*]OPC?", "code": 305, "most": 1})
    session = bench.open()
    session.query("*OPC?")
    assert session.query("ERRX?") == '+305,"Excess current in HPSMU."'
    assert session.query("ERRX?") == '+0,"No Error."'


def test_somebody_else_switches_the_board(lab: Any) -> None:
    bench = lab({"fault": "foreign-frame", "at": [1], "frame": "MODE COMPUTE"})
    bench.open().query("*OPC?")
    assert bench.bench.fixture.mode == "compute"


def test_a_short_circuit_comes_and_goes(lab: Any) -> None:
    bench = lab({"fault": "short-circuit", "at": [1], "siemens": "1 mS", "for": "2 s"})
    session = bench.open()
    session.query("*OPC?")
    assert bench.bench.fixture.shunt == 1e-3
    bench.clock.sleep(2)
    session.query("*OPC?")
    assert bench.bench.fixture.shunt == 0.0


def test_cells_stick_and_break(lab: Any) -> None:
    bench = lab(
        {"fault": "stuck-cells", "at": [1], "cells": 5, "to": "stuck-on"},
        {"fault": "dying-cell", "at": [2], "to": "open"},
    )
    session, cells = bench.open(), bench.bench.chip.cells
    before = (cells["stuck"] == 1).sum()
    session.query("*OPC?")
    assert 0 < (cells["stuck"] == 1).sum() - before <= 5
    bench.bench.fixture.connect("program", 1, 2, 3)
    session.query("*OPC?")
    assert cells["v_t"][1, 2, 3] == 1e3


def test_the_date_steps_and_the_clock_does_not(lab: Any) -> None:
    bench = lab({"fault": "clock-step", "at": [1], "step": "-31536000 s"})
    session, year = bench.open(), int(wall_time()[:4])
    before = bench.clock.now()
    session.query("*OPC?")
    assert int(bench.lib.wall_time()[:4]) in (year - 1, year - 2)
    assert before <= bench.clock.now() < before + 1


def test_the_disk_is_full_until_the_bench_is_closed(lab: Any) -> None:
    bench = lab({"fault": "disk-full", "at": [1], "size": 4096})
    bench.open().query("*OPC?")
    assert bench.disk == [4096]
    bench.injector.close()
    assert bench.disk == [4096, None]


def test_the_size_of_files_is_limited_and_freed(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        limit_file_size(1000)
        with pytest.raises(OSError, match="too large"):
            (tmp_path / "big").write_bytes(bytes(2000))
        limit_file_size(None)
        (tmp_path / "big").write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# When


def test_rules_keep_to_their_time_and_number(lab: Any) -> None:
    bench = lab({"fault": "lost-reply", "after": "5 s", "until": "20 s", "most": 2})
    session = bench.open()
    outcomes = ""
    for _ in range(12):
        try:
            session.query("*OPC?")
            outcomes += "."
        except VisaIOError:
            outcomes += "x"
        bench.clock.sleep(2)
    assert outcomes == "...xx......."


def test_chance_is_the_seeds_and_never_the_chips(lab: Any) -> None:
    rule = {"fault": "lost-reply", "chance": 0.3}

    def pattern(bench: Lab) -> str:
        session, seen = bench.open(), ""
        for _ in range(40):
            try:
                session.query("*OPC?")
                seen += "."
            except VisaIOError:
                seen += "x"
        return seen

    first, again, other = lab(rule), lab(rule), lab(rule, seed=2)
    assert pattern(first) == pattern(again) != pattern(other)
    assert 4 <= pattern(first).count("x") <= 22
    assert first.bench.rng("sense").random() == lab().bench.rng("sense").random()


# Drivers


def test_spoilt_replies_of_the_analyzer_are_refused_in_our_own_words() -> None:
    told = fuzz_analyzer(np.random.default_rng(2), 400)
    assert told["returned"] > 50
    assert told["refused"] > 50


def test_spoilt_replies_of_the_board_are_refused_in_our_own_words() -> None:
    told = fuzz_board(np.random.default_rng(3), 400)
    assert told["returned"] > 50
    assert told["refused"] > 50
