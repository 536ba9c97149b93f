import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.clock import VirtualClock
from instruments.station_file import StationFile
from workflows.errors import RequestError, WorkflowError
from workflows.locking import InstrumentKey, LockBusy, LockLost, StationLocks, instrument_keys, status
from workflows.locking.keys import physical_name
from workflows.locking.os_lock import OsLock, reach_of
from workflows.locking.records import OwnerRecord, decode_lock, encode_lock

CHILD = Path(__file__).with_name("lock_child.py")
ANALYZER, BOARD, SCOPE = (InstrumentKey(name) for name in ("GPIB0::17 at here", "ASRL1 at here", "TCPIP::10.0.0.7"))


class Script:
    """A clock whose every sleep does the next thing on a list; with nothing left to happen, waiting is an error."""

    is_virtual = False

    def __init__(self, *steps):
        self.steps, self.seconds = list(steps), 0.0

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds
        assert self.steps, "waits for ever"
        self.steps.pop(0)()


def nothing():
    pass


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "locks"


@pytest.fixture
def locks(folder):
    return StationLocks(folder, host="here", poll=0.005, wall=lambda: "2026-01-02T12:03:04.000+00:00")


@pytest.fixture
def child(folder):
    started = []

    def start(run, *keys, priority=0, log=None):
        words = [sys.executable, str(CHILD), str(folder), run, str(priority), *(key.name for key in keys)]
        environment = {**os.environ, **({"LOCK_CHILD_LOG": str(log)} if log else {})}
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def said(process):
    return process.stdout.readline().strip()


def tell(process, text):
    process.stdin.write(text + "\n")
    process.stdin.flush()


def slain(process):
    process.kill()
    process.wait()


def taken(locks, *keys, run="mine", **more):
    return locks.acquire_keys(keys, run=run, owner="bob", **more)


def states(folder):
    return {info.instrument: info.state for info in status(folder)}


def leftovers(folder):
    return os.listdir(folder / "waiting")


class TestOneOwner:
    def test_is_refused_while_another_process_holds_and_served_when_it_releases(self, locks, child):
        other = child("theirs", ANALYZER, BOARD)
        assert said(other) == "held -"
        with pytest.raises(
            LockBusy, match=r"run theirs of alice on here since .* UTC: ASRL1 at here, GPIB0::17 at here"
        ):
            taken(locks, ANALYZER, BOARD, wait=False)
        tell(other, "release")
        assert said(other) == "released"
        with taken(locks, ANALYZER, BOARD, wait=False) as held:
            held.check()
            assert held.previous is None

    def test_two_runs_of_one_process_exclude_each_other(self, locks):
        with (
            taken(locks, ANALYZER),
            pytest.raises(LockBusy, match="run mine of bob on here since 2026-01-02 12:03 UTC"),
        ):
            taken(locks, ANALYZER, run="second", wait=False)
        taken(locks, ANALYZER, run="second", wait=False).release()

    def test_a_run_that_would_wait_for_itself_is_told_so(self, locks):
        with taken(locks, ANALYZER), pytest.raises(LockBusy, match="would wait for itself"):
            taken(locks, ANALYZER)

    def test_is_released_on_an_exception(self, locks, child, folder):
        other = child("theirs", ANALYZER)
        assert said(other) == "held -"
        tell(other, "raise")
        assert other.wait() == 3
        assert states(folder) == {ANALYZER.name: "free"}
        taken(locks, ANALYZER, wait=False).release()

    def test_waits_no_longer_than_it_is_given(self, locks, folder):
        clock = Script(*[nothing] * 200)
        with taken(locks, ANALYZER), pytest.raises(LockBusy, match=r"busy after 0\.5 s"):
            taken(locks, ANALYZER, run="second", wait=0.5, clock=clock)
        assert 0.5 <= clock.now() < 0.5 + locks.poll
        assert leftovers(folder) == []

    def test_an_interrupted_waiter_leaves_the_queue(self, locks, folder):
        def interrupt():
            assert len(leftovers(folder)) == 1
            raise KeyboardInterrupt

        with taken(locks, ANALYZER), pytest.raises(KeyboardInterrupt):
            taken(locks, ANALYZER, run="second", clock=Script(interrupt))
        assert leftovers(folder) == []

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.sets(st.sampled_from("abc"), min_size=1)), max_size=20))
    def test_any_series_of_requests_and_releases_agrees_with_a_set_of_names(self, tmp_path_factory, series):
        locks = StationLocks(tmp_path_factory.mktemp("series") / "locks", host="here")
        model: dict[int, tuple[set[str], object]] = {}
        for who, names in series:
            if who in model:
                model.pop(who)[1].release()
                continue
            keys = [InstrumentKey(name) for name in names]
            if any(names & others for others, _ in model.values()):
                with pytest.raises(LockBusy):
                    locks.acquire_keys(keys, run=str(who), wait=False)
            else:
                model[who] = names, locks.acquire_keys(keys, run=str(who), wait=False)
        busy = set().union(*(names for names, _ in model.values()))
        assert {info.instrument for info in locks.status() if info.state == "held"} == busy
        for _, held in model.values():
            held.release()


class TestDeath:
    def test_a_killed_owner_hands_over_and_its_successor_is_told(self, locks, child, folder):
        other = child("theirs", ANALYZER, BOARD)
        assert said(other) == "held -"
        waits = []
        held = taken(locks, ANALYZER, SCOPE, clock=Script(nothing, lambda: slain(other)), told=waits.append)
        with held:
            assert [str(w).startswith("waiting for run theirs of alice on here since") for w in waits] == [True]
            assert held.previous.run == "theirs"
            assert list(held.abandoned) == [ANALYZER]
            assert "died without releasing; its outputs may be on: make safe first" in held.previous.trouble
            held.made_safe()
        with taken(locks, ANALYZER, wait=False) as held:
            assert held.previous is None
        assert states(folder) == {BOARD.name: "abandoned", ANALYZER.name: "free", SCOPE.name: "free"}

    def test_is_told_again_until_somebody_made_it_safe(self, locks, child):
        other = child("theirs", ANALYZER)
        said(other)
        slain(other)
        for _ in range(2):  # the first could not open the station, say
            with taken(locks, ANALYZER, SCOPE, wait=False) as held:
                assert held.previous.run == "theirs"
        assert [(info.state, info.owner and info.owner.run) for info in locks.status()] == [
            ("abandoned", "theirs"),
            ("free", None),
        ]
        with taken(locks, ANALYZER, wait=False) as held:
            held.made_safe()
        with taken(locks, ANALYZER, wait=False) as held:
            assert held.previous is None

    def test_nothing_but_a_name_is_left_by_a_kill(self, locks, child, folder):
        for _ in range(3):
            other = child("theirs", ANALYZER)
            said(other)
            slain(other)
        assert len(list((folder / "instruments").iterdir())) == 1
        taken(locks, ANALYZER, wait=False).release()

    def test_a_killed_waiter_holds_up_nobody(self, locks, child, folder):
        with taken(locks, ANALYZER):
            first, second = child("first", ANALYZER), None
            assert "number 1 in the queue" in said(first)
            second = child("second", ANALYZER)
            assert "number 2 in the queue" in said(second)
            slain(first)
            assert said(second).endswith("number 1 in the queue")
            assert len(leftovers(folder)) == 1
        assert said(second) == "held -"

    def test_a_stopped_waiter_is_passed_by_and_served_when_it_goes_on(self, locks, child):
        with taken(locks, ANALYZER):
            other = child("stopped", ANALYZER)
            said(other)
            # The gate kept shut means that it sleeps, or waits for the gate, but never holds it when it is stopped.
            gate = OsLock(locks.folder / "queue.lock")
            while not gate.try_lock():
                pass
            other.send_signal(signal.SIGSTOP)
            os.waitpid(other.pid, os.WUNTRACED)
            gate.close()
        with taken(locks, ANALYZER, wait=False):
            other.send_signal(signal.SIGCONT)
        assert said(other) == "held -"

    def test_outputs_left_on_are_told_like_a_death(self, locks):
        with taken(locks, ANALYZER, BOARD) as held:
            held.left_unsafe("analyzer did not answer")
        assert [info.state for info in locks.status()] == ["abandoned", "abandoned"]
        with taken(locks, BOARD, wait=False) as held:
            assert held.previous.unsafe == "analyzer did not answer"
            assert "released it, but its outputs may be on: analyzer did not answer" in held.previous.trouble

    def test_a_damaged_record_counts_as_an_unknown_owner(self, locks, folder):
        taken(locks, ANALYZER).release()
        (file,) = (folder / "instruments").iterdir()
        file.write_bytes(b'{"instrument": "GPIB0::17 at he')
        assert status(folder)[0].state == "abandoned"
        with taken(locks, ANALYZER, wait=False) as held:
            assert "an unknown run" in held.previous.trouble

    def test_an_owner_that_still_dies_is_waited_for(self, locks, folder):
        # Its lock is free but the process is there: as when the kernel has yet to close the instrument's port.
        parent = OwnerRecord.of_this_process("theirs", "alice", "here", "2026-01-02T12:00:00+00:00")
        stat = Path(f"/proc/{os.getppid()}/stat")
        start = int(stat.read_text().rpartition(")")[2].split()[19])
        taken(locks, ANALYZER).release()
        (file,) = (folder / "instruments").iterdir()
        alive = encode_lock(ANALYZER.name, replace(parent, pid=os.getppid(), process_start=start))
        gone = encode_lock(ANALYZER.name, replace(parent, pid=os.getppid(), process_start=start - 1))
        file.write_bytes(alive)
        with pytest.raises(LockBusy, match="run theirs"):
            taken(locks, ANALYZER, wait=False)
        clock = Script(nothing, lambda: file.write_bytes(gone))
        with taken(locks, ANALYZER, clock=clock) as held:
            assert held.previous.run == "theirs"
            assert not clock.steps

    def test_what_could_not_be_noted_is_let_go_as_it_was(self, locks, monkeypatch):
        def full(fd):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(RequestError, match="No space left on device"):
            taken(locks, ANALYZER)
        monkeypatch.undo()
        assert [info.state for info in locks.status()] == ["free"]


class TestQueue:
    def test_goes_by_priority_then_by_arrival(self, locks, child, tmp_path):
        log = tmp_path / "log"
        with taken(locks, ANALYZER):
            order = [("a", 0), ("b", 0), ("urgent", 5), ("late", -5), ("c", 0), ("urgent2", 5)]
            children = []
            for run, priority in order:
                children.append(child(run, ANALYZER, priority=priority, log=log))
                assert said(children[-1]).startswith("waiting for run mine")
            (info,) = locks.status()
            assert [who.run for who in info.waiting] == ["urgent", "urgent2", "a", "b", "c", "late"]
        for process in children:
            process.wait()
        assert log.read_text().split() == ["urgent", "urgent2", "a", "b", "c", "late"]

    def test_who_comes_back_at_once_goes_behind_who_waits(self, locks, child):
        held = taken(locks, ANALYZER)
        other = child("theirs", ANALYZER)
        said(other)
        held.release()
        again = taken(
            locks, ANALYZER, run="again", clock=Script(lambda: (said(other), tell(other, "release")), other.wait)
        )
        assert other.wait() == 0
        again.release()

    def test_who_may_not_wait_does_not_push_in(self, locks, child):
        held = taken(locks, ANALYZER, BOARD)
        other = child("theirs", ANALYZER, BOARD)
        said(other)
        os.kill(other.pid, 0)
        with pytest.raises(LockBusy, match=r"run mine .*number 2 in the queue"):
            taken(locks, BOARD, run="pushy", wait=False)
        held.release()

    def test_a_station_takes_all_or_nothing_and_is_not_starved_by_its_parts(self, locks, child):
        part = taken(locks, ANALYZER)
        other = child("both", ANALYZER, BOARD)
        assert "GPIB0::17 at here" in said(other)
        assert {i.instrument: i.state for i in locks.status()} == {ANALYZER.name: "held", BOARD.name: "free"}
        with pytest.raises(LockBusy, match=r"run both .*who is before us: ASRL1 at here"):
            taken(locks, BOARD, run="small", wait=False)
        with taken(locks, SCOPE, run="apart", wait=False):
            part.release()
            assert said(other) == "held -"

    def test_two_stations_that_share_one_instrument_both_get_through(self, locks, child, tmp_path):
        log = tmp_path / "log"
        with taken(locks, ANALYZER):
            one, two = child("one", BOARD, ANALYZER, log=log), child("two", ANALYZER, SCOPE, log=log)
            assert all(said(process).startswith("waiting for run mine") for process in (one, two))
        assert one.wait() == two.wait() == 0
        assert sorted(log.read_text().split()) == ["one", "two"]

    def test_says_anew_when_it_waits_for_another(self, locks, child):
        held, waits = taken(locks, ANALYZER), []
        other = child("theirs", ANALYZER, priority=1)
        said(other)

        def pass_on():
            held.release()
            assert said(other) == "held -"

        clock = Script(nothing, pass_on, nothing, lambda: (tell(other, "release"), other.wait()))
        with taken(locks, ANALYZER, run="me", clock=clock, told=waits.append):
            pass
        assert [(w.blockers[0].who.run, w.position) for w in waits] == [("mine", 2), ("theirs", 1)]

    def test_a_gate_kept_shut_is_an_error_not_a_hang(self, locks, folder):
        gate = OsLock(folder / "queue.lock")
        assert gate.try_lock()
        with pytest.raises(LockBusy, match="stopped process"):
            taken(locks, ANALYZER, clock=Script(*[nothing] * 20_000))
        gate.close()
        taken(locks, ANALYZER, wait=False).release()


class TestForks:
    def test_a_forked_child_neither_has_the_lock_nor_keeps_it_nor_frees_it(self, locks, child):
        other = child("theirs", ANALYZER)
        said(other)
        tell(other, "fork")
        word, pid = said(other).split()
        try:
            assert word == "forked"  # its check failed, and it called release
            with pytest.raises(LockBusy):
                taken(locks, ANALYZER, wait=False)
            slain(other)
            with taken(locks, ANALYZER, wait=False) as held:
                assert held.previous.run == "theirs"
                os.kill(int(pid), 0)  # the child outlives its parent
        finally:
            os.kill(int(pid), signal.SIGKILL)

    def test_a_started_program_does_not_inherit_it(self, locks):
        words = [sys.executable, "-c", "print(flush=True); input()"]
        with (
            taken(locks, ANALYZER),
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as program,
        ):
            program.stdout.readline()
            files = [os.readlink(f"/proc/{program.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{program.pid}/fd")]
            program.communicate(b"\n")
        assert files
        assert not [file for file in files if str(locks.folder) in file]


class TestCheck:
    def test_fails_once_released(self, locks):
        held = taken(locks, ANALYZER)
        held.check()
        held.release()
        held.release()
        with pytest.raises(LockLost, match="has released"):
            held.check()

    def test_sees_a_lock_file_removed_by_hand(self, locks, folder):
        with taken(locks, ANALYZER) as held:
            next((folder / "instruments").iterdir()).unlink()
            with pytest.raises(LockLost, match="removed or replaced"):
                held.check()
        assert states(folder) == {}

    def test_of_nothing_is_fine(self, locks):
        with taken(locks) as held:
            held.check()
            assert held.previous is None


class TestStatus:
    def test_of_a_folder_never_used_is_empty(self, tmp_path):
        assert status(tmp_path / "none") == []
        assert not (tmp_path / "none").exists()

    def test_tells_who_holds_what_and_who_waits(self, locks, child, folder):
        taken(locks, SCOPE).release()
        with taken(locks, ANALYZER):
            other = child("theirs", ANALYZER, BOARD)
            said(other)
            board, analyzer, scope = status(folder)
            assert (board.instrument, board.state, board.waiting[0].run) == (BOARD.name, "free", "theirs")
            assert (scope.state, scope.owner, scope.waiting) == ("free", None, ())
            assert analyzer.owner.pid == os.getpid()
            assert analyzer.waiting[0].pid == other.pid
            assert str(analyzer).startswith(
                "GPIB0::17 at here: held by run mine of bob on here since 2026-01-02 12:03 UTC; waiting: run theirs of"
            )

    @given(st.binary(max_size=300))
    def test_reads_any_page(self, data):
        name, owner = decode_lock(data)
        assert isinstance(name, str)
        assert owner is None or isinstance(str(owner), str)

    @given(st.text(max_size=900), st.text(max_size=900), st.text(max_size=900))
    def test_a_record_fits_its_page_whatever_it_says(self, name, run, owner):
        record = OwnerRecord.of_this_process(run, owner, owner, "2026-01-02T12:00:00+00:00")
        page = encode_lock(name, replace(record, unsafe=name))
        assert len(page) == 4096
        assert decode_lock(page)[1] == replace(record, unsafe=name).bounded()


class TestKeys:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("GPIB0::17::INSTR", "GPIB::17"),
            ("GPIB0::17::INSTR", "gpib0::17::instr"),
            ("GPIB0::17::INSTR", "GPIB0::17::1::INSTR"),
            ("TCPIP0::10.0.0.7::inst0::INSTR", "TCPIP::10.0.0.7::5025::SOCKET"),
            ("TCPIP::scope.lab::hislip0::INSTR", "TCPIP1::Scope.Lab.::INSTR"),
            ("USB0::0x0957::0x1796::MY1::INSTR", "USB::2391::6038::MY1::0::INSTR"),
            ("ASRL/dev/ttyUSB0::INSTR", "ASRL/dev/../dev/ttyUSB0"),
        ],
    )
    def test_spellings_of_one_instrument_are_one(self, one, other):
        assert physical_name(one, "pc") == physical_name(other, "pc")

    def test_different_instruments_are_different(self):
        resources = (
            "GPIB0::17",
            "GPIB0::18",
            "GPIB1::17",
            "ASRL1",
            "ASRL2",
            "TCPIP::a",
            "TCPIP::b",
            "COM3",
            "GPIB0::INTFC",
        )
        names = [physical_name(resource, "pc") for resource in resources]
        assert len(set(names)) == len(names)
        assert len({InstrumentKey(name).file_name for name in names}) == len(names)

    @pytest.mark.parametrize(
        ("resource", "shared"),
        [("GPIB0::17", False), ("ASRL/dev/ttyS0", False), ("TCPIP::10.0.0.7", True), ("TCPIP::127.0.0.1", False)],
    )
    def test_only_what_is_on_the_network_is_one_for_all_machines(self, resource, shared):
        assert (physical_name(resource, "pc1") == physical_name(resource, "pc2")) is shared

    def test_of_the_packaged_laboratory(self):
        keys = instrument_keys(StationFile.load("station-lab.yaml"), host="pc")
        assert {"board ASRL/dev/ttyUSB0 at pc", "analyzer GPIB0::17 at pc"} <= set(map(str, keys))

    def test_of_a_twin_are_its_bench(self, tmp_path):
        twin = StationFile.load("station-twin.yaml")
        (tmp_path / "link").symlink_to(tmp_path / "bench")
        assert instrument_keys(twin, host="pc") == ()
        (key,) = instrument_keys(twin, host="pc", bench=tmp_path / "bench")
        assert instrument_keys(twin, host="pc", bench=tmp_path / "link") == (key,)
        there = replace(twin, twin={"dir": str(tmp_path / "bench")})
        assert instrument_keys(there, host="pc") == (key,)
        assert instrument_keys(there, host="pc", bench="") == ()

    def test_a_twin_is_locked_by_its_station_file(self, locks, tmp_path):
        twin = StationFile.load("station-twin.yaml")
        with (
            locks.acquire(twin, run="one", bench=tmp_path / "bench"),
            locks.acquire(twin, run="two", wait=False, bench=tmp_path / "other"),
            pytest.raises(LockBusy, match=f"run one of .*: bench twin {tmp_path}/bench"),
        ):
            locks.acquire(twin, run="three", wait=False, bench=tmp_path / "bench")


class TestFolder:
    ROOT = "21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
    NFS = "40 21 0:50 / {point} rw,relatime shared:2 - nfs4 server:/x rw,vers=4.2,local_lock={local}\n"

    def test_knows_how_far_its_locks_reach(self, tmp_path):
        nfs = self.NFS.format(point=tmp_path, local="none")
        assert reach_of(tmp_path, self.ROOT) == "this machine"
        assert reach_of(tmp_path / "deeper", self.ROOT + nfs) == "machines"
        assert reach_of(Path(f"{tmp_path}-beside"), self.ROOT + nfs) == "this machine"
        assert reach_of(tmp_path, self.ROOT + nfs.replace("nfs4", "fuse.sshfs")) == "unknown"
        assert reach_of(tmp_path, "") == "unknown"

    def test_refuses_a_mount_that_keeps_locks_to_itself(self, tmp_path):
        spaced = tmp_path / "with space"
        spaced.mkdir()
        point = str(spaced).replace(" ", "\\040")
        with pytest.raises(RequestError, match="local_lock=all"):
            reach_of(spaced, self.ROOT + self.NFS.format(point=point, local="all"))

    def test_that_can_not_be_used_is_told_in_a_sentence(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RequestError, match="can't be used"):
            StationLocks(tmp_path / "file")

    def test_follows_no_link_out_of_it(self, locks, folder, tmp_path):
        precious = tmp_path / "precious"
        precious.write_text("kept")
        (folder / "instruments" / ANALYZER.file_name).symlink_to(precious)
        with pytest.raises(RequestError):
            taken(locks, ANALYZER)
        assert precious.read_text() == "kept"

    def test_is_shared_with_whom_its_own_permissions_say(self, tmp_path):
        (tmp_path / "group").mkdir()
        (tmp_path / "group").chmod(0o770)
        with taken(StationLocks(tmp_path / "group"), ANALYZER):
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "group").rglob("*")}
        assert modes == {"instruments": 0o770, "waiting": 0o770, "queue.lock": 0o660, ANALYZER.file_name: 0o660}

    def test_takes_strangers_files_for_no_tickets(self, locks, folder):
        (folder / "waiting" / "notes.txt").write_text("hello")
        (folder / "waiting" / "0000000001-0123abcd.json").write_text("{torn")
        taken(locks, ANALYZER, wait=False).release()
        assert leftovers(folder) == ["notes.txt"]

    @pytest.mark.parametrize("bad", [{"run": ""}, {"wait": -1.0}, {"wait": float("nan")}])
    def test_a_senseless_request_is_refused(self, locks, bad):
        with pytest.raises(WorkflowError):
            taken(locks, ANALYZER, **bad)

    def test_simulated_time_is_refused(self, locks):
        with pytest.raises(ValueError, match="real time"):
            taken(locks, ANALYZER, clock=VirtualClock())


def test_a_release_in_any_order_is_harmless(locks):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(taken(locks, ANALYZER))
        stack.enter_context(taken(locks, BOARD, run="second"))
        first.release()
        stack.enter_context(taken(locks, ANALYZER, run="third", wait=False)).check()
