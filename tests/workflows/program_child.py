"""Another process that programs: `command ARGUMENTS...` is ohmflow itself, `kill FILE` dies by SIGKILL case by case.

The command also says, in the file that $OHMFLOW_TEST_WIRES names, how the twin's wires were left when the bench closed.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from analysis.records.journal import Journal
from instruments.array import CellArray
from instruments.twin.bench import Bench


def watch_wires(path: Path) -> None:
    """Have every bench write down its wires before it closes."""
    close = Bench.close

    def closing(self: Bench) -> None:
        fixture = self.fixture
        state = {
            "mode": fixture.mode,
            "sources": {str(channel): source.volts for channel, source in fixture._sources.items()},
            "selectors": {str(port): state for port, state in fixture._selectors.items()},
        }
        path.write_text(json.dumps(state))
        close(self)

    Bench.close = closing  # type: ignore[method-assign]


def command(arguments: list[str]) -> None:
    """Run ohmflow's command line."""
    if os.environ.get("OHMFLOW_TEST_WIRES"):
        watch_wires(Path(os.environ["OHMFLOW_TEST_WIRES"]))
    from workflows.cli import main

    sys.argv = ["ohmflow", *arguments]
    main()


def die(case: dict[str, Any]) -> None:
    """Program until the case's instant, and be killed there.

    The instant: the n-th time of `point`, which is "check" (before a read or pulse), "intent" (announced, not given)
    or "pulse" (given, not reported). Just before, the chip and the number of acknowledged records are written down.
    """
    from program_jobs import programmed

    folder, count, acknowledged = Path(case["folder"]), 0, 0
    benches: list[Bench] = []

    def reached(point: str) -> None:
        nonlocal count
        if point == case["point"]:
            count += 1
            if count == case["n"]:
                np.save(case["chip"], np.array(benches[-1].chip.cells))
                Path(case["acknowledged"]).write_text(str(acknowledged))
                os.kill(os.getpid(), signal.SIGKILL)

    append, pulse, begin = Journal.append, CellArray.pulse, Bench.__init__

    def appending(self: Journal, kind: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal acknowledged
        record = append(self, kind, *args, **kwargs)
        acknowledged = record["seq"] + 1
        if kind == "intent":
            reached("intent")
        return record

    def pulsing(self: CellArray, *args: Any) -> None:
        pulse(self, *args)
        reached("pulse")

    def beginning(self: Bench, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        benches.append(self)

    Journal.append, CellArray.pulse = appending, pulsing  # type: ignore[method-assign]
    Bench.__init__ = beginning  # type: ignore[method-assign]

    def stop() -> bool:
        reached("check")
        return False

    programmed(folder, np.load(case["target"]), bench=Path(case["bench"]), stop=stop)


def main() -> None:
    """See the module's docstring."""
    if sys.argv[1] == "command":
        command(sys.argv[2:])
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    for case in json.loads(Path(sys.argv[2]).read_text()):
        child = os.fork()  # what is imported is imported once
        if child == 0:
            die(case)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}")


if __name__ == "__main__":
    main()
