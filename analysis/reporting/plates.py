"""What each figure of a run shows, which figure of the publication it reproduces, and what that one says."""

from collections.abc import Sequence
from pathlib import Path

from analysis.characterisation import paper
from analysis.page import plate

_PLATES: tuple[tuple[str, str, str], ...] = (
    ("letters", "Letters drawn by the loop and decoded.", "Fig. 4"),
    ("fig3e-samples", "Samples beside the true circle.", "Fig. 3e"),
    ("cost", "Time and energy a sample; hatched bars are the paper's claims.", "Fig. 3f,g and 4g,h"),
    ("fig3d-field", "The vector field as the network on the chip gives it.", "Fig. 3d"),
    ("fig3c-voltages", "Voltages that the network's nodes take.", "Fig. 3c"),
    ("fig3a-waveforms", "One solution on the oscilloscope.", "Fig. 3a"),
    ("fig3b-weights", "The network's weights as conductances.", "Fig. 3b"),
    ("latents", "Solutions of the three letters in the latent plane.", "Fig. 4d"),
    ("evolution", "Solutions at instants of their time.", "Fig. 4e"),
    ("one-start", "One initial state, three letters.", "Fig. 4"),
    ("plane", "The latent plane decoded.", "Fig. 4"),
    ("guidance", "What the strength of guidance does, digitally.", ""),
    ("decoder-error", "The decoder on arrays against the digital one.", ""),
    ("decoder", "The decoder's layers for one point.", "Fig. 4c"),
    ("programming", "An array programmed: target, read back, error.", "Fig. 2f,g"),
    ("traces", "Write and verify, cell by cell.", "Fig. 5b"),
    ("iv-", "Quasi-static I-V sweeps of a cell.", paper.IV),
    ("levels-", "Levels of a cell.", paper.LEVELS),
    ("retention", "Conductance against time.", paper.RETENTION),
    ("array-errors", "Errors of an array at several times.", paper.ERRORS),
    ("forming", "Forming by a gate ramp.", ""),
    ("pulses", "Response to pulses.", ""),
    ("noise", "Read noise, spectra, telegraph noise.", ""),
    ("endurance", "High and low state over cycles.", ""),
    ("disturb", "What reads and half-selecting pulses do.", ""),
    ("health", "Which cells had drifted, and after mending.", ""),
)
"""Beginning of the file's name, what it shows, and of the publication: the figure's number or what it says of it."""


def in_order(pictures: Sequence[Path]) -> list[Path]:
    """Pictures as a reader wants them: what was achieved first."""
    return sorted(pictures, key=lambda path: (_place(path.stem), path.stem))


def plates(pictures: Sequence[Path]) -> tuple[str, ...]:
    """Every picture with its caption, in order."""
    return tuple(plate(path, caption(path.stem)) for path in in_order(pictures))


def caption(stem: str) -> str:
    """What the figure of that file name shows."""
    place = _place(stem)
    if place == len(_PLATES):
        return stem.replace("-", " ")
    _, shown, published = _PLATES[place]
    if not published:
        return f"{shown} The paper has no such figure."
    return (
        f"{shown} The {published}."
        if published.startswith("paper")
        else f"{shown} Corresponds to the paper's {published}."
    )


def _place(stem: str) -> int:
    return next((k for k, (start, _, _) in enumerate(_PLATES) if stem.startswith(start)), len(_PLATES))
