"""How long pages of runs take and how large they are, and whether a copy of the file elsewhere gives the same page.

python tests/benchmarks/report_pages.py RUN... ; the demo's is to take 15 s at most, and 8 MB.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_SECONDS, LIMIT_BYTES = 15.0, 8e6


def report(files: list[Path], page: Path, home: Path) -> tuple[float, float]:
    """Seconds of the wall's clock and of the processor that one command took, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    words = [
        sys.executable,
        "-c",
        "from workflows.cli import main; main()",
        "report",
        *map(str, files),
        "-o",
        str(page),
    ]
    surroundings = {**os.environ, "OHMFLOW_HOME": str(home)}
    subprocess.run(words, check=True, env=surroundings, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure every run alone, then all of them on one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders or files")
    files = [run / "run.h5" if run.is_dir() else run for run in parser.parse_args().runs]
    alike = True
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for k, file in enumerate(files):
            here, there, copy = root / "here.html", root / "there.html", root / f"copy-{k}" / "run.h5"
            wall, busy = report([file], here, root / "home")
            copy.parent.mkdir()
            shutil.copy(file, copy)
            report([copy], there, root / "nowhere")
            same = here.read_bytes() == there.read_bytes()
            alike = alike and same
            size = here.stat().st_size
            verdict = "within" if wall <= LIMIT_SECONDS and size <= LIMIT_BYTES else "BEYOND"
            print(
                f"{file.parent.name}: {wall:.1f} s ({busy:.1f} s of the processor), {size / 1e6:.2f} MB, {verdict} the "
                f"demo's limits; elsewhere {'the same' if same else 'DIFFERENT'}"
            )
        if len(files) > 1:
            wall, busy = report(files, root / "all.html", root / "home")
            size = (root / "all.html").stat().st_size
            print(f"{len(files)} runs on one page: {wall:.1f} s ({busy:.1f} s of the processor), {size / 1e6:.2f} MB")
    sys.exit(not alike)


if __name__ == "__main__":
    main()
