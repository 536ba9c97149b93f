"""What a stranger's file, a stranger's run or a careless command line must not be able to do."""

import base64
import json
import os
import pickle
import shlex
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import orjson
import pytest
from file_mutations import command
from hypothesis import given
from hypothesis import strategies as st
from program_jobs import pattern, programmed

import sim_configs
from analysis.errors import AnalysisError
from analysis.records import RunWriter, layout, open_run, salvage, tables
from analysis.records.masking import MASK, masked, masked_values
from instruments.errors import ConfigError
from instruments.station_file import StationFile
from instruments.strict_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, parse_yaml, read_yaml
from instruments.twin.bench import load_law
from instruments.twin.benchfile import device_section, load
from instruments.twin.fault_profile import FaultProfile
from instruments.twin.trusted import ENVIRONMENT, trusted_class
from instruments.twin.visa import TwinVisaLibrary
from workflows.errors import RequestError
from workflows.flows.schedule import load_schedule
from workflows.planning import load_week
from workflows.procedures.job import Job
from workflows.procedures.patterns import load_pattern
from workflows.procedures.registry import procedure
from workflows.procedures.session import interrupted_run

BILLION = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


# One reader for all YAML

READERS: dict[str, Callable[[Path], object]] = {
    "station": StationFile.load,
    "bench": lambda path: load(path, bundled=False),
    "preset": lambda path: load_law(str(path), path.parent),
    "faults": lambda path: FaultProfile.load(str(path)),
    "schedule": load_schedule,
    "week": load_week,
}
BOMBS = {
    "aliases": (BILLION.encode(), "aliases"),
    "code": (b"a: !!python/object/apply:os.system ['true']", "tags"),
    "twice": (b"a: 1\nb: 2\na: 3", "line 3: 'a' is given twice"),
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deep by lines": (b"- " * 2000, "nested too deeply"),
    "large": (b"#" * (MAX_BYTES + 1), "larger than 1 MiB"),
    "many": (b"[" + b"1," * (MAX_NODES + 1) + b"]", "more than 20000 keys"),
    "no text": (b"a: \xff\xfe", "not UTF-8"),
    "a control character": (b"a: \x00", "is not YAML"),
    "two documents": (b"a: 1\n---\nb: 2", "is not YAML"),
    "a list as a key": (b"? [a, b]\n: 1", "is not YAML"),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("kind", READERS)
def test_every_reader_of_yaml_refuses(kind: str, bomb: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    content, words = BOMBS[bomb]
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        READERS[kind](path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"can't be read|not found"):
        READERS[kind](path)


def test_scalars_mean_what_they_look_like() -> None:
    text = b"{a: 12:30, b: yes, c: 010, d: 0x10, e: 2031-01-01, f: 1e3, g: true, h: ~, i: -5, j: .inf, k: 1_000}"
    assert parse_yaml(text, "file") == {
        "a": "12:30", "b": "yes", "c": 10, "d": "0x10", "e": "2031-01-01", "f": 1000.0, "g": True, "h": None, "i": -5,
        "j": ".inf", "k": "1_000",
    }  # fmt: skip
    assert parse_yaml(text, "file", texts=True)["c"] == "010"


@given(
    st.recursive(
        st.text(st.characters(codec="ascii"), max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=60
    )
)
def test_what_is_shallow_and_small_is_read(tree: Any) -> None:
    assert parse_yaml(json.dumps({"tree": tree}).encode(), "file") == {"tree": tree}


def test_as_deep_as_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"[" * (MAX_DEPTH - 1) + b"1" + b"]" * (MAX_DEPTH - 1))
    assert read_yaml(path, "file")
    path.write_bytes(b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH)
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_yaml(path, "file")


# Code named by files

PANELS = ("instruments.twin.panels",)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("os:system", "names code outside"),
        ("subprocess:Popen", "names code outside"),
        ("instruments.twin.panelsx.board:BoardPanel", "names code outside"),
        ("instruments.twin.visa:TwinVisaLibrary", "names code outside"),
        ("instruments.twin.panels.board:NoSuchPanel", "no such package.module:Class"),
        ("instruments.twin.panels.nothing:Panel", "no such package.module:Class"),
        ("instruments.twin.panels.board:__builtins__", "is no class of"),
        ("instruments.twin.panels.board:Mapping", "is no class of"),
        ("instruments.twin.panels..board:X", "must be package.module:Class"),
        ("instruments.twin.panels.board", "must be package.module:Class"),
        ("", "must be package.module:Class"),
        (["a"], "must be package.module:Class"),
    ],
)
def test_a_file_can_name_no_code_but_ours(reference: object, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trusted_class(reference, "handler", PANELS)
    assert words in str(caught.value)


def test_the_user_can_trust_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, " mylab , json.decoder")
    assert trusted_class("json.decoder:JSONDecoder", "handler", PANELS) is json.JSONDecoder
    with pytest.raises(ConfigError, match=r"names code outside instruments\.twin\.panels, mylab, json\.decoder"):
        trusted_class("json:JSONDecoder", "handler", PANELS)
    with pytest.raises(ConfigError, match=f"set {ENVIRONMENT}"):
        trusted_class("os:system", "handler", PANELS)


def test_a_stranger_s_bench_runs_no_code(tmp_path: Path) -> None:
    """The module is not even imported."""
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'done')!r}, 'w')\nclass Evil: pass\n")
    text = sim_configs.path("bench-rram32.yaml").read_text()
    text = text.replace("instruments.twin.panels.board:BoardPanel", "evil_module:Evil")
    (tmp_path / "bench.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match="names code outside"):
            TwinVisaLibrary(str(tmp_path / "bench.yaml")).close_all()  # type: ignore[attr-defined]  # not reached
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("name", ["../other.yaml", "/etc/hostname", "sub/../../x.yaml"])
def test_a_bench_takes_devices_from_its_own_folder_only(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "bench.yaml"
    path.write_text('spec: "1.1"\n')
    with pytest.raises(ConfigError, match="must name a file in the bench file's own folder"):
        device_section(load(path, bundled=False), {"device": "x", "filename": name})


def test_nor_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "other.yaml").write_text('spec: "1.1"\ndevices: {x: {}}\n')
    (tmp_path / "in" / "link.yaml").symlink_to(tmp_path / "other.yaml")
    path = tmp_path / "in" / "bench.yaml"
    path.write_text('spec: "1.1"\n')
    with pytest.raises(ConfigError, match="leads out of"):
        device_section(load(path, bundled=False), {"device": "x", "filename": "link.yaml"})


def test_a_chip_that_no_memory_holds(tmp_path: Path) -> None:
    text = (
        sim_configs.path("bench-rram32.yaml")
        .read_text()
        .replace("rows: 32", "rows: 4096")
        .replace("cols: 32", "cols: 4096")
    )
    (tmp_path / "bench.yaml").write_text(text)
    with pytest.raises(ConfigError, match="more than 4194304 cells"):
        TwinVisaLibrary(str(tmp_path / "bench.yaml"))


# Folders


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/x", "", ".hidden", "-", "a\nb", "x" * 65])
def test_a_station_s_name_names_a_folder_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / "station.yaml"
    text = sim_configs.path("station-twin.yaml").read_text()
    path.write_text(text.replace("name: rram-twin", f"name: {json.dumps(name)}"))
    with pytest.raises(ConfigError, match=r"station\.name"):
        StationFile.load(path)


@pytest.mark.parametrize("run_id", ["..", "../x", "a/b", "/x", ".x", "-x", "a b", "ü", "x" * 101, "a\0"])
def test_a_run_id_names_a_folder_and_nothing_else(run_id: str, tmp_path: Path) -> None:
    program = procedure("program")
    with pytest.raises(RequestError, match="may hold up to 100 letters"):
        Job.prepare(program, program.options(run_id=run_id, runs=str(tmp_path)))


@pytest.mark.parametrize("runs", ["~nobody-of-this-name/x", "x" * 5000])
def test_a_folder_of_runs_that_can_t_be(runs: str) -> None:
    program = procedure("program")
    with pytest.raises(RequestError, match="folder of runs"):
        Job.prepare(program, program.options(runs=runs))


def test_packaged_files_are_looked_for_among_the_packaged_ones_only() -> None:
    assert sim_configs.find("../pyproject.toml") == Path("../pyproject.toml")
    assert sim_configs.find("sim_configs/../pyproject.toml") == Path("sim_configs/../pyproject.toml")
    with pytest.raises(ConfigError, match="not found"):
        load_law("../station-twin", Path())


# Runs of strangers


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, `done`, and an interrupted one, `stopped`."""
    folder = tmp_path_factory.mktemp("sound")
    target = pattern({(0, 0): 50.0, (0, 1): 30.0})
    programmed(folder / "done", target)
    asked = iter(range(10**6))
    with pytest.raises(Exception, match="stop"):
        programmed(folder / "stopped", target, bench=folder / "chips", stop=lambda: next(asked) > 8)
    return folder


@pytest.fixture
def stranger(sound: Path, tmp_path: Path) -> Path:
    """A copy of them to spoil."""
    import shutil

    shutil.copytree(sound, tmp_path / "runs")
    return tmp_path / "runs"


def _external(file: h5py.File, elsewhere: Path) -> None:
    del file["entry/notes"]
    file["entry/notes"] = h5py.ExternalLink(str(elsewhere), "/entry")


def _soft(file: h5py.File, elsewhere: Path) -> None:
    file["entry/again"] = h5py.SoftLink("/entry/events")


def _virtual(file: h5py.File, elsewhere: Path) -> None:
    sheet = h5py.VirtualLayout(shape=(2,), dtype="f8")
    sheet[:] = h5py.VirtualSource(str(elsewhere), "secret", shape=(2,))
    file.create_virtual_dataset("entry/twin/mine", sheet)


def _raw(file: h5py.File, elsewhere: Path) -> None:
    file.create_dataset("entry/twin/mine", (8,), "u1", external=[(str(elsewhere), 0, 8)])


def _vast(file: h5py.File, elsewhere: Path) -> None:
    file.create_dataset("entry/twin/mine", (1 << 40,), "f8", chunks=(1024,), compression="gzip")


def _references(file: h5py.File, elsewhere: Path) -> None:
    file.create_dataset("entry/twin/mine", data=[file["entry"].ref], dtype=h5py.ref_dtype)


def _circle(file: h5py.File, elsewhere: Path) -> None:
    file["entry/twin/mine"] = file["entry"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_external, "is a link to elsewhere"),
        (_soft, "is a link to elsewhere"),
        (_virtual, "has its values in another file"),
        (_raw, "has its values in another file"),
        (_vast, "claims 8796093022208 bytes"),
        (_references, "neither numbers nor text"),
        (_circle, "nested too deeply|more than 20000 objects"),
    ],
)
def test_a_run_file_leads_nowhere_else(
    stranger: Path, tmp_path: Path, spoil: Callable[[h5py.File, Path], None], words: str
) -> None:
    elsewhere = tmp_path / "secret.h5"
    with h5py.File(elsewhere, "w") as file:
        file["secret"] = [1.0, 2.0]
    with h5py.File(stranger / "done" / layout.FINAL, "r+") as file:
        spoil(file, elsewhere)
    with pytest.raises(AnalysisError, match=words):
        open_run(stranger / "done")
    outcome = command("summary", stranger / "done")
    assert (outcome.code, outcome.wrong) == (2, "")


@pytest.mark.parametrize(
    "name", ["run.h5", "run.h5.new", "run.partial.h5.new", "journal.jsonl", "station.yaml", "figures/x.png"]
)
def test_a_link_in_a_run_s_folder_is_not_followed(stranger: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    run = stranger / "stopped"
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    program = procedure("program")
    attempts: list[Callable[[], object]] = [
        lambda: open_run(run),
        lambda: salvage(run),
        lambda: interrupted_run(run, "program"),
        lambda: RunWriter.resume(run, now=lambda: 0.0, started="", world="simulated"),
        lambda: Job.prepare(program, program.options(resume=str(run))),
    ]
    for attempt in attempts:
        with pytest.raises(AnalysisError, match="is a symbolic link"):
            attempt()
    assert victim.read_bytes() == b"precious"


def test_a_run_can_be_reached_through_a_link(stranger: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(stranger / "done")
    with open_run(tmp_path / "link") as run:
        assert run.status == "completed"


def test_a_station_file_that_was_changed_under_a_run_is_not_believed(stranger: Path) -> None:
    path = stranger / "stopped" / layout.STATION
    path.write_text(path.read_text().replace("bit_line: [-0.5 V, 3.5 V]", "bit_line: [-0.5 V, 9.5 V]"))
    with pytest.raises(RequestError, match="is not the station file that the run was begun with"):
        interrupted_run(stranger / "stopped", "program")


def rewritten(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """A journal changed by somebody who knows how its checksums are made."""
    records = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for record in records:
        del record["crc"]
    change(records)
    bodies = [orjson.dumps(record) for record in records]
    path.write_bytes(b"".join(body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body) for body in bodies))


def test_a_bomb_in_a_journal_does_not_go_off(stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MOST_STORED", 1 << 22)
    bomb = base64.b64encode(zlib.compress(bytes(1 << 20))).decode()

    def change(records: list[dict[str, Any]]) -> None:
        for n in range(5):
            packed = {"dtype": "|u1", "shape": [1 << 20], "zlib": bomb}
            record = {"kind": "array", "where": "data", "name": f"b{n}", "packed": packed, "units": "", "title": ""}
            records.append({"seq": len(records), "t": records[-1]["t"], **record})

    rewritten(stranger / "stopped" / layout.JOURNAL, change)
    with pytest.raises(AnalysisError, match="more than 4194304 bytes in all"):
        salvage(stranger / "stopped")


def test_text_that_no_file_could_hold_is_refused() -> None:
    assert parse_yaml(b'a: "\\ud83d\\ude00"', "file") == {"a": "\U0001f600"}
    with pytest.raises(ConfigError, match="half a character"):
        parse_yaml(b'a: "\\ud83d"', "file")


def test_a_pattern_is_never_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "done",)

    np.save(tmp_path / "t.npy", np.array([[Evil()]], dtype=object), allow_pickle=True)
    (tmp_path / "u.npy").write_bytes(pickle.dumps(Evil()))
    for name in ("t.npy", "u.npy"):
        with pytest.raises(RequestError, match="can't be read as numbers"):
            load_pattern(str(tmp_path / name), 1, 1)
    assert not (tmp_path / "done").exists()


# Secrets

SECRETS = {
    "PREFECT_API_KEY": "pnu_s3cr3tAAAAAAAAAAAAAAAA",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://lab:s3cr3tBBB@db.example/prefect",
    "OHMFLOW_NOTIFY": "mailto://lab:s3cr3tCCC@mail.example",
    "AWS_SECRET_ACCESS_KEY": "s3cr3tDDD",
}
TYPED = [
    ["--token", "s3cr3tEEE"], ["--api-key=s3cr3tFFF"], ["--password", "s3cr3t GGG"],
    ["https://lab:s3cr3tHHH@host/api"], ["DB_PASSWORD=s3cr3tIII"], ["Authorization: Bearer s3cr3tJJJ"],
]  # fmt: skip


@pytest.mark.parametrize("words", TYPED)
def test_a_secret_that_was_typed_is_masked(words: list[str]) -> None:
    line = shlex.join(["ohmflow", "program", *words, "--array", "0"])
    assert "s3cr3t" not in masked(line)
    assert MASK in masked(line)
    assert masked(line).startswith("ohmflow program ")
    assert masked(line).endswith("--array 0")
    assert masked(masked(line)) == masked(line)


@pytest.mark.parametrize("name", ["station-twin.yaml", "station-lab.yaml", "bench-rram32.yaml"])
def test_what_is_no_secret_stays(name: str) -> None:
    text = sim_configs.path(name).read_text()
    assert masked(text) == text
    for line in ("ohmflow program --pattern a@b.csv --runs /home/me@lab/x:y", "a token of thanks", "ratio 1:2 @ 3 V"):
        assert masked(line) == line


def test_values_under_a_secret_s_name_are_masked() -> None:
    found = masked_values({"options": {"api_key": "s3cr3t", "pattern": "x", "n": 3, "u": ["ftp://a:s3cr3t@b"]}})
    assert found == {"options": {"api_key": MASK, "pattern": "x", "n": 3, "u": [f"ftp://a:{MASK}@b"]}}


def test_no_secret_reaches_a_run_s_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment's nor those that were typed, in any file that a run leaves, packed or not."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OHMFLOW_HOME", str(tmp_path / "home"))
    np.save(tmp_path / "p.npy", pattern({(0, 0): 50.0}))
    program = procedure("program")
    line = shlex.join(["ohmflow", "program", *(word for words in TYPED for word in words)])
    options = program.options(
        pattern=str(tmp_path / "p.npy"), runs=str(tmp_path / "runs"), run_id="a", command_line=line,
        operator="https://me:s3cr3tKKK@host/",
    )  # fmt: skip
    folder = Job.prepare(program, options).run()
    outcome = command("summary", folder)
    assert outcome.code == 0
    assert "s3cr3t" not in outcome.said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.h5", "journal.jsonl", "station.yaml"} <= {path.name for path in files}
    for path in files:
        assert b"s3cr3t" not in path.read_bytes(), path
    with h5py.File(folder / layout.FINAL, "r") as file:
        texts: list[str] = []
        file.visititems(lambda name, item: texts.append(str(item[()])) if hasattr(item, "shape") else None)
        assert any("ohmflow program" in text for text in texts)
        assert not [text for text in texts if "s3cr3t" in text]
        assert not [text for text in texts for value in SECRETS.values() if value in text]


def test_what_stopped_a_run_tells_no_secret(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path / "run", _header(), now=lambda: 0.0)
    writer.note("asked postgresql://lab:s3cr3t@db for it")
    writer.close("failed", "OSError: no answer from postgresql://lab:s3cr3t@db")
    for path in (tmp_path / "run").iterdir():
        assert b"s3cr3t" not in path.read_bytes()
    with open_run(tmp_path / "run") as run:
        assert MASK in run.reason


def _header() -> Any:
    from analysis.records import RunHeader

    return RunHeader(procedure="program", world="simulated", run_id="run", started="2031-01-01T00:00:00+00:00")
