"""A filament's gap under one pulse, behind its transistor: compiled, because a pulse is some hundred small steps."""

import math

import numpy as np
import numpy.typing as npt

from instruments.twin.circuit_random import compiled

Array = npt.NDArray[np.float64]

KELVIN = 8.617333262e-5
"""Boltzmann's constant over the elementary charge, V/K."""
STEP = 4e-12
"""m; the gap moves at most so far at a time (1.6 % of G for g0 = 0.25 nm)."""


@compiled
def cell_current(volts: float, filament: float, g_parallel: float, v_sinh: float) -> float:
    """Current through the cell alone, A: filament V0 sinh(V/V0) and what flows beside it.

    Args:
        volts: over the cell.
        filament: conductance of the gap at low voltage, S.
        g_parallel: conductance beside it, S.
        v_sinh: V0, V.
    """
    current: float = filament * v_sinh * math.sinh(min(volts / v_sinh, 50.0)) + g_parallel * volts
    return current


@compiled
def channel_current(volts: float, across: float, over: float, k_n: float, setting: bool) -> float:
    """Drain current of the NMOS in series, A, square law from triode to saturation.

    Args:
        volts: over cell and transistor.
        across: the cell's share.
        over: gate voltage minus threshold, V.
        k_n: transconductance, A/V^2.
        setting: the source is at ground; otherwise it is the node between transistor and cell, and follows the gate.
    """
    if setting:
        pinched = max(over - (volts - across), 0.0)
        return 0.5 * k_n * (over * over - pinched * pinched)
    source = max(over - across, 0.0)
    drain = max(over - volts, 0.0)
    return 0.5 * k_n * (source * source - drain * drain)


@compiled
def divide(
    guess: float, volts: float, over: float, k_n: float, setting: bool, filament: float, g_parallel: float,
    v_sinh: float,
) -> float:  # fmt: skip
    """The cell's share of the voltage, V: where both currents are equal, for one falls with it and the other rises.

    Newton's steps from `guess` on, halving where one would leave the bracket; arguments as above.
    """
    low, high, share = 0.0, volts, min(max(guess, 0.0), volts)
    for _ in range(60):
        excess = cell_current(share, filament, g_parallel, v_sinh) - channel_current(volts, share, over, k_n, setting)
        if excess < 0.0:
            low = share
        else:
            high = share
        slope = filament * math.cosh(min(share / v_sinh, 50.0)) + g_parallel
        slope += k_n * max(over - (volts - share if setting else share), 0.0)
        better = share - excess / slope
        if not low < better < high:
            better = 0.5 * (low + high)
        moved = abs(better - share)
        share = better
        if moved < 1e-7 * volts:
            break
    return share


@compiled
def pulse(
    gap: Array, volts: Array, over: Array, k_n: Array, gamma: Array, low: Array, high: Array, width: float,
    setting: bool, device: Array, energy: Array,
) -> None:  # fmt: skip
    """Move the gaps (m, in place) of all cells through one pulse, and add up the energies (J).

    Args:
        gap: m, shape (cells,) as all that belongs to a cell.
        volts: over cell and transistor, V.
        over: gate voltage minus threshold, V; 0 or less is a closed transistor.
        k_n: of the transistors, A/V^2.
        gamma: field enhancement at no gap.
        low: narrowest gap, m.
        high: widest gap, m.
        width: s.
        setting: polarity: the gap shrinks, else it grows.
        device: g_zero, g_parallel, g0, V0, velocity, Ea, a0, L, beta, x1, Rth, ambient temperature, F_min.
        energy: written: from the source, so in cell and transistor together.
    """
    g_zero, g_parallel, length, v_sinh, velocity = device[0], device[1], device[2], device[3], device[4]
    barrier, hop, thickness, beta, x1 = device[5], device[6], device[7], device[8], device[9]
    r_th, ambient, least = device[10], device[11], device[12]
    for i in range(gap.shape[0]):
        energy[i] = 0.0
        if over[i] <= 0.0 or volts[i] <= 0.0:
            continue
        x, left, u = gap[i], width, 0.5 * volts[i]
        for _ in range(20000):
            filament = g_zero * math.exp(-x / length)
            u = divide(u, volts[i], over[i], k_n[i], setting, filament, g_parallel, v_sinh)
            current = cell_current(u, filament, g_parallel, v_sinh)
            thermal = KELVIN * (ambient + r_th * u * current)
            local = max(gamma[i] - beta * (x / x1) ** 3, 0.0) * u / thickness
            lowered, rise = local * hop / thermal, barrier / thermal
            rate = 0.5 * velocity * (math.exp(min(lowered - rise, 60.0)) - math.exp(-lowered - rise))
            if local < least:
                rate = 0.0
            ended = (x <= low[i]) if setting else (x >= high[i])
            if ended or rate * left <= STEP:
                if not ended:
                    x = x - rate * left if setting else x + rate * left
                energy[i] += volts[i] * current * left
                break
            span = STEP / rate
            x = x - STEP if setting else x + STEP
            energy[i] += volts[i] * current * span
            left -= span
        # A gap may lie outside its range (relaxation); a pulse then doesn't bring it back by itself.
        gap[i] = max(x, min(low[i], gap[i])) if setting else min(x, max(high[i], gap[i]))
