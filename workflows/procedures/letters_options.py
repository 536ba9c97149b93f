"""What generating letters is asked to do, checked before anything is driven."""

from dataclasses import dataclass, fields
from typing import Any

from analysis.diffusion.conditional_model import MODES
from analysis.letters.data import CLASSES
from analysis.letters.models import RECIPES
from analysis.tiling import SCHEMES
from workflows.errors import RequestError
from workflows.procedures.options import RunOptions, option

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class LettersOptions(RunOptions):
    """Letters out of noise, by names and numbers only."""

    letter: str = option(ALL, "Which to generate: H, K, U or all.", flag="class")
    samples: int = option(500, "Letters of each class.", flag="samples -n")
    mode: str = option("ode", "Equation that the loop solves: ode, or sde with the board's noise.")
    guidance: float = option(0.5, "Strength of the guidance that the network is trained for (lambda of Eq. 7).")
    data: str = option("", "Folder with EMNIST files to train on; default: letters drawn from strokes.")
    split: str = option("", "EMNIST split: byclass, letters or balanced; default: the one there.")
    judge: str = option("", "Folder with EMNIST files for the classifier that reads; default: data, else strokes.")
    recipe: str = option("letters", "Training: letters, letters-small or quick.")
    seed: int = option(1, "Of the training and of the initial states.")
    tolerance: float = option(1e-6, "Half width of the programming window.", unit="S", flag="window")
    verify: float = option(0.7, "Share of the window that verify reads must lie within.")
    budget: int = option(120, "Pulses a cell may take.")
    uncalibrated: int = option(50, "Letters of each class before the offsets are calibrated.")
    calibration_runs: int = option(32, "Solutions a calibration round.")
    calibration_rounds: int = option(2, "Rounds of offset calibration; 0: none.")
    compensation: int = option(300, "Iterations of the chip-in-the-loop training, twice; 0: none.")
    points: int = option(1000, "Oscilloscope samples a solution.")
    curve: int = option(400, "Letters a point of the digital guidance curve; 0: no curve.")
    cache: str = option("", "Folder of trained networks.")
    baseline: bool = option(True, "Measure the digital baseline on this computer.")
    station: str = option("station-letters.yaml", "Station file.")

    @property
    def labels(self) -> tuple[int, ...]:
        """Numbers of the classes to generate."""
        return tuple(range(len(CLASSES))) if self.letter == ALL else (CLASSES.index(self.letter),)

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RequestError: with what is allowed.
        """
        for name, allowed in (("letter", (*CLASSES, ALL)), ("mode", MODES), ("recipe", tuple(RECIPES))):
            if getattr(self, name) not in allowed:
                shown = "class" if name == "letter" else name
                raise RequestError(f"{shown} {getattr(self, name)!r} is unknown; allowed: {', '.join(allowed)}")
        ranges = {"samples": (2, 1_000_000), "uncalibrated": (0, 100_000), "calibration_runs": (8, 10_000),
                  "calibration_rounds": (0, 10), "points": (250, 100_000), "compensation": (0, 100_000),
                  "curve": (0, 100_000), "guidance": (0.0, 10.0)}  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise RequestError(f"{name.replace('_', ' ')} must be {low}..{high}, not {getattr(self, name)}")
        if not 0 < self.tolerance <= 50e-6:
            raise RequestError(
                f"window of ±{self.tolerance * 1e6:g} uS makes no sense; give more than 0, at most 50 uS"
            )
        if self.split and not self.data:
            raise RequestError("a split of EMNIST needs a folder of EMNIST; give --data, too")

    def parameters(self) -> dict[str, Any]:
        """What the experiment is, without where and by whom."""
        common = {one.name for one in fields(RunOptions)} | {"cache", "baseline", "data", "judge"}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in common}


SCHEME = SCHEMES[0]
"""How the decoder lies on the arrays: kernels are reused, or it would take sixty of them."""
