"""What a circle experiment is asked to do, checked before anything is driven."""

from dataclasses import dataclass, fields
from typing import Any

from analysis.diffusion.training import RECIPES
from workflows.errors import RequestError
from workflows.procedures.options import RunOptions, option


@dataclass(frozen=True, kw_only=True)
class CircleOptions(RunOptions):
    """A circle experiment by names and numbers only."""

    samples: int = option(1000, "Solutions to sample.")
    uncalibrated: int = option(200, "Solutions to sample before the offsets are calibrated.")
    calibration_runs: int = option(32, "Solutions a calibration round.")
    calibration_rounds: int = option(2, "Rounds of offset calibration; 0: none.")
    recipe: str = option("hardware", "Training: hardware, quick, paper-short or paper.")
    seed: int = option(1, "Of the training and of the initial states.")
    tolerance: float = option(1e-6, "Half width of the programming window.", unit="S", flag="window")
    verify: float = option(0.7, "Share of the window that verify reads must lie within.")
    budget: int = option(120, "Pulses a cell may take.")
    points: int = option(2000, "Oscilloscope samples a solution.")
    field: int = option(11, "Points an axis of the measured vector field; 0: none.")
    compensation: int = option(500, "Iterations of the chip-in-the-loop training, twice; 0: none.")
    cache: str = option("", "Folder of trained networks.")
    baseline: bool = option(True, "Measure the digital baseline on this computer.")

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RequestError: with the range.
        """
        ranges = {"samples": (1, 1_000_000), "uncalibrated": (0, 1_000_000), "calibration_runs": (8, 10_000),
                  "calibration_rounds": (0, 10), "points": (500, 100_000), "field": (0, 51),
                  "compensation": (0, 100_000)}  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise RequestError(f"{name.replace('_', ' ')} must be {low}..{high}, not {getattr(self, name)}")
        if not 0 < self.tolerance <= 50e-6:
            raise RequestError(
                f"window of ±{self.tolerance * 1e6:g} uS makes no sense; give more than 0, at most 50 uS"
            )
        if self.recipe not in RECIPES:
            raise RequestError(f"training recipe {self.recipe!r} is unknown; known: {', '.join(RECIPES)}")

    def parameters(self) -> dict[str, Any]:
        """What the experiment is, without where and by whom."""
        common = {one.name for one in fields(RunOptions)} | {"cache", "baseline"}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in common}
