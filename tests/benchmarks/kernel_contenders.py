"""The other ways to solve the kernel's equation, each as its users write it: same tables, same network, one core.

Every factory takes the equation's tables and returns a function that solves n trajectories and hands back the ends.
The network here is the plain one, without clamps: what the others are spared the kernel still does.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from analysis.kernel.equation import Equation

Array = npt.NDArray[np.float64]
Solver = Callable[[int], npt.NDArray[Any]]


class _Tables:
    """Rates a, b per unit of time, diffusion s, and the rows of bias plus embedding, of steps of length h."""

    def __init__(self, equation: Equation) -> None:
        self.steps = equation.steps
        self.h = 1.0 / self.steps
        self.a, self.b = (equation.rates[:, 0] - 1.0) / self.h, equation.rates[:, 1] / self.h
        self.s = equation.rates[:, 2] / np.sqrt(self.h)
        self.w = [w[:, :-1].T for w in equation.weights]
        self.rows = [equation.embedding + equation.weights[layer][:, -1] for layer in (0, 1)]
        self.last = equation.weights[2][:, -1]
        self.prior = equation.prior


def _to(values: npt.ArrayLike) -> torch.Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


class _Torch:
    def __init__(self, equation: Equation) -> None:
        t = _Tables(equation)
        self.steps, self.prior = t.steps, t.prior
        self.w = [_to(w).contiguous() for w in t.w]
        self.rows, self.last = [_to(r) for r in t.rows], _to(t.last)
        self.a, self.b, self.s = t.a.tolist(), t.b.tolist(), t.s.tolist()

    def row(self, time: Any) -> int:
        return min(int(float(time) * self.steps + 1e-4), self.steps - 1)

    def drift(self, k: int, x: torch.Tensor) -> torch.Tensor:
        v = torch.addmm(self.rows[0][k], x, self.w[0]).relu_()
        v = torch.addmm(self.rows[1][k], v, self.w[1]).relu_()
        return self.a[k] * x + self.b[k] * torch.addmm(self.last, v, self.w[2])

    def start(self, n: int) -> torch.Tensor:
        return self.prior * torch.randn(n, 2)


def torch_loop(equation: Equation) -> Solver:
    """A loop of Euler-Maruyama steps written by hand."""
    tables = _Torch(equation)
    h = 1.0 / tables.steps

    def solve(n: int) -> npt.NDArray[Any]:
        with torch.inference_mode():
            x = tables.start(n)
            for k in range(tables.steps):
                x = torch.add(x, tables.drift(k, x), alpha=h)
                x.add_(torch.randn_like(x), alpha=tables.s[k] * h**0.5)
            return x.numpy()

    return solve


def torchsde_euler(equation: Equation) -> Solver:
    """Euler's method of torchsde with diagonal noise and its own Brownian interval."""
    import torchsde

    tables = _Torch(equation)

    class Reverse(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Any, y: torch.Tensor) -> torch.Tensor:
            return tables.drift(tables.row(t), y)

        def g(self, t: Any, y: torch.Tensor) -> torch.Tensor:
            return torch.full_like(y, tables.s[tables.row(t)])

    def solve(n: int) -> npt.NDArray[Any]:
        with torch.no_grad():
            ends = torchsde.sdeint(
                Reverse(), tables.start(n), torch.tensor([0.0, 1.0]), dt=1.0 / tables.steps, method="euler"
            )
        return ends[-1].numpy()

    return solve


def torchdiffeq_euler(equation: Equation) -> Solver:
    """Euler's method of torchdiffeq: the drift alone, it has no noise."""
    import torchdiffeq

    tables = _Torch(equation)

    def solve(n: int) -> npt.NDArray[Any]:
        with torch.no_grad():
            ends = torchdiffeq.odeint(
                lambda t, y: tables.drift(tables.row(t), y), tables.start(n), torch.tensor([0.0, 1.0]),
                method="euler", options={"step_size": 1.0 / tables.steps},
            )  # fmt: skip
        return ends[-1].numpy()

    return solve


def _jax_drift(equation: Equation) -> tuple[Any, Any, _Tables]:
    import jax
    import jax.numpy as jnp

    t = _Tables(equation)
    w = [jnp.asarray(m, jnp.float32) for m in t.w]
    rows, last = [jnp.asarray(r, jnp.float32) for r in t.rows], jnp.asarray(t.last, jnp.float32)
    a, b, s = (jnp.asarray(v, jnp.float32) for v in (t.a, t.b, t.s))

    def drift(k: Any, x: Any) -> Any:
        v = jax.nn.relu(x @ w[0] + rows[0][k])
        v = jax.nn.relu(v @ w[1] + rows[1][k])
        return a[k] * x + b[k] * (v @ w[2] + last)

    return drift, s, t


def diffrax_euler(equation: Equation) -> Solver:
    """Euler's method of diffrax, compiled, over its fastest ("unsafe") Brownian path."""
    import diffrax
    import jax
    import jax.numpy as jnp

    drift, s, t = _jax_drift(equation)

    def row(time: Any) -> Any:
        return jnp.minimum((time * t.steps + 1e-4).astype(int), t.steps - 1)

    def run(x: Any, key: Any) -> Any:
        path = diffrax.UnsafeBrownianPath(shape=x.shape, key=key)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda time, y, _: drift(row(time), y)),
            diffrax.ControlTerm(lambda time, y, _: _diagonal(diffrax, s[row(time)], y), path),
        )
        found = diffrax.diffeqsolve(
            terms, diffrax.Euler(), 0.0, 1.0, t.h, x, max_steps=t.steps + 8,
            adjoint=diffrax.ForwardMode(),
        )  # fmt: skip
        return found.ys[-1]

    compiled = jax.jit(run)

    def solve(n: int) -> npt.NDArray[Any]:
        x = t.prior * jax.random.normal(jax.random.key(1), (n, 2))
        return np.asarray(compiled(x, jax.random.key(2)))

    return solve


def _diagonal(diffrax: Any, scale: Any, y: Any) -> Any:
    import jax.numpy as jnp
    import lineax

    return lineax.DiagonalLinearOperator(jnp.broadcast_to(scale, y.shape))


def jax_scan(equation: Equation) -> Solver:
    """A scan written by hand in jax, compiled."""
    import jax
    import jax.numpy as jnp

    drift, s, t = _jax_drift(equation)

    def run(x: Any, key: Any) -> Any:
        def step(x: Any, k: Any) -> Any:
            noise = jax.random.normal(jax.random.fold_in(key, k), x.shape)
            return x + t.h * drift(k, x) + s[k] * t.h**0.5 * noise, None

        return jax.lax.scan(step, x, jnp.arange(t.steps))[0]

    compiled = jax.jit(run)

    def solve(n: int) -> npt.NDArray[Any]:
        x = t.prior * jax.random.normal(jax.random.key(1), (n, 2))
        return np.asarray(compiled(x, jax.random.key(2)))

    return solve


def aihwkit_tile(equation: Equation) -> Solver:
    """aihwkit's torch tiles in a loop by hand; the torch tile has noise of its outputs, none of its weights."""
    from aihwkit.nn import AnalogLinear
    from aihwkit.simulator.configs import TorchInferenceRPUConfig

    tables, h = _Torch(equation), 1.0 / equation.steps
    config = TorchInferenceRPUConfig()
    config.forward.is_perfect = False
    config.forward.inp_res = config.forward.out_res = -1.0
    config.forward.out_noise = 0.01
    layers = []
    for w in tables.w:
        layer = AnalogLinear(w.shape[0], w.shape[1], bias=False, rpu_config=config)
        layer.set_weights(w.T.contiguous(), None)
        layers.append(layer.eval())

    def solve(n: int) -> npt.NDArray[Any]:
        with torch.inference_mode():
            x = tables.start(n)
            for k in range(tables.steps):
                v = (layers[0](x) + tables.rows[0][k]).relu_()
                v = (layers[1](v) + tables.rows[1][k]).relu_()
                x = x + h * (tables.a[k] * x + tables.b[k] * (layers[2](v) + tables.last))
                x.add_(torch.randn_like(x), alpha=tables.s[k] * h**0.5)
            return x.numpy()

    return solve


CONTENDERS: dict[str, Callable[[Equation], Solver]] = {
    "torchsde (SDE)": torchsde_euler,
    "diffrax, unsafe path (SDE)": diffrax_euler,
    "torch loop by hand (SDE)": torch_loop,
    "jax scan by hand (SDE)": jax_scan,
    "torchdiffeq (ODE)": torchdiffeq_euler,
    "aihwkit torch tile (SDE, output noise)": aihwkit_tile,
}
