"""Files as a careless hand, a bad disk or an ill-wisher would leave them: mutations, and what they are tried on.

Each mutation is a pure function of a file's bytes and a numpy Generator, so that a number names a case for ever.
"""

import contextlib
import copy
import io
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson
import yaml

import sim_configs
from analysis.records import open_run
from analysis.records.guard import damage_told
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import USER_ERRORS

SPLINTERS = (
    b"nan", b".nan", b"inf", b"-.inf", b"1e999", b"-1e308", b"9" * 40, b"0", b"-0", b"-1", b"1_0", b"0x7f", b"010",
    b"12:30", b"2031-02-30", b"true", b"null", b"~", b"''", b'"', b"'", b"{", b"}", b"[", b"]", b"[]", b"{}", b":",
    b": ", b"- ", b"? ", b"#", b"|", b">", b"%YAML 9.9", b"---\n", b"...\n", b"&a ", b"*a", b"<<: *a",
    b"!!python/object/apply:os.system [true]", b"!!binary AAAA", b"!!timestamp 2031-01-01", b"!x ", b"\x00",
    b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b"\xe2\x80\xae", b"\xf0\x9f\x92\xa3", b"\t", b"\r",
    b"\n", b"\x1b[2J", b"\x85", b"\xe2\x80\xa8", b"../../../etc/passwd", b"/dev/zero", b"/", b"~nobody-here/x",
    b"%s%n", b"x" * 5000, b"[" * 3000, b"{a: " * 500, b"- " * 500, b"100 V", b"-100 V", b"1e9 A", b"20 parsec",
    b"1 ** 9 ** 9 V", b"@py", b"@twin", b"real", b"instruments.twin.visa:os", b"os:system", b"ASRL1::INSTR",
    b"1,5 V", b"\xc2\xb5",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**18, 10**40, 0.0, -0.0, 1e-300, 1e308, float("nan"),
    float("inf"), "", " ", "nan", "-inf V", "1e400 V", "10 V", "-10 V", "100 V", "x" * 4000, "a\x00b", "\u202e",
    "../..", "/", "~", "os:system", "instruments.twin.panels.board:Path", "instruments.twin.benchfile:BareBench", [],
    [[]], [None], {}, {"": None}, {"a": {"b": []}}, [0] * 300, "@py", "real", "simulated", "GPIB0::17::INSTR", "*",
    "* * * * *", "every 1 s", "daily 25:00", b"\xff", ["a", 1], "9999-12-31T23:59:59+00:00", "Mon-Sun 00:00-24:00",
)  # fmt: skip


def mutated(raw: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one to four accidents."""
    for _ in range(int(rng.integers(1, 5))):
        raw = _ACCIDENTS[rng.integers(len(_ACCIDENTS))](raw, rng)
    return raw[: 2 << 20]


def mutated_yaml(raw: bytes, rng: np.random.Generator) -> bytes:
    """YAML whose text, or one to three of whose values, had an accident."""
    if rng.random() < 0.4:
        return mutated(raw, rng)
    data = yaml.safe_load(raw)
    for _ in range(int(rng.integers(1, 4))):
        data = _value_replaced(data, rng)
    return yaml.safe_dump(data, allow_unicode=True, width=10**6).encode("utf-8", "surrogatepass")


def _value_replaced(data: Any, rng: np.random.Generator) -> Any:
    """Walks to a place at random and puts, moves, doubles or removes something there."""
    here, key, parent = data, None, None
    while isinstance(here, dict | list) and here and (parent is None or rng.random() < 0.75):
        parent = here
        key = list(here)[rng.integers(len(here))] if isinstance(here, dict) else int(rng.integers(len(here)))
        here = here[key]
    if parent is None:
        return VALUES[rng.integers(len(VALUES))]
    act = rng.integers(6)
    if act <= 2:
        parent[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    elif act == 3:
        del parent[key]
    elif act == 4 and isinstance(parent, dict):
        parent[str(VALUES[rng.integers(len(VALUES))])[:60]] = parent.pop(key)
    elif isinstance(parent, list):
        parent.extend(copy.deepcopy(parent[:1]) * int(rng.integers(1, 200)))
    elif isinstance(here, int | float) and not isinstance(here, bool):
        parent[key] = float(here) * 10.0 ** int(rng.integers(-20, 21))
    else:
        parent[key] = [here, here]
    return data


def _flip(raw: bytes, rng: np.random.Generator) -> bytes:
    if not raw:
        return raw
    changed = bytearray(raw)
    for _ in range(int(rng.integers(1, 9))):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(raw: bytes, rng: np.random.Generator) -> bytes:
    return raw[: rng.integers(len(raw) + 1)]


def _span(raw: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(raw) + 1))
    return start, min(start + int(rng.integers(1, 40)), len(raw))


def _drop(raw: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(raw, rng)
    return raw[:start] + raw[stop:]


def _splinter(raw: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(raw) + 1))
    return raw[:at] + SPLINTERS[rng.integers(len(SPLINTERS))] + raw[at:]


def _words(raw: bytes) -> list[bytes]:
    return [word for word in raw.replace(b",", b" ").split() if word]


def _swap(raw: bytes, rng: np.random.Generator) -> bytes:
    words = _words(raw)
    if len(words) < 2:
        return raw
    one, two = (words[i] for i in rng.integers(len(words), size=2))
    return raw.replace(one, two, 1) if rng.random() < 0.5 else raw.replace(one, two)[: 1 << 20]


def _replace_word(raw: bytes, rng: np.random.Generator) -> bytes:
    words = _words(raw)
    return raw.replace(words[rng.integers(len(words))], SPLINTERS[rng.integers(len(SPLINTERS))], 1) if words else raw


def _double_line(raw: bytes, rng: np.random.Generator) -> bytes:
    lines = raw.splitlines(keepends=True)
    if not lines:
        return raw
    at = int(rng.integers(len(lines)))
    return b"".join([*lines[: at + 1], lines[at] * int(rng.integers(1, 4)), *lines[at + 1 :]])


def _indent(raw: bytes, rng: np.random.Generator) -> bytes:
    lines = raw.splitlines(keepends=True)
    if not lines:
        return raw
    at = int(rng.integers(len(lines)))
    lines[at] = b" " * int(rng.integers(1, 9)) + lines[at] if rng.random() < 0.5 else lines[at].lstrip()
    return b"".join(lines)


def _noise(raw: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(raw, rng)
    return raw[:start] + rng.bytes(stop - start) + raw[stop:]


_ACCIDENTS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _flip, _cut, _drop, _splinter, _splinter, _swap, _replace_word, _replace_word, _double_line, _indent, _noise,
)  # fmt: skip


def mutated_journal(raw: bytes, rng: np.random.Generator) -> bytes:
    """A journal whose bytes, or one of whose records had an accident; then with a checksum that fits."""
    if rng.random() < 0.4:
        return mutated(raw, rng)
    lines = raw.splitlines()
    for _ in range(int(rng.integers(1, 3))):
        # The header and what is rare are as likely as the many reads and pulses.
        at = int(rng.choice([0, len(lines) - 1, rng.integers(len(lines))]))
        try:
            record = _value_replaced(orjson.loads(lines[at]), rng)
            record.pop("crc", None)
            body = orjson.dumps(record, default=str)
        except (TypeError, ValueError, AttributeError, RecursionError):
            continue
        lines[at] = body[:-1] + b',"crc":"%08x"}' % zlib.crc32(body)
    return b"\n".join(lines) + b"\n"


def mutated_hdf5(raw: bytes, rng: np.random.Generator) -> bytes:
    """HDF5 with flipped bits, cut, or spoilt by whoever knows the format."""
    act = rng.random()
    if act < 0.35:
        return _flip(raw, rng)
    if act < 0.45:
        return _cut(raw, rng)
    if act < 0.6:
        start = int(rng.integers(len(raw)))
        return (raw[:start] + rng.bytes(int(rng.integers(1, 600))) + raw[start:])[: len(raw)]
    if act < 0.7:
        changed = bytearray(raw)
        start = int(rng.integers(len(raw)))
        changed[start : start + 512] = bytes(len(changed[start : start + 512]))
        return bytes(changed)
    memory = io.BytesIO(raw)
    with h5py.File(memory, "r+") as file:
        for _ in range(int(rng.integers(1, 4))):
            _spoil(file, rng)
    return memory.getvalue()


def _spoil(file: h5py.File, rng: np.random.Generator) -> None:
    names: list[str] = []
    file.visit(names.append)
    if not names:
        return
    name = names[rng.integers(len(names))]
    parent, item = file[name].parent, file[name]
    act = rng.integers(10)
    if act == 0 and len(item.attrs):
        key = list(item.attrs)[rng.integers(len(item.attrs))]
        item.attrs[key] = (1, "x", np.nan, -1, "simulated", b"\xff", np.arange(3), "real")[rng.integers(8)]
        return
    last = name.rsplit("/", 1)[-1]
    del parent[last]
    if act == 1:
        parent[last] = h5py.ExternalLink("../secret.h5", "/entry")
    elif act == 2:
        parent[last] = h5py.SoftLink("/entry/no/such/place")
    elif act == 3:
        parent.create_dataset(last, (2**40,), "f8", chunks=(1024,), compression="gzip")
    elif act == 4:
        parent[last] = "text where none was due"
    elif act == 5:
        parent[last] = np.full((3, 2), np.nan)
    elif act == 6:
        parent[last] = np.arange(5, dtype="i8") - 2**62
    elif act == 7:
        parent.create_group(last)
    elif act == 8 and "entry" in file:
        parent[last] = file["/entry"]


# What they are tried on


@dataclass
class Watch:
    """Notes what a piece of code opens for writing, removes, starts or connects to, outside of `allowed`."""

    allowed: tuple[str, ...]
    found: list[str] = field(default_factory=list)
    on: bool = False
    _hooked: bool = False

    def _told(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if not writes or not isinstance(path, str | bytes | os.PathLike):
                return
            self._note(event, path)
        elif event in ("os.remove", "os.mkdir", "os.rename", "os.symlink", "os.chmod", "shutil.rmtree"):
            self._note(event, arguments[1] if event == "os.rename" else arguments[0])
        elif event in ("subprocess.Popen", "os.system", "os.exec", "socket.connect", "pty.spawn", "ctypes.dlopen"):
            self.found.append(f"{event} {arguments[0]!r:.200}")

    def _note(self, event: str, path: Any) -> None:
        place = os.path.abspath(os.fsdecode(path))
        if "__pycache__" not in place and not place.startswith((*self.allowed, "/dev/null", "/dev/pts")):
            self.found.append(f"{event} {place}")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """For the duration of a block."""
        if not self._hooked:
            sys.addaudithook(self._told)
            self._hooked = True
        self.on = True
        try:
            yield
        finally:
            self.on = False


@dataclass(frozen=True)
class Outcome:
    """How a case ended: its exit code (0 or 2, as a command's), what was said, and what must not have happened."""

    code: int
    said: str
    wrong: str = ""


def tried(work: Callable[[], object]) -> Outcome:
    """What a person would see of it."""
    try:
        work()
    except USER_ERRORS as error:
        said = str(error)
        return Outcome(2, said, "" if said and "\n" not in said and len(said) < 4000 else f"no sentence: {said!r:.300}")
    return Outcome(0, "")


def command(*words: str | Path) -> Outcome:
    """`ohmflow WORDS` in this process; its end as a person would see it."""
    from workflows import cli

    before, out = sys.argv, io.StringIO()
    sys.argv = ["ohmflow", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = cli._run()
    finally:
        sys.argv = before
    said = out.getvalue()
    wrong = "" if code in (0, 2) else f"exit code {code}"
    return Outcome(code, said, wrong or ("traceback" if "Traceback" in said else ""))


@dataclass(frozen=True)
class Bed:
    """A folder with sound files of every kind, and their mutants' place."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Bed":
        """With a finished and an interrupted run of two cells."""
        from program_jobs import pattern, programmed

        target = pattern({(0, 0): 50.0, (0, 1): 30.0})
        programmed(folder / "runs" / "done", target, bench=folder / "chips")
        counted = iter(range(10**6))
        with contextlib.suppress(Exception):
            programmed(folder / "runs" / "stopped", target, bench=folder / "chips", stop=lambda: next(counted) > 8)
        np.save(folder / "pattern.npy", target)
        np.savetxt(folder / "pattern.csv", target, delimiter=",")
        (folder / "case").mkdir()
        return cls(folder)

    def fresh(self) -> Path:
        """The mutants' place, emptied."""
        place = self.folder / "case"
        shutil.rmtree(place)
        place.mkdir()
        return place


def packaged(name: str) -> bytes:
    """A packaged file's bytes."""
    return sim_configs.path(name).read_bytes()


def station_text(**changes: Any) -> bytes:
    """The packaged twin's station file with a changed `station:` or `twin:` section."""
    data = yaml.safe_load(packaged("station-twin.yaml"))
    for section, values in changes.items():
        data[section] = {**data.get(section, {}), **values}
    return yaml.safe_dump(data).encode()


def try_station(bed: Bed, rng: np.random.Generator) -> Outcome:
    path = bed.fresh() / "station.yaml"
    path.write_bytes(mutated_yaml(packaged("station-twin.yaml"), rng))
    return driven(path, rng)


def driven(path: Path, rng: np.random.Generator) -> Outcome:
    """Load a station file, check it as the command does, and try to pass its limits."""
    try:
        file = StationFile.load(path)
    except USER_ERRORS as error:
        return tried(_raising(error))
    if not file.simulated or not file.visa.endswith("@twin"):
        return Outcome(0, "")  # nothing to drive here
    outcome = command("station", "check", path)
    if outcome.code or outcome.wrong:
        return outcome
    with Station.open(file, dir=None) as station:
        for _ in range(3):
            cell = [int(rng.integers(-1, n + 1)) for n in file.shape]
            volts, gate, width = rng.uniform(-12, 12), rng.uniform(-12, 12), 10 ** rng.uniform(-9, 0)
            with contextlib.suppress(*USER_ERRORS):
                station.array.select(*cell)
                station.array.read()
                station.array.pulse(("set", "reset")[rng.integers(2)], volts, gate, width)
        wrong = beyond(file, station.bench.ledger.table())
    return Outcome(0, "", wrong)


def beyond(file: StationFile, drives: Any) -> str:
    """Whether a drive that the twin saw passes the station's limits."""
    limits, slack = file.limits, 1.001
    for drive in drives:
        kind, volts, gate = drive["kind"].decode(), abs(float(drive["volts"])), float(drive["gate"])
        line = {"set": limits.bit_line, "reset": limits.source_line}.get(kind, limits.read)
        most = max(abs(line.low), abs(line.high)) * slack + 1e-9
        if volts > most or not limits.word_line.low * slack - 1e-9 <= gate <= limits.word_line.high * slack + 1e-9:
            return f"a {kind} of {volts:g} V at a gate of {gate:g} V passes the limits"
    return ""


def _raising(error: Exception) -> Callable[[], object]:
    def work() -> None:
        raise error

    return work


def try_bench(bed: Bed, rng: np.random.Generator) -> Outcome:
    place = bed.fresh()
    (place / "bench.yaml").write_bytes(mutated_yaml(packaged("bench-rram32.yaml"), rng))
    (place / "station.yaml").write_bytes(station_text(station={"visa": f"{place / 'bench.yaml'}@twin"}))
    return command("station", "check", place / "station.yaml")


def try_preset(bed: Bed, rng: np.random.Generator) -> Outcome:
    place = bed.fresh()
    names = [f"presets/{name}.yaml" for name in sim_configs.presets()]
    (place / "preset.yaml").write_bytes(mutated_yaml(packaged(names[rng.integers(len(names))]), rng))
    (place / "station.yaml").write_bytes(station_text(twin={"preset": str(place / "preset.yaml")}))
    return command("station", "check", place / "station.yaml")


def try_faults(bed: Bed, rng: np.random.Generator) -> Outcome:
    place = bed.fresh()
    profiles = sorted(sim_configs.path("faults").glob("*.yaml"))
    (place / "faults.yaml").write_bytes(mutated_yaml(profiles[rng.integers(len(profiles))].read_bytes(), rng))
    (place / "station.yaml").write_bytes(station_text(twin={"faults": str(place / "faults.yaml"), "faults_seed": 1}))
    return command("station", "check", place / "station.yaml")


def try_schedule(bed: Bed, rng: np.random.Generator) -> Outcome:
    from workflows.flows.schedule import load_schedule

    path = bed.fresh() / "schedule.yaml"
    path.write_bytes(mutated_yaml(packaged("schedule-example.yaml"), rng))
    return tried(lambda: load_schedule(path))


def try_week(bed: Bed, rng: np.random.Generator) -> Outcome:
    from workflows.planning import load_week, plan

    path = bed.fresh() / "week.yaml"
    path.write_bytes(mutated_yaml(packaged("week-example.yaml"), rng))
    if rng.random() < 0.8:
        return tried(lambda: load_week(path))
    return tried(lambda: plan(path, bed.folder / "runs", 0, 10))


def try_pattern(bed: Bed, rng: np.random.Generator) -> Outcome:
    from workflows.procedures.job import Job
    from workflows.procedures.registry import procedure

    name = ("pattern.npy", "pattern.csv")[rng.integers(2)]
    path = bed.fresh() / name
    path.write_bytes(mutated((bed.folder / name).read_bytes(), rng))
    program = procedure("program")
    return tried(lambda: Job.prepare(program, program.options(pattern=str(path), runs=str(bed.folder / "runs"))))


def try_journal(bed: Bed, rng: np.random.Generator) -> Outcome:
    """Salvage, look at, and prepare to go on with a run whose journal had an accident."""
    from workflows.procedures.job import Job
    from workflows.procedures.registry import procedure

    run = bed.fresh() / "run"
    shutil.copytree(bed.folder / "runs" / "stopped", run)
    path = run / "journal.jsonl"
    path.write_bytes(mutated_journal(path.read_bytes(), rng))
    act = rng.integers(3)
    if act == 0:
        return command("salvage", run)
    if act == 1:
        (run / "run.h5").unlink()
        salvaged = command("salvage", run)
        return salvaged if salvaged.code or salvaged.wrong else examined(run)
    program = procedure("program")
    return tried(lambda: Job.prepare(program, program.options(resume=str(run), bench=str(bed.folder / "chips"))))


def try_run(bed: Bed, rng: np.random.Generator) -> Outcome:
    """Look at a run whose file had an accident."""
    run = bed.fresh() / "run"
    shutil.copytree(bed.folder / "runs" / "done", run)
    path = run / "run.h5"
    path.write_bytes(mutated_hdf5(path.read_bytes(), rng))
    if rng.random() < 0.1:
        return command("summary", run)
    return examined(run)


def examined(run: Path) -> Outcome:
    """Everything that can be read of a run, and its closing table."""
    from workflows.procedures.registry import procedure

    def read() -> None:
        with open_run(run) as opened:
            header, _, _, _ = opened.header, opened.status, opened.reason, opened.journal_mark
            _ = opened.events, opened.cells, opened.segments, opened.phases, opened.notes
            for name in opened.maps:
                opened.map(name)
            for where in ("data", "twin"):
                for name in opened.names(where):
                    (opened.data if where == "data" else opened.twin)(name)
            for scope in opened.scopes:
                captures = opened.waveforms(scope)
                for number in range(min(len(captures), 3)):
                    captures.volts(number)
            with damage_told(opened.path):
                procedure(header.procedure).rows(opened)

    return tried(read)


TRIALS: dict[str, Callable[[Bed, np.random.Generator], Outcome]] = {
    "station": try_station, "bench": try_bench, "preset": try_preset, "faults": try_faults, "schedule": try_schedule,
    "week": try_week, "pattern": try_pattern, "journal": try_journal, "run": try_run,
}  # fmt: skip
KINDS = tuple(TRIALS)


def warm_up(bed: Bed) -> None:
    """Import and compile what the trials need, so that the watch sees the files' doing alone."""
    from workflows.flows.schedule import load_schedule

    load_schedule(sim_configs.path("schedule-example.yaml"))
    for words in (("summary", bed.folder / "runs" / "done"), ("station", "check")):
        outcome = command(*words)
        assert outcome.code == 0, outcome.said


def generator(kind: str, number: int) -> np.random.Generator:
    """The chance of a case; the same for ever."""
    return np.random.Generator(np.random.Philox(key=[KINDS.index(kind), number]))
