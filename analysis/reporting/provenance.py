"""Where a run's numbers come from: chip, station, instruments, versions, seeds, checksums, and how to make it again."""

import hashlib
import html
from dataclasses import dataclass
from pathlib import Path

from analysis.page import Rows, paragraph, table, text
from analysis.records import RunFile
from analysis.records.catalogue import flat

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Again:
    """How to make a run again.

    Attributes:
        command: does the same, from the options that the run's file holds.
        on_a_fresh_chip: the same on the same simulated chip, new; "" of a real run.
        remarks: what the command does not say.
    """

    command: str
    on_a_fresh_chip: str = ""
    remarks: tuple[str, ...] = ()


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def world_said(run: RunFile) -> str:
    """What a reader must not miss."""
    if run.world == "simulated":
        return "SIMULATED on a twin: no device was measured"
    return "measured on real instruments"


def what_rows(run: RunFile) -> Rows:
    """What was done, when, on what, by whom."""
    h = run.header
    parts = run.segments
    ended = str(parts[-1]["ended"]) if parts else "not ended"
    arrays, rows, cols = h.shape
    numbers = h.parameters.get("arrays")
    which = f", on the chip number {', '.join(map(str, numbers))}" if isinstance(numbers, list) and numbers else ""
    return [
        ("what", h.procedure), ("world", world_said(run)), ("started", h.started), ("ended", ended),
        ("status", f"{run.status}: {run.reason}" if run.reason else run.status),
        ("chip", h.chip or "not named"), ("arrays", f"{arrays} of {rows} x {cols} cells{which}"),
        ("station", _station_name(h.station)), *((i.role, f"{i.idn} at {i.resource}") for i in h.instruments),
        ("operator", h.operator or "not given"),
    ]  # fmt: skip


def _station_name(station: str) -> str:
    """The station's own name, from its file's text."""
    names = [line.partition(":")[2].strip() for line in station.splitlines() if line.strip().startswith("name:")]
    return names[0] if names else "not named"


def provenance_parts(run: RunFile, checksum: str) -> tuple[str, ...]:
    """Versions, seeds, checksums, parameters, station file."""
    h = run.header
    records, crc = run.journal_mark
    preset = h.chip.partition("(")[2].rstrip(")") if run.world == "simulated" else ""
    options = h.parameters.get("options")
    seeds = [(f"option {name}", str(v)) for name, v in options.items() if "seed" in name] if options else []
    rows: Rows = [
        ("run", h.run_id), ("code", h.git_commit or "not a checkout"),
        ("packages", ", ".join(f"{name} {version}" for name, version in h.packages.items())),
        *([("device preset", preset)] if preset else []),
        ("seed of the chip", "none: a real chip" if h.seed is None else str(h.seed)), *seeds,
        (f"SHA-256 of {run.path.name}", checksum),
        ("journal", f"{records} records, CRC-32 {crc:08x}" if records >= 0 else "not closed"),
        ("as typed", h.command_line or "not recorded"),
    ]  # fmt: skip
    asked = [(name, said) for name, _, _, said in flat("", options if options else h.parameters)]
    grouped: dict[str, list[str]] = {}
    for name, said in asked:
        grouped.setdefault(name, []).append(said)
    shown = [(name, ", ".join(said)[:300] or "(empty)") for name, said in grouped.items()]
    parts = [table(rows), "<h3>Options, in SI units</h3>", table(shown)]
    if h.station:
        parts += ["<h3>Station file as it was</h3>", f"<pre>{html.escape(h.station)}</pre>"]
    return tuple(parts)


def again_parts(again: Again, page: str) -> tuple[str, ...]:
    """Commands that make the run and this page again."""
    parts = [f"<p>The same again: <code>{text(again.command)}</code></p>"]
    if again.on_a_fresh_chip:
        parts.append(f"<p>On the same chip, as new, kept nowhere: <code>{text(again.on_a_fresh_chip)}</code></p>")
    parts += [paragraph(remark) for remark in again.remarks]
    parts.append(f"<p>This page, from the run's file alone: <code>{text(page)}</code></p>")
    return tuple(parts)
