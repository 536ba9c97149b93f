"""A process that takes locks and does as told, for tests: `lock_child.py FOLDER RUN PRIORITY INSTRUMENT...`.

Says a line for every thing that happens: "waiting ...", "held PREVIOUS-RUN", then obeys lines on its standard input:
"release", "fork", "raise". With a file's name in LOCK_CHILD_LOG it writes its run's name there once it holds the
instruments, releases them and ends.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workflows.locking import InstrumentKey, LockLost, StationLocks


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    folder, run, priority, *names = sys.argv[1:]
    log = os.environ.get("LOCK_CHILD_LOG")
    locks = StationLocks(Path(folder), host="here", poll=0.005)
    keys = [InstrumentKey(name) for name in names]
    held = locks.acquire_keys(
        keys, run=run, owner="alice", priority=int(priority), told=lambda waiting: say(str(waiting))
    )
    with held:
        say(f"held {held.previous.run if held.previous else '-'}")
        if log:
            with open(log, "a") as file:
                file.write(run + "\n")
            return
        for line in sys.stdin:
            if line.strip() == "release":
                break
            if line.strip() == "raise":
                raise SystemExit(3)
            if line.strip() == "fork" and os.fork() == 0:
                try:
                    held.check()
                except LockLost:
                    held.release()
                    say(f"forked {os.getpid()}")
                signal.pause()
    say("released")


if __name__ == "__main__":
    main()
