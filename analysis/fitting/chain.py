"""The sampler of the pulse model: Metropolis steps for cells and common constants, exact draws of means and spreads."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from analysis.fitting import jumps, kernel
from analysis.fitting.model import LATENT, MICRO, RESETS, SETS, Draws, Floats
from analysis.fitting.observations import Steps
from analysis.fitting.start import Side, begin_at, gate_line

_LEAST_SPREAD = np.array([1e-3 * 125, 5e-4, 2e-3, 0.05, 2e-3, 0.02])
"""Spreads never fall below these, so that cells stay free; columns `LATENT`, uS and V."""


class Chain:
    """State of the sampler."""

    def __init__(
        self, sides: tuple[Side, ...], start: tuple[Floats, Floats], base: Mapping[str, float],
        relax_b: tuple[float, float], count: int, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.sides, self.rng, self.base, self.relax_b = sides, rng, base, relax_b
        self.mean, self.shared = start
        self.spread = np.array([
            max(base["k_g_spread"], 0.06) * self.mean[0], max(base["v_t_spread"], 0.02), max(base["v_s_spread"], 0.04),
            max(base["g_max_spread"] * MICRO, 2.0), max(base["v_r_spread"], 0.04),
            max(base["g_min_spread"] * MICRO, 1.0),
        ])  # fmt: skip
        self.latent = self.mean + 0.3 * self.spread * rng.standard_normal((count, 6))
        self.free = np.ones(6, bool)
        self.free_shared = np.ones(7, bool)
        self.free_shared[[jumps.PROBABILITY, jumps.SIZE]] = False  # they have moves of their own
        self.scale = [np.full(count, 0.6), np.full(count, 0.6)]
        self.chol = [np.diag(self.spread[part]) for part in (SETS, RESETS)]
        self.sums = [np.zeros((count, n)) for n in (4, 2)]
        self.squares = [np.zeros((count, n, n)) for n in (4, 2)]
        self.number = 0
        self.stretch = np.array([0.1, 0.1])
        self.shared_scale = 0.3
        self.jump_scale = 0.3
        self.shared_chol = np.diag([0.03, 0.05, 0.05, 0.2, 0.1, 0.05, 0.0])
        self.shared_past: list[Floats] = []
        self.counts = np.zeros((3, 2))
        self.log_l = [
            sides[0].likelihood(self.latent[:, SETS], self.shared),
            sides[1].likelihood(self.latent[:, RESETS], self.shared),
        ]

    def know(self, steps: Steps) -> None:
        """Decide from the pulses which constants the data can tell."""
        sets, resets = steps.only(~steps.reset), steps.only(steps.reset)
        # g_max shows where strong SETs end below what their gates would let pass.
        line = gate_line(sets, self.base["g_max"])
        stopped = np.zeros(len(sets), bool)
        if line is not None:
            slope, threshold, short = line
            self.mean[:2] = slope * MICRO, threshold
            self.latent[:, :2] = self.mean[:2] + 0.3 * self.spread[:2] * self.rng.standard_normal((len(self.latent), 2))
            stopped = short
        reached = np.unique(sets.cell[stopped])
        if len(reached) >= 8:
            self.mean[3] = float(np.median(sets.after[stopped])) * MICRO
            self.latent[:, 3] = self.mean[3]
            begin_at(self.latent[:, 3], sets.cell[stopped], sets.after[stopped] * MICRO, 0.5)
        near = np.unique(resets.cell[resets.after * MICRO < 2.5 * self.mean[5]])
        # Half of the strong RESETs go all the way: the middle of that half is the cell's G_min.
        full = (resets.volts > self.mean[4] + 5 * self.shared[0]) & (resets.before * MICRO > 2 * self.mean[5])
        begin_at(self.latent[:, 5], resets.cell[full], resets.after[full] * MICRO, 0.25)
        gates = len(np.unique(np.round(sets.gate, 2)))
        self.informed = {
            "sets": int(self.sides[0].seen.sum()) if gates >= 2 else 0, "resets": int(self.sides[1].seen.sum()),
            "g_max": len(reached), "g_min": len(near),
        }  # fmt: skip
        set_informed = self.informed["sets"] >= 8
        reset_informed = self.informed["resets"] >= 8
        self.free = np.array([
            set_informed, set_informed, set_informed, self.informed["g_max"] >= 8, reset_informed,
            reset_informed and self.informed["g_min"] >= 8,
        ])  # fmt: skip
        for column, name in ((3, "g_max"), (5, "g_min")):
            if not self.free[column]:
                self.mean[column] = self.base[name] * MICRO
                self.latent[:, column] = self.mean[column]
        for part, side in enumerate(self.sides):
            self.log_l[part] = side.likelihood(self.latent[:, (SETS, RESETS)[part]], self.shared)
        gate = float(np.median(sets.gate)) if len(sets) else 1.1
        # A steeper gate slope and a higher threshold give the same ceiling at the usual gate.
        self.ridge = np.array([0.04 * self.mean[0], 0.04 * max(gate - self.mean[1], 0.1), 0.0, 0.0])
        # relax_a shows in what full RESETs of one cell leave.
        self.free_shared[2] = self.free_shared[5] = bool(self.free[5])
        self.free_shared[6] = bool(self.free[5]) and self.relax_b[1] > 0

    def climb(self) -> None:
        """Bring every cell near its best constants, and shape the first proposals by how sharp they are."""
        for part, columns in enumerate((SETS, RESETS)):
            axes = list(np.diag(self.spread[columns] * self.free[columns])) + ([self.ridge] if part == 0 else [])
            for size in (1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.12, 0.06):
                for direction in axes:
                    for sign in (size, -size):
                        self._move_if_better(part, sign * direction)
                # The means follow; spreads of cells at their best would shrink to nothing.
                self.mean[columns] = np.where(
                    self.free[columns], np.median(self.latent[:, columns], axis=0), self.mean[columns]
                )
            self._curvature(part)
        self._bottoms()

    def _bottoms(self) -> None:
        """Where SETs' downward jumps end: known to tenths of a uS from RESETs, so that it needn't follow every step."""
        self.sides[0].bottoms(self.latent[:, 5])
        self.log_l[0] = self.sides[0].likelihood(self.latent[:, SETS], self.shared)

    def _move_if_better(self, part: int, kick: Floats) -> None:
        columns = (SETS, RESETS)[part]
        now = self.latent[:, columns]
        new = now + kick * self.free[columns]
        likely = self.sides[part].likelihood(new, self.shared)
        better = likely - self.log_l[part] + self._prior(new, columns) - self._prior(now, columns) > 0
        self.latent[better, columns] = new[better]
        self.log_l[part][better] = likely[better]

    def _curvature(self, part: int) -> None:
        """Proposals from the typical second derivatives of the cells' likelihoods."""
        columns = (SETS, RESETS)[part]
        side, now, n = self.sides[part], self.latent[:, columns], len(self.mean[columns])
        h = 0.2 * self.spread[columns]
        middle = self.log_l[part]
        up = [side.likelihood(now + h * e, self.shared) for e in np.eye(n)]
        down = [side.likelihood(now - h * e, self.shared) for e in np.eye(n)]
        precision = np.zeros((n, n))
        seen = side.seen
        for i in range(n):
            for j in range(i + 1):
                if i == j:
                    second = up[i] + down[i] - 2 * middle
                else:
                    both = side.likelihood(now + h * (np.eye(n)[i] + np.eye(n)[j]), self.shared)
                    second = both - up[i] - up[j] + middle
                precision[i, j] = precision[j, i] = -float(np.median(second[seen])) if seen.any() else 0.0
        values, vectors = np.linalg.eigh(precision + np.diag((h / self.spread[columns]) ** 2))
        covariance = (vectors / np.maximum(values, 0.2**2)) @ vectors.T * np.outer(h, h)
        self.chol[part] = np.linalg.cholesky(covariance)
        self.scale[part][:] = 2.0 / np.sqrt(n)

    def step(self, *, adapt: bool = False, step: int = 0, of: int = 1) -> None:
        """One sweep: cells, means and spreads, common constants; jumps every other time, for what they cost."""
        for part in (0, 1):
            self._cells(part, adapt=adapt)
        self._population()
        if self.free[0]:
            self._stretch(step % 2, adapt=adapt)
        self._common(adapt=adapt, step=step)
        if step % 2:
            self._jumps(adapt=adapt)
        else:
            self._common(adapt=adapt, step=step)
        if adapt and step in (of // 3, 2 * of // 3):
            self._learn()
            self._bottoms()

    def _cells(self, part: int, *, adapt: bool) -> None:
        columns = (SETS, RESETS)[part]
        rng, now = self.rng, self.latent[:, columns]
        kick = (rng.standard_normal(now.shape) @ self.chol[part].T) * self.scale[part][:, None]
        new = now + kick * self.free[columns]
        prior = self._prior(new, columns) - self._prior(now, columns)
        likely = self.sides[part].likelihood(new, self.shared)
        gain = likely - self.log_l[part] + prior
        chance = np.exp(np.minimum(gain, 0.0))
        taken = (rng.random(len(gain)) < chance) & np.isfinite(gain)
        self.latent[taken, columns] = new[taken]
        self.log_l[part][taken] = likely[taken]
        self.counts[part] += taken.sum(), taken.size
        if adapt:
            self.scale[part] *= np.exp(0.15 * (np.nan_to_num(chance) - 0.3))
            x = self.latent[:, columns] - self.mean[columns]
            self.sums[part] += x
            self.squares[part] += np.einsum("ci,cj->cij", x, x)
            self.number += part == 0

    def _learn(self) -> None:
        """Shape the proposals by what the cells did so far."""
        for part, columns in enumerate((SETS, RESETS)):
            mean = self.sums[part] / self.number
            within = self.squares[part] / self.number - np.einsum("ci,cj->cij", mean, mean)
            # Cells had much the same pulses, so that their posteriors have much the same shape: the mean of all is
            # far surer than a cell's own, and its size adapts.
            covariance = within[self.sides[part].seen].mean(axis=0) + np.diag((0.01 * self.spread[columns]) ** 2)
            self.chol[part] = np.linalg.cholesky(covariance)
            self.scale[part][:] = 2.0 / np.sqrt(covariance.shape[1])
            self.sums[part][:] = 0
            self.squares[part][:] = 0
        self.number = 0

    def _prior(self, latent: Floats, columns: slice) -> Floats:
        z = (latent - self.mean[columns]) / self.spread[columns]
        bad = (latent[:, 0] <= 0) if columns is SETS else (latent[:, 1] <= 0.05)
        return np.where(bad, -np.inf, -0.5 * np.sum(np.square(z) * self.free[columns], axis=1))

    def _population(self) -> None:
        """Exact draws of means and spreads given the cells (flat in both)."""
        for part, columns in enumerate((SETS, RESETS)):
            seen = self.sides[part].seen
            n = int(seen.sum())
            for i in range(*columns.indices(6)):
                if not self.free[i]:
                    continue
                values = self.latent[seen, i]
                centre = float(values.mean())
                scatter = float(np.sum((values - centre) ** 2))
                variance = scatter / self.rng.chisquare(n - 2)
                self.spread[i] = max(np.sqrt(variance), _LEAST_SPREAD[i])
                self.mean[i] = centre + self.spread[i] / np.sqrt(n) * self.rng.standard_normal()

    def _stretch(self, i: int, *, adapt: bool) -> None:
        """Move k_g's or V_t's mean and spread with all cells along: what single cells hardly tell mixes slowly else."""
        growth, shift = self.stretch[i] * self.rng.standard_normal(2)
        factor = float(np.exp(growth))
        new = self.latent.copy()
        mean = self.mean[i] + 0.1 * shift * self.spread[i]
        new[:, i] = mean + (self.latent[:, i] - self.mean[i]) * factor
        if new[:, 0].min() <= 0:
            return
        likely = self.sides[0].likelihood(new[:, SETS], self.shared)
        gain = float(likely.sum() - self.log_l[0].sum()) + growth
        chance = float(np.exp(min(gain, 0.0))) if np.isfinite(gain) else 0.0
        if self.rng.random() < chance:
            self.latent, self.mean[i], self.log_l[0] = new, mean, likely
            self.spread[i] *= factor
        if adapt:
            self.stretch[i] *= float(np.exp(0.1 * (chance - 0.35)))

    def _common(self, *, adapt: bool, step: int) -> None:
        x = self._bent(self.shared)
        kick = self.shared_scale * (self.shared_chol @ self.rng.standard_normal(7))
        new_x = np.where(self.free_shared, x + kick, x)
        new = self._straight(new_x)
        if not np.all(np.isfinite(new)) or new[3] > 0.5:
            return
        likely = [
            side.likelihood(self.latent[:, columns], new)
            for side, columns in zip(self.sides, (SETS, RESETS), strict=True)
        ]
        gain = (
            float(sum(likely[p].sum() - self.log_l[p].sum() for p in (0, 1)))
            + self._common_prior(new_x)
            - self._common_prior(x)
        )
        chance = float(np.exp(min(gain, 0.0))) if np.isfinite(gain) else 0.0
        taken = self.rng.random() < chance
        if taken:
            self.shared, self.log_l = new, likely
        self.counts[2] += taken, 1
        if adapt:
            self.shared_scale *= float(np.exp(0.1 * (chance - 0.25)))
            self.shared_past.append(self._bent(self.shared))
            if step >= 150 and step % 50 == 0:
                recent = np.array(self.shared_past[len(self.shared_past) // 2 :])
                covariance = np.cov(recent.T) + np.diag(np.full(7, 1e-3)) ** 2
                old = step < 200
                self.shared_chol = np.linalg.cholesky(covariance)
                self.shared_scale = 0.8 if old else self.shared_scale

    def _jumps(self, *, adapt: bool) -> None:
        kick = self.jump_scale * float(self.rng.standard_normal())
        reference, width = self._common_scale()
        chosen = [jumps.PROBABILITY, jumps.SIZE]

        def prior(x: Floats) -> Floats:
            return np.asarray(-0.5 * np.sum(((x - reference[chosen]) / width[chosen]) ** 2, axis=1))

        self.shared, self.log_l, chance = jumps.draw(self.sides, self.latent, self.shared, kick, prior, self.rng)
        if adapt:
            self.jump_scale *= float(np.exp(0.1 * (chance - 0.4)))

    def _common_prior(self, x: Floats) -> float:
        reference, width = self._common_scale()
        return float(-0.5 * np.sum(((x - reference) / width) ** 2))

    def _common_scale(self) -> tuple[Floats, Floats]:
        """Wide: normal about the base preset in the logarithm, to keep what is hardly seen in reach."""
        reference = self._bent(np.array([
            self.base["v0"], max(self.base["c2c"], 5e-3), max(self.base["reset_sigma"], 0.03),
            max(self.base["jump_probability"], 2e-3), max(self.base["jump_sigma"] * MICRO, 0.5),
            max(self.base["relax_a"] * MICRO, 1e-3), max(self.relax_b[0], 1e-3),
        ]))  # fmt: skip
        width = np.array([1.5, 1.5, 1.5, 2.0, 1.5, 1.5, 1.0])
        width[6] = max(self.relax_b[1] / max(self.relax_b[0], 1e-3), 1e-3)
        return reference, width

    @staticmethod
    def _bent(shared: Floats) -> Floats:
        x = np.log(shared)
        x[3] -= np.log1p(-shared[3])
        return np.asarray(x)

    @staticmethod
    def _straight(x: Floats) -> Floats:
        shared = np.exp(np.clip(x, -50, 50))
        shared[3] = shared[3] / (1 + shared[3])
        return np.asarray(shared)

    def collect(self, steps: int, chosen: npt.NDArray[np.int64]) -> Draws:
        """Sample and keep."""
        shared, mean, spread = np.zeros((steps, 7)), np.zeros((steps, 6)), np.zeros((steps, 6))
        total, square = np.zeros_like(self.latent), np.zeros_like(self.latent)
        every = max(1, steps // 40)
        kept_cells, kept_shared = [], []
        for i in range(steps):
            self.step(step=i)
            shared[i], mean[i], spread[i] = self.shared, self.mean, self.spread
            total += self.latent
            square += self.latent**2
            if i % every == 0:
                kept_cells.append(self.latent.copy())
                kept_shared.append(self.shared.copy())
        units = np.array([1e-6, 1, 1, 1e-6, 1, 1e-6])
        common = np.array([1, 1, 1, 1, 1e-6, 1e-6, 1e-6])
        spread[:, 0] /= mean[:, 0]
        spread_units = np.array([1, 1, 1, 1e-6, 1, 1e-6])
        cell_mean = total / steps
        cell_sd = np.sqrt(np.maximum(square / steps - cell_mean**2, 0))
        both = max(self.informed["sets"], self.informed["resets"])
        informed = {
            **dict.fromkeys(("k_g", "v_t", "v_s"), self.informed["sets"] * bool(self.free[0])),
            "v_r": self.informed["resets"] * bool(self.free[4]),
            "g_max": self.informed["g_max"] * bool(self.free[3]), "g_min": self.informed["g_min"] * bool(self.free[5]),
            **dict.fromkeys(("v0", "c2c", "jump_probability", "jump_sigma"), both),
            **dict.fromkeys(("reset_sigma", "relax_a"), self.informed["g_min"] * bool(self.free_shared[5])),
        }  # fmt: skip
        rates = self.counts[:, 0] / np.maximum(self.counts[:, 1], 1)
        return Draws(
            {n: shared[:, i] * common[i] for i, n in enumerate(kernel.SHARED)},
            {n: mean[:, i] * units[i] for i, n in enumerate(LATENT)},
            {n: spread[:, i] * spread_units[i] for i, n in enumerate(LATENT)},
            cell_mean * units, cell_sd * units, np.array(kept_cells) * units, np.array(kept_shared) * common,
            chosen, informed, (float(rates[0]), float(rates[1]), float(rates[2])),
        )  # fmt: skip
