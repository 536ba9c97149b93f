"""Maths functions of a simulated InfiniiVision oscilloscope: operators, transforms, filters, spectrum.

Source: programmer's guides of the 1000, 2000, 3000T and 4000 X-Series (:FUNCtion and :FFT). The spectrum is that of one
record: amplitudes of its lines in dBV rms (or V rms), corrected by the window's coherent gain. Uncertain: how many
points a real instrument transforms (here all of the record), and where its scale lies before one is set.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from instruments.twin.scope_front_end import low_pass
from instruments.twin.scope_measurements import Waveform

Floats = npt.NDArray[np.float64]

TINY = 1e-12
"""Volts; what logarithms and quotients take for zero."""
TWO = ("ADD", "SUBT", "MULT", "DIV")
SPECTRUM_RANGE, SPECTRUM_OFFSET = 160.0, -60.0
"""Scale of a spectrum in dBV before one is set: 20 dB per division."""
_ONE: Mapping[str, Callable[[Floats], Floats]] = {
    "SQRT": lambda v: np.sqrt(np.maximum(v, 0.0)),
    "ABS": np.abs,
    "SQU": np.square,
    "LN": lambda v: np.log(np.maximum(v, TINY)),
    "LOG": lambda v: np.log10(np.maximum(v, TINY)),
    "EXP": lambda v: np.exp(np.minimum(v, 80.0)),
    "TEN": lambda v: np.power(10.0, np.minimum(v, 36.0)),
    "MAGN": lambda v: v,
}


def combine(operation: str, a: Waveform, b: Waveform) -> Waveform:
    """Point by point: ADD, SUBT, MULT or DIV."""
    if operation == "DIV":
        divisor = np.where(np.abs(b.volts) < TINY, np.copysign(TINY, b.volts), b.volts)
        return Waveform(a.volts / divisor, a.step, a.first)
    how = {"ADD": np.add, "SUBT": np.subtract, "MULT": np.multiply}[operation]
    return Waveform(how(a.volts, b.volts), a.step, a.first)


def transform(operation: str, w: Waveform, parameters: Mapping[str, float]) -> Waveform:
    """A function of one source.

    Args:
        operation: short form of the operator.
        w: its source.
        parameters: `gain` and `offset` of LIN, `corner` (Hz) of LOWP and HIGH, `initial` of INT.
    """
    volts = w.volts
    if operation in _ONE:
        volts = _ONE[operation](volts)
    elif operation == "LIN":
        volts = parameters["gain"] * volts + parameters["offset"]
    elif operation == "DIFF":
        volts = np.gradient(volts, w.step) if len(volts) > 1 else np.zeros_like(volts)
    elif operation == "INT":
        volts = np.cumsum(volts + parameters["initial"]) * w.step
    else:
        slow = low_pass(volts, w.step, parameters["corner"])
        volts = slow if operation == "LOWP" else volts - slow
    return Waveform(np.asarray(volts, float), w.step, w.first)


def _window(kind: str, points: int) -> Floats:
    if kind == "RECT":
        return np.ones(points)
    if kind == "HANN":
        return np.hanning(points)
    if kind == "BART":
        return np.bartlett(points)
    # Terms of the cosine sums: Blackman-Harris (four terms) and flat top (five, as in SciPy and MATLAB).
    terms = {
        "BHAR": (0.35875, 0.48829, 0.14128, 0.01168),
        "FLAT": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
    }[kind]
    angle = 2 * math.pi * np.arange(points) / max(points - 1, 1)
    window: Floats = sum(((-1) ** k * term * np.cos(k * angle) for k, term in enumerate(terms)), np.zeros(points))
    return window


def spectrum(w: Waveform, window: str, decibels: bool) -> Waveform:
    """Amplitude spectrum from 0 Hz up: `step` and `first` of the result are in hertz, its values in dBV or V rms."""
    shape = _window(window, len(w.volts))
    lines = np.abs(np.fft.rfft(w.volts * shape)) / max(float(shape.sum()), TINY)
    lines[1:] *= math.sqrt(2.0)
    values = 20 * np.log10(np.maximum(lines, TINY)) if decibels else lines
    return Waveform(values, 1.0 / (w.step * max(len(w.volts), 1)), 0.0)


def within(w: Waveform, start: float, stop: float) -> Waveform:
    """The part of a spectrum from `start` to `stop`, one point at least."""
    first = min(max(0, math.ceil(start / w.step - 1e-9)), len(w.volts) - 1)
    last = min(max(first, math.floor(stop / w.step + 1e-9)), len(w.volts) - 1)
    return Waveform(w.volts[first : last + 1], w.step, first * w.step)
