"""What the compiled loop of the closed-loop circuit works on, as tuples of arrays that numba understands."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Plan(NamedTuple):
    """All constants of one circuit of 3 layers.

    J = largest fan-in + 1 (the bias line comes last); P = largest fan-out, rounded up to B blocks of 8. Cells are
    stored as [layer, block, input, output within the block].
    """

    n_in: Integers  # (3,) inputs without the bias line
    n_out: Integers  # (3,)
    conductance: Array  # (3, B, J, 8) S, effective
    cells: Array  # (cells,) the same memory, flat
    white: Array  # (3, B, J, 8) S^2/Hz, one-sided spectral density of each cell's white read noise
    slow: Array  # (cells,) S, sigma of the part that is constant within a run
    telegraph: Array  # (cells,) S, distance of the two RTN levels
    telegraph_rate: float  # 1/s, switching rate towards each level
    fixed_conductance: float  # S, shared negative weight
    feedback: Array  # (3,) ohm
    bias_voltage: float  # V
    clamp_low: float  # V
    clamp_high: float  # V
    line_offset: Array  # (3, J) V, buffers in front of each bit line
    negative_gain: Array  # (3,) V/V, of the amplifier that sums the lines
    negative_offset: Array  # (3,) V, at its output
    injected: Array  # (3, P) A, constant currents into each TIA node, offsets included
    embedding: Array  # (3,) S, from the embedding voltages into the TIA nodes
    closed_loop: Array  # (3, P) factor < 1 of finite open-loop gain
    shift: Array  # (3, P) V, added to the layer's output
    saturation_current: float  # A, of the rectifier's diodes; 0 is the ideal diode
    load_resistance: float  # ohm, at the rectifier's output
    score_gain: float  # V/V, output gain
    score_shift: Array  # (2,) V
    product_x: Array  # (4,) V input offsets of the multipliers fx*x, fx*y, g2*nx, g2*ny
    product_y: Array  # (4,) V
    product_z: Array  # (4,) V
    product_gain: Array  # (4,) 1/V
    drift_gain: float  # 1/s, integrator slope per volt of the products with fx (negative: inverting)
    score_slope: float  # 1/s, per volt of the products with g2
    noise_slope: float  # 1/s, per volt of the noise channels
    constant_slope: Array  # (2,) V/s
    leak: float  # 1/s
    output_rate: Array  # (3, P) 1/s, closed-loop poles
    ramp_rate: Array  # (3, P) V/(s A), slope of an open rectifier per ampere
    negative_rate: Array  # (3,) 1/s
    diode_drop: float  # V
    slew_rate: float  # V/s


class Parts(NamedTuple):
    """The time axis cut where anything changes; Q parts."""

    begin: Array  # (Q,) s, the first is -inf
    end: Array  # (Q,) s, the last is inf
    row: Integers  # (Q,) of the drive table
    steps: Integers  # (Q,) integration steps; 0: the integrators hold
    flips: Array  # (Q,) probability that an RTN cell has changed its level since the part before


class State(NamedTuple):
    """Voltages and currents of the network at one moment; P is a multiple of 8."""

    line: Array  # (3, J) V on the bit lines, bias last
    square: Array  # (J,) their squares times the noise bandwidth
    current: Array  # (3, P) A into the TIA nodes
    output: Array  # (3, P) V
    negative: Array  # (3,) V, minus the sum of the lines
    amplifier: Array  # (3, P) V, inverted op-amp outputs of the rectifiers (lagged runs)
    noise: Array  # (3, P) standard normal numbers of this step
    deviation: Array  # (3, P) A, sigma of the read noise current
    kept: Array  # (3, P) part of a gap that remains after one lagged step
    negative_kept: Array  # (3,)
    score: Array  # (2,) V
    product: Array  # (4,) V
    conductance: Array  # (3, B, J, 8) S of this run
    cells: Array  # (cells,) the same memory, flat
    level: Array  # (cells,) of RTN, +-0.5
    column_sum: Array  # (3, J) S
    x: Array  # (2,) V, integrators at the beginning of the step
    after: Array  # (2,) V, at its end
    point: Array  # (2,) V, where the network is evaluated
    slope: Array  # (2,) V/s


def new_state(plan: Plan) -> State:
    """Room for one run at a time."""
    blocks, lines = plan.conductance.shape[1:3]
    nodes = 8 * blocks

    conductance = np.zeros_like(plan.conductance)

    def layers(n: int) -> Array:
        return np.zeros((3, n))

    return State(
        line=layers(lines),
        square=np.zeros(lines),
        current=layers(nodes),
        output=layers(nodes),
        negative=np.zeros(3),
        amplifier=layers(nodes),
        noise=layers(nodes),
        deviation=layers(nodes),
        kept=np.ones((3, nodes)),
        negative_kept=np.ones(3),
        score=np.zeros(2),
        product=np.zeros(4),
        conductance=conductance,
        cells=conductance.reshape(-1),
        level=np.zeros(plan.conductance.size),
        column_sum=layers(lines),
        x=np.zeros(2),
        after=np.zeros(2),
        point=np.zeros(2),
        slope=np.zeros(2),
    )
