"""Class-conditional networks as plain arrays: what the board runs, and the digital score network that guides.

One network of 282 cells serves every class: the condition is 14 values added to the time embedding, currents at the
same nodes of the amplifiers (paper, Fig. 4b), and so a table of its own for each class. `ConditionalModel` holds such
drives, for the flow (`ode`) and for the reverse stochastic equation (`sde`), over one set of weights.

`ScoreModel` is the digital network 2-14-14-2 with a class or, the condition dropped, without one: score = n / std(t).
Guidance (paper, Eq. 7) is

    s_guided(x, c, t) = (1 + guidance) s(x, c, t) - guidance s(x, t)

which needs the network twice at the same instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import N_HIDDEN, AnalogNetwork, Drive
from analysis.diffusion.model import TrainedModel
from analysis.diffusion.sde import VPSDE, Prior
from analysis.diffusion.store import load_arrays, save_arrays
from analysis.errors import AnalysisError
from analysis.mapping import ConductanceWindow, NetworkMap

Array = npt.NDArray[np.float64]

MODES = ("ode", "sde")
_FORMAT = 1


@dataclass(frozen=True)
class ConditionalModel:
    """A network for the board: weights, scales in S per unit weight, and a drive for each mode and class.

    `guidance` is the strength that the targets of training had; it is part of the weights and tables.
    """

    recipe: str
    seed: int
    weights: tuple[Array, ...]
    scales: tuple[float, ...]
    drives: dict[str, tuple[Drive, ...]]
    guidance: float = 0.0

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(next(iter(self.drives.values())))

    def drive(self, label: int, mode: str = "ode") -> Drive:
        """Return the tables of one class; raise AnalysisError for a mode or class that was not trained."""
        if mode not in self.drives or not 0 <= label < self.classes:
            raise AnalysisError(
                f"no drive for class {label} in mode {mode!r}; trained are classes 0..{self.classes - 1} in "
                f"{', '.join(self.drives)}"
            )
        return self.drives[mode][label]

    def of(self, label: int, mode: str = "ode") -> TrainedModel:
        """Return one class as an unconditional model, for everything that takes one."""
        return TrainedModel(self.recipe, self.seed, self.weights, self.scales, self.drive(label, mode))

    def ideal_network(self, window: ConductanceWindow | None = None) -> AnalogNetwork:
        """Return the circuit with exact conductances, the same for every class."""
        return self.of(0, next(iter(self.drives))).ideal_network(window)

    def map(self, stuck: Array | None = None, window: ConductanceWindow | None = None) -> NetworkMap:
        """Return the map onto three arrays, around `stuck` cells (3, 32, 32)."""
        return self.of(0, next(iter(self.drives))).map(stuck, window)

    def save(self, path: Path) -> None:
        """Write the model to `path` (.npz), whole or not at all."""
        arrays: dict[str, npt.NDArray[np.generic]] = {f"weights_{i}": w for i, w in enumerate(self.weights)}
        arrays |= {
            "format": np.array(_FORMAT),
            "recipe": np.array(self.recipe),
            "seed": np.array(self.seed),
            "scales": np.array(self.scales),
            "guidance": np.array(self.guidance),
            "modes": np.array(list(self.drives)),
        }
        for mode, drives in self.drives.items():
            for k, d in enumerate(drives):
                noise = np.zeros_like(d.fx) if d.noise is None else d.noise
                arrays[f"{mode}_{k}"] = np.column_stack([d.fx, d.g2, noise, d.embedding])
                arrays[f"{mode}_{k}_loop"] = np.array([d.kf, d.kg, d.prior.std, *d.trim, float(d.noise is not None)])
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> ConditionalModel:
        """Read what `save` wrote; raise AnalysisError if the file is anything else."""
        file = _floats(path)
        try:
            _check_format(file, path)
            drives: dict[str, tuple[Drive, ...]] = {}
            for mode in (str(m) for m in file["modes"]):
                count = sum(name.startswith(f"{mode}_") and name.endswith("_loop") for name in file)
                drives[mode] = tuple(_drive(file[f"{mode}_{k}"], file[f"{mode}_{k}_loop"]) for k in range(count))
            weights = tuple(file[f"weights_{i}"] for i in range(3))
            scales = tuple(float(v) for v in file["scales"])
            return cls(str(file["recipe"]), int(file["seed"]), weights, scales, drives, float(file["guidance"]))
        except (KeyError, ValueError, IndexError) as error:
            raise AnalysisError(
                f"{path} holds no conditional model: {error}; delete it, it will be made again"
            ) from error


@dataclass(frozen=True)
class ScoreModel:
    """The digital score network: weights (n_out, n_in + 1), time embedding on even knots of tau = 1 - t, classes.

    `time` (knots, 14) is interpolated linearly, `classes` (n, 14) is added for a class and nothing is without one.
    `prior_std` is the spread of the common Gaussian from which every class starts.
    """

    weights: tuple[Array, ...]
    time: Array
    classes: Array
    prior_std: float
    sde: VPSDE

    def __post_init__(self) -> None:
        """Check the shapes."""
        if self.time.shape[1:] != (N_HIDDEN,) or self.classes.shape[1:] != (N_HIDDEN,):
            raise AnalysisError(f"embeddings need {N_HIDDEN} values, got {self.time.shape} and {self.classes.shape}")

    @property
    def prior(self) -> Prior:
        """The common starting law."""
        return Prior(self.prior_std)

    def output(self, x: Array, t: float, label: int | None) -> Array:
        """Return the network's output n, std times the score, (n, 2) at x (n, 2); `label` None drops the condition."""
        position = (1.0 - t / self.sde.horizon) * (len(self.time) - 1)
        left = min(max(int(position), 0), len(self.time) - 2)
        share = position - left
        embedding = (1.0 - share) * self.time[left] + share * self.time[left + 1]
        if label is not None:
            embedding = embedding + self.classes[label]
        v = x
        for index, w in enumerate(self.weights):
            v = v @ w[:, :-1].T + w[:, -1]
            if index < len(self.weights) - 1:
                v = np.maximum(v + embedding, 0.0)
        return v

    def score(self, label: int | None, guidance: float = 0.0) -> Callable[[Array, float], Array]:
        """Return the score of a class with guidance, or without a condition: (n, 2), t -> (n, 2)."""
        if label is None and guidance != 0.0:
            raise AnalysisError("guidance needs a class")

        def score(x: Array, t: float) -> Array:
            n = self.output(x, t, label)
            if guidance != 0.0:
                n = (1.0 + guidance) * n - guidance * self.output(x, t, None)
            return np.asarray(n / max(float(self.sde.std(t)), 1e-3))

        return score

    def save(self, path: Path) -> None:
        """Write the network to `path` (.npz), whole or not at all."""
        sde = self.sde
        arrays: dict[str, npt.NDArray[np.generic]] = {f"weights_{i}": w for i, w in enumerate(self.weights)}
        arrays |= {"format": np.array(_FORMAT), "time": self.time, "classes": self.classes}
        arrays["law"] = np.array([self.prior_std, sde.beta_min, sde.beta_max, sde.horizon])
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> ScoreModel:
        """Read what `save` wrote; raise AnalysisError if the file is anything else."""
        file = _floats(path)
        try:
            _check_format(file, path)
            std, *law = (float(v) for v in file["law"])
            return cls(tuple(file[f"weights_{i}"] for i in range(3)), file["time"], file["classes"], std, VPSDE(*law))
        except (KeyError, ValueError, TypeError) as error:
            raise AnalysisError(f"{path} holds no score network: {error}; delete it, it will be made again") from error


def _drive(table: Array, loop: Array) -> Drive:
    kf, kg, std, trim_x, trim_y, stochastic = (float(v) for v in loop)
    noise = table[:, 2] if stochastic else None
    return Drive(table[:, 0], table[:, 1], table[:, 3:], kf, kg, Prior(std), np.array([trim_x, trim_y]), noise)


def _check_format(file: dict[str, Array], path: Path) -> None:
    if int(file["format"]) != _FORMAT:
        raise AnalysisError(f"{path} has format {int(file['format'])}, this program reads {_FORMAT}")


def _floats(path: Path) -> dict[str, Array]:
    return {name: np.asarray(value) for name, value in load_arrays(path).items()}
