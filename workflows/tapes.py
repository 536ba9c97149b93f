"""Commands about tapes: what is on one, a bench that plays it, and a twin that is held against it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from instruments.tape import Tape

TapeArgument = Annotated[str, typer.Argument(help="Tape: tape.jsonl of a run that was made with --record, or a run.")]
RunsOption = Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")]

tape_app = typer.Typer(no_args_is_help=True, help="Recorded VISA traffic: look, play back, compare with a twin.")


def add_to(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.add_typer(tape_app, name="tape")


@tape_app.command("show")
def show_tape(tape: TapeArgument, runs: RunsOption = "runs") -> None:
    """Print what is on a tape: instruments, messages by command, times."""
    from statistics import median

    from instruments.tape_compare import head_of
    from instruments.tape_exchanges import exchanges
    from workflows.console import print_table, show

    loaded = _load(tape, runs)
    show(f"{loaded.path}: {loaded.world}, {loaded.started}, {len(loaded.events)} events, through {loaded.visa}")
    for name in loaded.resources:
        groups: dict[str, list[float]] = {}
        for one in exchanges(loaded, name):
            groups.setdefault(head_of(one.message), []).append(one.d_ns / 1e9)
        rows = [(head or "(nothing sent)", str(len(d)), f"{median(d) * 1e3:.3g} ms") for head, d in groups.items()]
        print_table(name, ("command", "messages", "median time"), rows)


@tape_app.command("bench")
def make_bench(
    tape: TapeArgument,
    out: Annotated[str, typer.Option("-o", "--out", help="New folder that the bench goes into.")],
    any_order: Annotated[bool, typer.Option("--any-order", help="Answer messages in any order.")] = False,
    runs: RunsOption = "runs",
) -> None:
    """Make a bench whose instruments answer as on a tape: any program that speaks VISA can be run against it."""
    from instruments.tape_bench import STATION, write_bench
    from workflows.console import show

    path = write_bench(_load(tape, runs), Path(out), order="any" if any_order else "strict")
    show(f'bench    {path}  (pyvisa.ResourceManager("{path}@twin"))')
    if (path.parent / STATION).is_file():
        show(f"station  {path.parent / STATION}  (ohmflow program --station ...)")


@tape_app.command("compare")
def compare_tape(
    tape: TapeArgument,
    twin: Annotated[str, typer.Option(help="Bench file of the twin.")] = "bench-rram32.yaml",
    chip: Annotated[str, typer.Option(help="Seed that names the twin's chip.")] = "",
    preset: Annotated[str, typer.Option(help="Device preset of the twin, such as one from `ohmflow fit`.")] = "",
    tolerance: Annotated[float, typer.Option(help="Relative difference of numbers that still counts as well.")] = 0.1,
    runs: RunsOption = "runs",
) -> None:
    """Play a tape to a twin and print where its replies differ; exit code 1 if they do by more than the tolerance."""
    import pyvisa

    from instruments.tape_compare import compare, summarise
    from workflows.console import phase_bars, print_table, show

    loaded = _load(tape, runs)
    params = "&".join(f"{name}={value}" for name, value in (("seed", chip), ("preset", preset)) if value)
    manager = pyvisa.ResourceManager(f"{twin}{'?' if params else ''}{params}@twin")
    try:
        with phase_bars() as hooks:
            found = compare(loaded, manager, lambda done, total: hooks.told("events", done, total))
    finally:
        manager.close()
    bad = 0
    tables: dict[str, list[tuple[str, ...]]] = {}
    for one in summarise(found):
        odd = sum(one.counts.get(kind, 0) for kind in ("different", "missing", "extra"))
        numbers = one.counts.get("numbers", 0)
        wrong = bool(odd or (numbers and not one.relative <= tolerance))
        bad += wrong
        e = one.example
        example = f"line {e.line}: {e.recorded.strip()[:40]!r} / {e.twin.strip()[:40]!r}" if e and wrong else ""
        tables.setdefault(one.at, []).append(
            (one.head, str(one.counts.get("same", 0)), f"{numbers} ({one.relative:.1%} apart)" if numbers else "",
             str(odd or ""), f"{one.recorded_s * 1e3:.3g} / {one.twin_s * 1e3:.3g}", example)
        )  # fmt: skip
    for name, rows in tables.items():
        columns = ("command", "same", "other numbers", "different", "ms, tape / twin", "first difference")
        wide = len(columns) - (not any(row[-1] for row in rows))
        print_table(name, columns[:wide], [row[:wide] for row in rows])
    show("the twin replies as recorded" if not bad else f"{bad} commands are answered otherwise than recorded")
    if bad:
        raise typer.Exit(1)


def _load(tape: str, runs: str) -> "Tape":
    from instruments.tape import Tape
    from workflows.procedures.session import run_folder

    path = Path(tape).expanduser()
    if not path.is_file():
        path = run_folder(Path(runs), tape) / "tape.jsonl"
    return Tape.load(path)
