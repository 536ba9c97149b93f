"""What the publication claims: constants that nothing else is computed from, to be shown beside our own numbers."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cost import si


@dataclass(frozen=True)
class Claim:
    """The paper's numbers for one task: s and J a sample (None: not stated), and over its GPU."""

    source: str
    task: str
    speedup: float
    saving: float
    seconds: float | None = None
    joules: float | None = None

    @property
    def baseline_seconds(self) -> float | None:
        """What the GPU must have needed, s."""
        return None if self.seconds is None else self.seconds * self.speedup

    @property
    def baseline_joules(self) -> float | None:
        """What the GPU's sample must have cost, J."""
        return None if self.joules is None else self.joules / (1.0 - self.saving)

    @property
    def baseline_power(self) -> float | None:
        """The quotient of the two, W."""
        seconds, joules = self.baseline_seconds, self.baseline_joules
        return None if seconds is None or joules is None else joules / seconds

    def explain(self) -> str:
        """Say in words what baseline the claim implies."""
        seconds, joules, power = self.baseline_seconds, self.baseline_joules, self.baseline_power
        text = f"{self.source}, {self.task}: {self.speedup:g}x faster, {self.saving:.1%} less energy (the paper's)."
        if seconds is not None:
            text += f" They imply a baseline of {seconds * 1e3:.4g} ms a sample, some launch-bound steps of a framework"
            text += "." if joules is None else f", and {si(joules, 'J')}."
        if power is not None:
            text += (
                f" Together that is {si(power, 'W')}, thousands of times below a GPU at work: time and "
                "energy can't be of one execution; the energy is, as the text says, scaled to a technology node."
            )
        return text


CLAIMS: tuple[Claim, ...] = (
    Claim("arXiv version, Fig. 3f,g", "circle", 64.8, 0.808, 20e-6, 7.2e-6),
    Claim("arXiv version, Fig. 4g,h", "letters", 156.5, 0.756),
    Claim("published version", "circle", 69.0, 0.315, 20e-6),
    Claim("published version", "letters", 116.5, 0.520),
)
"""Constants of the publication; never ours. The published version's solution time is taken to be the arXiv one's."""
