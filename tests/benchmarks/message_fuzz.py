"""How the simulated instruments stand malformed messages: `python tests/benchmarks/message_fuzz.py [messages] [seed]`.

Feeds so many messages (100,000 if nothing is said) to each panel in this process and prints what they were answered.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from twin.fakes_b1500a import FakeBench as AnalyzerBench
from twin.fakes_scope import FakeBench as ScopeBench
from twin.message_fuzz import fuzz_flex, fuzz_scope

from instruments.twin.panels.b1500a import B1500APanel
from instruments.twin.panels.infiniivision import InfiniiVisionPanel
from instruments.twin.panels.tektronix_mso import TektronixPanel


def main(messages: int, seed: int) -> None:
    """Feed and print."""
    rng = np.random.default_rng(seed)
    runs = {
        "B1500A": lambda: fuzz_flex(rng, lambda: B1500APanel(AnalyzerBench(), {}), messages),
        "InfiniiVision": lambda: fuzz_scope(rng, InfiniiVisionPanel(ScopeBench(), {}), messages),
        "Tektronix": lambda: fuzz_scope(rng, TektronixPanel(ScopeBench(), {}), messages),
    }
    for name, run in runs.items():
        begun = time.perf_counter()
        tally = run()
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.kinds.items()))
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.codes.items()))
        print(f"{name}: {tally.messages} messages in {time.perf_counter() - begun:.1f} s ({kinds}); codes {codes}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
