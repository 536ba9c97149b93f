"""Imported sweeps as an I-V run keeps them: SET and RESET in turn, so that the same summary and figure serve."""

import numpy as np

from analysis.errors import AnalysisError
from analysis.imports.foreign import Foreign, Kept, Sweep


def as_iv(found: Foreign, row: int, col: int) -> tuple[dict[str, Kept], int]:
    """(arrays by name, cycles) of a file whose sweeps are SET and RESET in turn.

    Args:
        found: what the file says; positive sweeps are taken for SET.
        row: of the cell.
        col: of the cell.

    Raises:
        AnalysisError: there are no such sweeps; says what is in the way.
    """
    sweeps = found.sweeps
    why = ""
    if len(sweeps) < 2 or len(sweeps) % 2:
        why = f"there are {len(sweeps)} sweeps"
    signs = [_sign(one) for one in sweeps]
    if not why and signs != [1, -1] * (len(sweeps) // 2):
        wrong = next(n for n, sign in enumerate(signs) if sign != 1 - 2 * (n % 2))
        why = f"sweep {wrong + 1} ({sweeps[wrong].title}) is not {'negative' if wrong % 2 else 'positive'} throughout"
    if not why:
        for n, one in enumerate(sweeps):
            if one.volts.shape != sweeps[n % 2].volts.shape or not np.allclose(
                one.volts, sweeps[n % 2].volts, atol=1e-3
            ):
                why = f"sweep {n + 1} ({one.title}) has other voltages than sweep {n % 2 + 1}"
                break
        else:
            if sweeps[0].volts.shape != sweeps[1].volts.shape:
                why = f"SET has {len(sweeps[0].volts)} levels and RESET {len(sweeps[1].volts)}"
            elif len(sweeps[0].volts) < 8:
                why = f"a sweep has {len(sweeps[0].volts)} levels only"
    if why:
        raise AnalysisError(
            f"as an I-V run a file needs SET and RESET sweeps in turn, positive and negative, of equal levels, "
            f"but {why}; import it without --procedure iv"
        )
    volts = np.stack([sweeps[0].volts, sweeps[1].volts])
    amps = np.stack([one.amps for one in sweeps]).reshape(-1, 2, volts.shape[1])
    amps = np.abs(amps) * np.array([1.0, -1.0])[:, None]
    place = f"iv/r{row}_c{col}"
    kept = {
        "iv/volts": Kept(volts, "V", "across the cell in SET and RESET sweeps"),
        f"{place}/limited_0": Kept(
            np.zeros(amps.shape, np.bool_), "", "where the compliance held the current: unknown"
        ),
        f"{place}/from_0": Kept(amps, "A", "current through the cell, [cycle, SET or RESET, level]"),
    }
    return kept, len(amps)


def _sign(sweep: Sweep) -> int:
    """1 of a sweep that is nowhere negative, -1 of one that is nowhere positive, else 0."""
    high, low = float(np.nanmax(sweep.volts)), float(np.nanmin(sweep.volts))
    return 1 if low >= -1e-9 and high > 0 else -1 if high <= 1e-9 and low < 0 else 0
