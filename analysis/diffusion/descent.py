"""One gradient descent for every recipe of the project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: these tensors are too small for more, and sums then have one order on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Descent:
    """Adam with a cosine schedule down to 1 % of its rate, and gradients clipped to a norm if asked for."""

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        rate: float,
        iterations: int,
        betas: tuple[float, float],
        clip: float | None,
    ) -> None:
        """Prepare `iterations` steps on `parameters`."""
        self._parameters, self._clip = list(parameters), clip
        self._adam = torch.optim.Adam(self._parameters, lr=rate, betas=betas, fused=True)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._adam, max(iterations, 1), 0.01 * rate)

    def __call__(self, loss: torch.Tensor) -> None:
        """Take one step down `loss`."""
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._adam.step()
        self._schedule.step()
