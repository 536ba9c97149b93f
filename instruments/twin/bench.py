"""A simulated station's world: its clock, its chip, its chance, and a ledger of all that was driven.

The chip is **non-volatile**. Cells and clock live in memory-mapped files of the bench's directory, so what a pulse
changed is with the operating system the moment the pulse ends: a second process, or one that follows a SIGKILL, finds
the chip as it was left. (Like any page cache this does not outlive a power cut; a simulated chip need not.)

A seed names a chip: the first time it is asked for it is drawn fresh from that seed, later it is found as left.
Chance is counter-based: draw number n of a chip depends on the seed and n alone, and n is kept with the chip.
"""

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from instruments.clock import VirtualClock
from instruments.errors import BenchBusyError, ConfigError
from instruments.twin.cell import CellArray, Law, fresh
from instruments.twin.fixture import Fixture, Wiring
from instruments.twin.laws.parts import constants
from instruments.twin.ledger import Ledger
from instruments.twin.presets import STANDARD_LAW, form_of, load_law
from instruments.twin.solver import Listener, Solver, SolverOptions

FORMAT = 1
_MOST_CELLS = 1 << 22
"""A chip of that size takes some 600 MB."""
_HEADER = np.dtype([("clock_ns", "i8"), ("draws", "i8")])


class Bench:
    """One simulated bench. Use `open_bench`; close it to let another process have it.

    Attributes:
        clock: the bench's virtual time.
        chip: physics of the cells, indexed [array, row, col].
        fixture: the wires between instruments and cells.
        ledger: every drive that reached the chip, and what it cost.
        solver: the board in computing mode.
        seed: name of the chip.
        preset: name of the device preset.
    """

    def __init__(
        self,
        law: Law,
        shape: tuple[int, int, int],
        seed: int,
        preset: str,
        wiring: Wiring,
        folder: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.seed = seed
        self.preset = preset
        self.folder = folder
        self.options = dict(options or {})
        self._lock: IO[str] | None = None
        self._closed = False
        self._memory: dict[str, dict[str, Any]] = {}
        self._files: tuple[np.memmap[Any, Any], ...] = ()
        circuit = SolverOptions.from_mapping(self.options.get("circuit"))  # may raise: before the lock is taken
        cells, self._header = self._attach(law, shape)
        self._streams: dict[str, tuple[np.random.Philox, Any, np.random.Generator]] = {}
        self.clock = VirtualClock(int(self._header["clock_ns"]))
        self.chip = CellArray(law, cells)
        self.ledger = Ledger()
        self.fixture = Fixture(self, wiring)
        self.solver = Solver(self, circuit)

    @property
    def law(self) -> Any:
        """The device law: its constants and equations (a `laws.law.Law`)."""
        return self.chip.law

    def rng(self, stream: str) -> np.random.Generator:
        """The next draw of a named stream of chance, good until the stream's next is asked for.

        Also notes the time, so that the chip's clock survives a kill.
        """
        draw = int(self._header["draws"])
        self._header["draws"] = draw + 1
        self._header["clock_ns"] = self.clock.now_ns
        if stream not in self._streams:
            philox = np.random.Philox(key=[self.seed, zlib.crc32(stream.encode())])
            self._streams[stream] = philox, dict(philox.state), np.random.Generator(philox)
        # Setting the counter takes a fifth of the time of making a generator.
        philox, state, generator = self._streams[stream]
        state["state"]["counter"][:] = 0, 0, 0, draw
        philox.state = state
        return generator

    @property
    def scopes(self) -> list[Listener]:
        """Oscilloscopes that look at the board's runs; a panel puts itself in."""
        return self.solver.listeners

    def memory(self, name: str, default: Mapping[str, Any]) -> dict[str, Any]:
        """An instrument's own settings that outlive a power cycle; kept while this bench object lives."""
        return self._memory.setdefault(name, dict(default))

    def true_conductance(self) -> npt.NDArray[np.float64]:
        """What no laboratory can know: every cell's conductance now, S, shape (arrays, rows, cols)."""
        return self.chip.conductance((), self.clock.now_ns)

    def close(self) -> None:
        """Note the time, flush the chip's files and release the bench. Idempotent."""
        if self._closed:
            return  # somebody else may hold the chip by now
        self._closed = True
        self._header["clock_ns"] = self.clock.now_ns
        for mapped in self._files:
            mapped.flush()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _attach(self, law: Law, shape: tuple[int, int, int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        def draw() -> npt.NDArray[Any]:
            cells = fresh(law, shape, np.random.Generator(np.random.Philox(key=[self.seed, zlib.crc32(b"fresh")])))
            if cells.dtype != law.record or cells.shape != shape:
                raise ConfigError(
                    f"law {form_of(law)}: fresh() must give its own records in the shape asked for, {shape}"
                )
            return cells

        if self.folder is None:
            return draw(), np.zeros((), _HEADER)
        chip = self.folder / f"chip-{self.seed}"
        chip.mkdir(parents=True, exist_ok=True)
        self._lock = _hold(self.folder / "lock")
        try:
            return self._open_chip(chip, law, shape, draw)
        except BaseException:
            self._lock.close()
            self._lock = None
            raise

    def _open_chip(
        self, chip: Path, law: Law, shape: tuple[int, int, int], draw: Any
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        identity = {
            "format": FORMAT,
            "seed": self.seed,
            "preset": self.preset,
            "shape": list(shape),
            "form": form_of(law),
            "law": constants(law),
        }
        about = chip / "chip.json"
        if not about.exists():
            # The identity is written last and atomically: a kill while the chip is being drawn leaves none.
            np.save(chip / "cells.npy", draw())
            np.save(chip / "header.npy", np.zeros((), _HEADER))
            part = chip / "chip.json.part"
            part.write_text(json.dumps(identity, indent=1))
            os.replace(part, about)
        try:
            known = {"form": STANDARD_LAW, **json.loads(about.read_text())}
        except ValueError as error:
            raise ConfigError(f"{about}: is damaged; remove {chip} to draw the chip anew") from error
        for name in ("format", "preset", "shape", "form", "law"):
            if known.get(name) != identity[name]:
                what = "form of law" if name == "form" else name
                raise ConfigError(
                    f"{chip}: this chip was made with another {what} ({_difference(known.get(name), identity[name])}); "
                    "use another bench directory or another chip seed"
                )
        cells = np.load(chip / "cells.npy", mmap_mode="r+")
        header = np.load(chip / "header.npy", mmap_mode="r+")
        if cells.dtype != law.record or cells.shape != shape:
            raise ConfigError(f"{chip / 'cells.npy'}: not a chip of this version; remove {chip} to draw it anew")
        self._files = (cells, header)
        # Plain arrays over the same memory: indexing a memmap makes a memmap each time.
        return np.asarray(cells), np.asarray(header)


def open_bench(section: Mapping[str, Any], *, base: Path, params: Mapping[str, str]) -> Bench:
    """Open the bench that a pyvisa-sim file's `bench:` section describes.

    Args:
        section: preset (a name in sim_configs/presets or a file), arrays, rows, cols, wiring, and options of the
            instruments' physics; all values are strings, as pyvisa-sim reads them.
        base: folder of the file, for relative preset paths.
        params: from the resource string: `seed` (names the chip, default 1), `dir` (where the chip is kept; without
            it the chip lasts as long as the process), `preset` (overrides the file's), `fresh` ("1" draws the chip
            anew, discarding the one kept under that seed).

    Raises:
        ConfigError: the section contradicts itself or the chip found in `dir`.
        BenchBusyError: another process holds the bench.
    """
    if not isinstance(section, Mapping):
        raise ConfigError(f"bench: must be a mapping, not {section!r}")
    unknown = set(params) - {"seed", "dir", "preset", "name", "fresh"}
    if unknown:
        raise ConfigError(f"bench: unknown parameter {sorted(unknown)[0]!r}; allowed: dir, fresh, name, preset, seed")
    preset = str(params.get("preset") or section.get("preset") or "cmo-hfox")
    law = load_law(preset, base)
    shape = tuple(_count(section, key, default) for key, default in (("arrays", 1), ("rows", 32), ("cols", 32)))
    if shape[0] * shape[1] * shape[2] > _MOST_CELLS:
        raise ConfigError(f"bench: {shape[0]} arrays of {shape[1]}x{shape[2]} are more than {_MOST_CELLS} cells")
    seed_text = params.get("seed") or str(section.get("seed", "1"))
    if not _whole(seed_text) or int(seed_text) >= 2**63:
        raise ConfigError(f"bench: seed {seed_text!r} must be a whole number 0..2**63-1")
    if params.get("fresh", "0") not in ("0", "1"):
        raise ConfigError(f"bench: fresh is 0 or 1, not {params['fresh']!r}")
    folder = Path(params["dir"]).expanduser() if params.get("dir") else None
    if folder is not None and params.get("fresh") == "1":
        _discard(folder, int(seed_text))
    wiring = Wiring.from_mapping(section.get("wiring"))
    return Bench(law, (shape[0], shape[1], shape[2]), int(seed_text), preset, wiring, folder, section)


def _whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _count(section: Mapping[str, Any], key: str, default: int) -> int:
    text = str(section.get(key, default))
    if not _whole(text) or not 1 <= int(text) <= 4096:
        raise ConfigError(f"bench: {key} must be a whole number 1..4096, not {text!r}")
    return int(text)


def _difference(kept: object, asked: object) -> str:
    if isinstance(kept, dict) and isinstance(asked, dict):
        name = next(k for k in sorted(kept.keys() | asked.keys()) if kept.get(k) != asked.get(k))
        return f"{name} is {kept.get(name)}, asked for {asked.get(name)}"
    return f"{kept}, asked for {asked}"


def _discard(folder: Path, seed: int) -> None:
    """Remove a chip, unless somebody holds the bench."""
    if not folder.is_dir():
        return
    with _hold(folder / "lock"):
        chip = folder / f"chip-{seed}"
        for name in ("chip.json", "cells.npy", "header.npy"):
            (chip / name).unlink(missing_ok=True)


def _hold(path: Path) -> IO[str]:
    """Take the bench's lock."""
    return hold(path, f"the bench {path.parent} is in use by {{}}; wait for it or choose another directory")


def hold(path: Path, refusal: str) -> IO[str]:
    """Take a lock of the operating system, which dies with its owner, and write into its file who that is.

    Args:
        path: the lock's file.
        refusal: what is said to whoever finds it taken; {} stands for the owner.

    Raises:
        BenchBusyError: somebody else has it.
    """
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        owner = handle.read().strip() or "another process"
        handle.close()
        raise BenchBusyError(refusal.replace("{}", owner)) from error
    handle.truncate(0)
    with contextlib.suppress(OSError):
        handle.write(f"process {os.getpid()}")
        handle.flush()
    return handle
