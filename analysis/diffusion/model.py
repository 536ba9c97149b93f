"""A trained network with everything a run needs, as plain arrays; stored as npz without pickle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.sde import Prior
from analysis.errors import AnalysisError
from analysis.mapping import ConductanceWindow, NetworkMap, map_network

Array = npt.NDArray[np.float64]

_FORMAT = 1


class ModelFileError(AnalysisError):
    """A file of trained weights is not one, or of another format."""


@dataclass(frozen=True)
class TrainedModel:
    """Weights (n_out, n_in + 1) of the three layers, their scales in S per unit weight, and the drive."""

    recipe: str
    seed: int
    weights: tuple[Array, ...]
    scales: tuple[float, ...]
    drive: Drive

    def ideal_network(self, window: ConductanceWindow | None = None) -> AnalogNetwork:
        """Return the circuit with exact conductances: no levels, no write noise. Clamps remain."""
        window = window or ConductanceWindow()
        conductances = tuple(
            window.conductance(w, s, i) for i, (w, s) in enumerate(zip(self.weights, self.scales, strict=True))
        )
        return AnalogNetwork(conductances, tuple(1.0 / s for s in self.scales), window)

    def map(self, stuck: Array | None = None, window: ConductanceWindow | None = None) -> NetworkMap:
        """Return the map onto three arrays at the model's scales, around `stuck` cells (3, 32, 32)."""
        return map_network(self.weights, scales=self.scales, stuck=stuck, window=window)

    def with_drive(self, drive: Drive) -> TrainedModel:
        """Return the same weights under another drive, such as a compensated one."""
        return replace(self, drive=drive)

    def save(self, path: Path) -> None:
        """Write the model to `path` (.npz)."""
        drive = self.drive
        arrays: dict[str, npt.NDArray[np.generic]] = {f"weights_{i}": w for i, w in enumerate(self.weights)}
        arrays |= {
            "format": np.array(_FORMAT),
            "recipe": np.array(self.recipe),
            "seed": np.array(self.seed),
            "scales": np.array(self.scales),
            "fx": drive.fx,
            "g2": drive.g2,
            "embedding": drive.embedding,
            "loop": np.array([drive.kf, drive.kg, drive.prior.std]),
            "trim": drive.trim,
        }
        if drive.noise is not None:
            arrays["noise"] = drive.noise
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> TrainedModel:
        """Read a model that `save` wrote; raise ModelFileError if the file is anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file["format"]) != _FORMAT:
                    raise ModelFileError(f"{path} has format {int(file['format'])}, this program reads {_FORMAT}")
                kf, kg, std = (float(v) for v in file["loop"])
                drive = Drive(
                    file["fx"],
                    file["g2"],
                    file["embedding"],
                    kf,
                    kg,
                    Prior(std),
                    file["trim"],
                    file["noise"] if "noise" in file.files else None,
                )
                weights = tuple(file[f"weights_{i}"] for i in range(3))
                scales = tuple(float(v) for v in file["scales"])
                return cls(str(file["recipe"]), int(file["seed"]), weights, scales, drive)
        except (OSError, KeyError, ValueError, EOFError) as error:
            raise ModelFileError(f"{path} holds no trained model: {error}") from error


def circuit_of(network_map: NetworkMap, measured: Array | None = None) -> AnalogNetwork:
    """Return the circuit that a map's targets make, or measured arrays (3, 32, 32) in S."""
    parts = network_map.layer_conductances(network_map.target if measured is None else measured)
    return AnalogNetwork(parts, tuple(layer.gain for layer in network_map.layers), network_map.window)
