"""The equation in torch, for a GPU: the same law, other random bits (those of torch's generator on that device)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from analysis.kernel.counter import Words
from analysis.kernel.equation import Equation

Floats = npt.NDArray[np.float32]


def solve_torch(
    equation: Equation, start: Floats | None, n: int, keys: Words, every: int, out: Floats, device: str = "cuda"
) -> None:
    """Take start (n, 2), or as many draws of the prior, through the equation; out (records, n, 2) as in `plain`.

    Equal keys give equal results on one device and one release of torch.
    """
    generator = torch.Generator(device)
    generator.manual_seed(int(keys[2]) << 31 | int(keys[3]) >> 1)

    def to(values: npt.ArrayLike) -> torch.Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float32, device=device)

    def normal(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator, device=device)

    low, high = equation.clamp or (-float("inf"), float("inf"))
    weights = [to(w[:, :-1].T) for w in equation.weights]
    # A row's biases and embedding are one vector: adding them is part of the product.
    rows = (
        to(np.concatenate([equation.embedding + equation.weights[0][:, -1]])),
        to(equation.embedding + equation.weights[1][:, -1]),
    )
    last = to(equation.weights[2][:, -1])
    variances = [(to(s[:, :-1].T), to(s[:, -1])) for s in equation.variances or ()]
    rates, shift = equation.rates.tolist(), to(equation.shift)

    def increment(x: torch.Tensor, row: int, noise: list[torch.Tensor]) -> torch.Tensor:
        v = x.clamp(low, high)
        for layer, w in enumerate(weights):
            z = torch.addmm(rows[layer][row] if layer < 2 else last, v, w)
            if variances:
                sigma = torch.addmm(variances[layer][1], v * v, variances[layer][0]).sqrt_()
                if len(noise) <= layer:
                    noise.append(normal(z))
                z = torch.addcmul(z, sigma, noise[layer])
            v = z.clamp(0.0, high) if layer < 2 else z
        keep, gain = float(rates[row][0]), float(rates[row][1])
        return torch.add((keep - 1.0) * x + shift, v, alpha=gain)

    with torch.inference_mode():
        x = equation.prior * torch.randn((n, 2), generator=generator, device=device) if start is None else to(start)
        record = 0
        for k in range(equation.steps):
            # A step's read noise is one draw: both ends of a Heun step see the same cells.
            noise: list[torch.Tensor] = []
            change = increment(x, k, noise)
            if equation.heun:
                change = 0.5 * (change + increment(x + change, k + equation.ahead, noise))
            x = x + change
            if equation.stochastic:
                x = torch.add(x, normal(x), alpha=rates[k][2])
            if (k + 1) % every == 0 or k == equation.steps - 1:
                out[record] = x.cpu().numpy()
                record += 1
