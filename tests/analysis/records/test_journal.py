"""The journal: what is acknowledged stays, what is damaged is noticed."""

import json
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.records import Journal, read_journal

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
fields = st.dictionaries(text.filter(lambda name: name not in ("seq", "t", "kind", "crc")), numbers | text, max_size=5)


def written(path: Path, count: int) -> list[dict[str, Any]]:
    journal = Journal.open(path, durable=False)
    records = [journal.append("note", n / 3, {"text": f"number {n}"}) for n in range(count)]
    journal.close()
    return records


def test_a_line_is_json_with_its_own_checksum(tmp_path: Path) -> None:
    written(tmp_path / "j", 1)
    line = (tmp_path / "j").read_text()
    record = json.loads(line)
    assert list(record) == ["seq", "t", "kind", "text", "crc"]
    body = line.removesuffix(f',"crc":"{record["crc"]}"}}\n') + "}"
    assert zlib.crc32(body.encode()) == int(record["crc"], 16)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(text, numbers, fields), max_size=8))
def test_whatever_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, records: list[Any]) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal.open(path, durable=False)
    kept = [journal.append(kind, float(t), dict(rest)) for kind, t, rest in records]
    journal.close()
    assert read_journal(path).records == kept
    assert [record["seq"] for record in kept] == list(range(len(kept)))


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_last_line_is_reported_and_written_over(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    records = written(path, 5)
    sound = path.read_bytes()
    path.write_bytes(sound[:-cut])
    contents = read_journal(path)
    assert contents.records == records[:-1]
    last_line = sound.splitlines(keepends=True)[-1]
    assert contents.torn == len(last_line) - cut
    journal = Journal.open(path, durable=False)
    assert journal.recovered.records == records[:-1]
    journal.append("note", 4 / 3, {"text": "number 4"})
    journal.close()
    assert path.read_bytes() == sound


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_damaged_byte_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, position: int, flip: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    records = written(path, 6)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= flip
    path.write_bytes(data)
    tolerant = read_journal(path, strict=False)
    assert tolerant.damaged or tolerant.torn
    assert all(record in records for record in tolerant.records)
    assert len(tolerant.records) >= 4
    if tolerant.damaged:
        with pytest.raises(AnalysisError, match=f"line {tolerant.damaged[0]} of .* is damaged"):
            read_journal(path)
    else:
        # Only the end of a journal may be lost without refusal, and then it is said.
        assert read_journal(path).records == records[: len(tolerant.records)]


def test_a_missing_record_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(AnalysisError, match=r"line 3 .* is record 3 where 2 was due"):
        read_journal(path)


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal.open(path, durable=False)
    other = (
        "import sys; from pathlib import Path; from analysis.records import Journal\n"
        "try: Journal.open(Path(sys.argv[1]), durable=False)\n"
        "except Exception as error: sys.exit(type(error).__name__ + ': ' + str(error))\n"
    )
    command = [sys.executable, "-c", other, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (
        refused.stderr.strip()
        == f"AnalysisError: {path} is being written by another process: wait for it, or stop it first"
    )
    journal.close()
    assert subprocess.run(command, env=environment, check=False).returncode == 0


def test_a_durable_journal_waits_for_the_disk_once_a_pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    real = os.fsync

    def counted(descriptor: int) -> None:
        waits.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    for durable, expected in ((True, 3), (False, 0)):
        waits.clear()
        journal = Journal.open(tmp_path / str(durable), durable=durable)
        for _ in range(3):
            journal.append("intent", 0.0, {}, sync=True)
            journal.append("result", 0.0, {})
        assert len(waits) == expected
        journal.close()
        assert len(waits) == expected + durable


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_journal_sound(tmp_path: Path) -> None:
    path = tmp_path / "j"
    records = written(path, 3)
    journal = Journal.open(path, durable=False)
    with largest_file(path.stat().st_size + 20), pytest.raises(AnalysisError, match="can't write the journal"):
        journal.append("note", 1.0, {"text": "does not fit"})
    assert read_journal(path).records == records
    assert read_journal(path).torn == 0
    records.append(journal.append("note", 1.0, {"text": "fits"}))
    journal.close()
    assert read_journal(path).records == records


@pytest.mark.parametrize(
    ("t", "value", "said"),
    [
        (float("nan"), 1, "can't be at nan"),
        (float("inf"), 1, "can't be at inf"),
        (0.0, {1, 2}, "can't be kept as JSON"),
    ],
)
def test_what_json_cannot_carry_is_refused(tmp_path: Path, t: float, value: Any, said: str) -> None:
    journal = Journal.open(tmp_path / "j", durable=False)
    with pytest.raises(AnalysisError, match=said):
        journal.append("note", t, {"value": value})
    assert journal.append("note", 0.0, {})["seq"] == 0
    journal.close()


def test_a_missing_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"can't read the journal .*nothing: No such file"):
        read_journal(tmp_path / "nothing")
    with pytest.raises(AnalysisError, match="can't open the journal"):
        Journal.open(tmp_path / "no" / "folder", durable=False)
