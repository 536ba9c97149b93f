"""From a circuit's parts to the numbers its compiled loop needs.

Sign conventions, all as on the board: line voltages V_j drive the bit lines, one amplifier makes -sum V_j for the
shared negative weight, the TIA's node collects sum (G_ij - G_fixed) V_j + V_e/R_e and turns it into -R_f times
that (rectified in the hidden layers), and an inverting amplifier turns the sign back.
"""

from collections.abc import Sequence

import numpy as np

from instruments.twin.circuit_parameters import Array, CircuitParams, LayerArrays, Offsets
from instruments.twin.circuit_state import Parts, Plan


def effective_conductance(conductance: Array, wire_resistance: float) -> Array:
    """Current out of source line i per volt on bit line j, in S, with the lines' own resistance.

    Args:
        conductance: (n_out, n_in) S.
        wire_resistance: ohm per segment between neighbouring cells; each bit line is driven at output 0's end, each
            source line is held at virtual ground at input 0's end, one segment away from the first cell.

    The network is linear, so one solve of its 2 n_out n_in nodes is exact for every input.
    """
    if wire_resistance <= 0:
        return conductance.copy()
    n_out, n_in = conductance.shape
    wire = 1.0 / wire_resistance
    bit = np.arange(n_out * n_in).reshape(n_out, n_in)
    source = bit + n_out * n_in
    matrix = np.zeros((2 * n_out * n_in, 2 * n_out * n_in))

    def connect(a: np.typing.NDArray[np.intp], b: np.typing.NDArray[np.intp], g: Array | float) -> None:
        np.add.at(matrix, (a, a), g)
        np.add.at(matrix, (b, b), g)
        np.add.at(matrix, (a, b), -np.asarray(g))
        np.add.at(matrix, (b, a), -np.asarray(g))

    connect(bit, source, conductance)
    connect(bit[:-1], bit[1:], wire)
    connect(source[:, :-1], source[:, 1:], wire)
    matrix[bit[0], bit[0]] += wire
    matrix[source[:, 0], source[:, 0]] += wire
    drive = np.zeros((2 * n_out * n_in, n_in))
    drive[bit[0], np.arange(n_in)] = wire
    return np.asarray(np.linalg.solve(matrix, drive)[source[:, 0]] * wire, dtype=np.float64)


def build_parts(starts: Array, duration: float, step: float, telegraph_rate: float) -> Parts:
    """Cut time at 0, at `duration` and wherever the drives change; steps are <= `step` (s) and end there."""
    closed = np.flatnonzero(starts < duration)
    after = starts[starts > duration]
    last = max(int(np.searchsorted(starts, duration, side="right")) - 1, 0)
    begin = np.concatenate([[-np.inf], starts[closed], [duration], after])
    end = np.append(begin[1:], np.inf)
    length = end[1 : 1 + len(closed)] - begin[1 : 1 + len(closed)]
    steps = np.zeros(len(begin), dtype=np.int64)
    steps[1 : 1 + len(closed)] = np.maximum(np.ceil(length / step - 1e-9), 1)
    past = np.zeros(len(begin))
    past[2:] = np.diff(begin[1:])
    return Parts(
        begin=begin,
        end=end,
        row=np.concatenate([[0], closed, [last], np.arange(len(after)) + last + 1]).astype(np.int64),
        steps=steps,
        flips=0.5 - 0.5 * np.exp(-2.0 * telegraph_rate * past),
    )


def _padded(arrays: list[Array], shape: tuple[int, ...], fill: float = 0.0) -> Array:
    out = np.full((3, *shape), fill)
    for layer, values in enumerate(arrays):
        where: tuple[int | slice, ...] = (layer, *(slice(n) for n in values.shape))
        out[where] = values
    return out


def build_plan(
    params: CircuitParams,
    conductances: LayerArrays,
    offsets: Offsets,
    injection: LayerArrays,
    telegraph: LayerArrays,
) -> Plan:
    """All constants of the loop; conductances (n_out, n_in + 1) S, injection (n_out,) A, telegraph like G in S."""
    amp, gains, rectifier, read_noise = params.op_amp, params.gains, params.rectifier, params.read_noise
    fixed = params.crossbar.fixed_conductance
    omega = 2.0 * np.pi * amp.gain_bandwidth
    n_in = [g.shape[1] - 1 for g in conductances]
    n_out = [g.shape[0] for g in conductances]
    lines, nodes = max(n_in) + 1, -(-max(n_out) // 8) * 8

    def blocked(cells: Sequence[Array]) -> Array:
        table = _padded([c.T for c in cells], (lines, nodes))
        return np.ascontiguousarray(table.reshape(3, lines, -1, 8).transpose(0, 2, 1, 3))

    feedback = np.array(params.feedback)
    embedding = np.array([*params.embedding_gain, 0.0]) / feedback
    effective = [effective_conductance(g, params.crossbar.wire_resistance) for g in conductances]
    reference = [np.abs(g if read_noise.reference == "memory" else g - fixed) for g in conductances]

    cells = blocked(effective)
    injected, closed_loop, shift, output_rate, ramp_rate = [], [], [], [], []
    for layer in range(3):
        offset, inverter = offsets.tia[layer], offsets.inverter[layer]
        node = effective[layer].sum(axis=1) + fixed + embedding[layer]
        noise_gain = 1.0 + feedback[layer] * node
        current = injection[layer] - offset * node
        if layer < 2:
            # An output that the diodes have cut off floats between the feedback and the load resistor.
            ratio = feedback[layer] / rectifier.load_resistance
            floating = (offset + ratio * inverter) / (1.0 + ratio)
            current = current + (floating - offset) / feedback[layer]
            shift.append(2.0 * inverter - floating)
            extra = 2.0 / omega
        else:
            shift.append(-offset)
            summing = 1.0 + 10.0 * gains.score * params.integrator.resistance * params.integrator.capacitance
            extra = (1.0 + params.output_gain + summing) / omega + 0.5 / (np.pi * params.multiplier.bandwidth)
        injected.append(current)
        closed_loop.append(1.0 / (1.0 + noise_gain / amp.open_loop_gain))
        with np.errstate(divide="ignore"):
            output_rate.append(1.0 / (noise_gain / omega + extra + 1.0 / omega))
        ramp_rate.append(omega / (noise_gain / feedback[layer]))

    fan = np.array(n_in) + 1.0
    negative_gain = 1.0 / (1.0 + (1.0 + fan) / amp.open_loop_gain)
    time_constant = params.integrator.resistance * params.integrator.capacitance
    scale = params.multiplier.scale
    drift_weight = gains.drift * scale * time_constant
    score_weight = gains.score * scale * time_constant
    noise_weight = gains.noise * time_constant
    constant = offsets.integrator * (1.0 + drift_weight) - offsets.summer * (1.0 + score_weight + noise_weight)
    return Plan(
        n_in=np.array(n_in),
        n_out=np.array(n_out),
        conductance=cells,
        cells=cells.reshape(-1),
        white=blocked(
            [
                ((read_noise.white_relative * r) ** 2 + read_noise.white_absolute**2) / read_noise.white_bandwidth
                for r in reference
            ]
        ),
        slow=blocked([np.hypot(read_noise.slow_relative * r, read_noise.slow_absolute) for r in reference]).ravel(),
        telegraph=blocked(telegraph).ravel(),
        telegraph_rate=float(read_noise.telegraph_rate),
        fixed_conductance=float(fixed),
        feedback=feedback,
        bias_voltage=float(params.bias_voltage),
        clamp_low=float(params.clamp.low),
        clamp_high=float(params.clamp.high),
        line_offset=_padded(list(offsets.buffer), (lines,)),
        negative_gain=negative_gain,
        negative_offset=negative_gain * (1.0 + fan) * offsets.negative,
        injected=_padded(injected, (nodes,)),
        embedding=embedding,
        closed_loop=_padded(closed_loop, (nodes,), 1.0),
        shift=_padded(shift, (nodes,)),
        saturation_current=float(rectifier.saturation_current),
        load_resistance=float(rectifier.load_resistance),
        score_gain=float(params.output_gain),
        score_shift=(1.0 + params.output_gain) * offsets.inverter[2],
        product_x=offsets.product_x,
        product_y=offsets.product_y,
        product_z=offsets.product_z,
        product_gain=(1.0 + offsets.product_gain) / scale,
        drift_gain=float(-gains.drift * scale),
        score_slope=float(gains.score * scale),
        noise_slope=float(gains.noise),
        constant_slope=constant / time_constant,
        leak=float(1.0 / (params.integrator.leak_resistance * params.integrator.capacitance)),
        output_rate=_padded(output_rate, (nodes,), np.inf),
        ramp_rate=_padded(ramp_rate, (nodes,), np.inf),
        negative_rate=omega / (1.0 + fan),
        diode_drop=float(rectifier.forward_voltage),
        slew_rate=float(amp.slew_rate),
    )
