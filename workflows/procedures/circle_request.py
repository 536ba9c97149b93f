"""What a circle experiment is asked to do, checked before anything is driven."""

from dataclasses import asdict, dataclass
from typing import Any

from analysis.diffusion.training import RECIPES
from workflows.errors import RequestError


@dataclass(frozen=True)
class CircleRequest:
    """What to do.

    Attributes:
        samples: solutions to sample.
        uncalibrated: solutions to sample before the calibration, for comparison.
        calibration_runs, calibration_rounds: solutions a round, and rounds.
        recipe, seed: of the training.
        tolerance, verify, budget: of the write-verify, see `ProgramRequest`.
        points: samples of the oscilloscope a solution.
        field: points an axis of the measured vector field.
        compensation: iterations of the chip-in-the-loop training, twice; 0 for none.
    """

    samples: int = 1000
    uncalibrated: int = 200
    calibration_runs: int = 32
    calibration_rounds: int = 2
    recipe: str = "hardware"
    seed: int = 1
    tolerance: float = 1e-6
    verify: float = 0.7
    budget: int = 120
    points: int = 2000
    field: int = 11
    compensation: int = 500

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


def request_parameters(request: CircleRequest) -> dict[str, Any]:
    """What the run's header keeps."""
    return asdict(request)
