"""Compiled inner loop of the closed-loop circuit.

`simulate` integrates the two capacitor voltages of every run; everything around them (crossbars, amplifiers,
diodes, multipliers) is either in its steady state ("static": it settles in microseconds, the loop moves in
hundreds of milliseconds) or follows with first-order lags ("lagged"). All numbers arrive in a `Plan`, which
`circuit.py` builds; nothing is decided here.

The equation itself (limits, read noise of a node, slope of the integrators, Heun's mean) is `analysis.kernel.loop`,
which the sweeps' kernel solves for many trajectories at once: one equation, whatever runs it. Here are the parts that
only a circuit has.

numba was preferred to a C extension because it needs no compiler where the wheel is installed. The loops are
plain, so that LLVM vectorises them; the machine code is cached on disk where that is possible.
"""

import numpy as np
import numpy.typing as npt

from analysis.kernel.loop import disturbed, limited, mean_of_ends, rate
from instruments.twin.circuit_random import compiled, normal, uniform
from instruments.twin.circuit_state import Parts, Plan, State

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_STREAM = np.uint64(0xD1B54A32D192ED03)  # an odd constant that separates a run's second stream from its first


@compiled
def _add_products(g: Array, v: Array, n: int, out: Array) -> None:
    """out[8 b + i] += sum_j g[b, j, i] v[j] over j < n; eight sums at a time stay in registers."""
    for b in range(out.shape[0] // 8):
        block = g[b]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
        for j in range(n):
            w = v[j]
            s0 += block[j, 0] * w
            s1 += block[j, 1] * w
            s2 += block[j, 2] * w
            s3 += block[j, 3] * w
            s4 += block[j, 4] * w
            s5 += block[j, 5] * w
            s6 += block[j, 6] * w
            s7 += block[j, 7] * w
        part = out[8 * b : 8 * b + 8]
        part[0] += s0
        part[1] += s1
        part[2] += s2
        part[3] += s3
        part[4] += s4
        part[5] += s5
        part[6] += s6
        part[7] += s7


@compiled
def _rectified(current: float, resistance: float, load_ratio: float, leak_current: float) -> float:
    """Precision rectifier: diode 1 across the op-amp, diode 2 in series with its output, one parameter.

    With i1 and i2 the diodes' currents and both Shockley diodes equal, the loop gives (1 + i1/Is)(1 + i2/Is) = 1
    near the knee, where the output is small against the thermal voltage; together with Kirchhoff's law at the two
    nodes that is a quadratic in the output voltage. Its limits are R (I - Is) and -Is R / (1 + R/R_load): the leakage
    of whichever diode is reverse biased. Is = 0 is the ideal rectifier.
    """
    g = 1.0 + load_ratio
    b = leak_current * (1.0 + g) - g * current
    root: float = np.sqrt(b * b + 4.0 * g * leak_current * current)
    return resistance * (root - b) / (2.0 * g)


@compiled
def _towards(value: float, target: float, kept: float, largest: float) -> float:
    change = (target - value) * (1.0 - kept)
    return value + min(max(change, -largest), largest)


@compiled
def _network(
    plan: Plan, state: State, g: Array, x: Array, drive: Array, noise_mode: int, bandwidth: float, lag: float
) -> None:
    """Bring `state` up to date for integrator voltages x (2,) V and one row of drives (18,) V.

    noise_mode 0: none; 1: compute the deviations of the noise currents for a bandwidth (Hz) and use them; 2: use
    those computed before. lag (s): time over which the outputs move towards their targets; 0: they have arrived.
    """
    hidden = plan.n_out[0]
    largest = plan.slew_rate * lag
    for layer in range(3):
        n_in = plan.n_in[layer]
        v = state.line[layer]
        source = x if layer == 0 else state.output[layer - 1]
        total = plan.bias_voltage
        for j in range(n_in):
            v[j] = limited(source[j], plan.clamp_low, plan.clamp_high) + plan.line_offset[layer, j]
            total += v[j]
        v[n_in] = plan.bias_voltage
        target = plan.negative_offset[layer] - plan.negative_gain[layer] * total
        if lag > 0.0:
            target = _towards(state.negative[layer], target, state.negative_kept[layer], largest)
        state.negative[layer] = target
        current = state.current[layer]
        width = current.shape[0] if layer < 2 else 8
        for i in range(width):
            current[i] = plan.injected[layer, i] + plan.fixed_conductance * target
        if layer < 2:
            for i in range(hidden):
                current[i] += plan.embedding[layer] * drive[2 + i]
        _add_products(g[layer], v, n_in + 1, current[:width])
        if noise_mode == 1:
            deviation = state.deviation[layer]
            deviation[:] = 0.0
            for j in range(n_in + 1):
                state.square[j] = bandwidth * v[j] * v[j]
            _add_products(plan.white[layer], state.square, n_in + 1, deviation[:width])
            for i in range(width):
                deviation[i] = np.sqrt(deviation[i])
        if noise_mode > 0:
            for i in range(width):
                current[i] = disturbed(current[i], state.deviation[layer, i], state.noise[layer, i])
        resistance = plan.feedback[layer]
        out = state.output[layer]
        if lag > 0.0 and layer < 2:
            drop = plan.diode_drop
            for i in range(hidden):
                p = state.amplifier[layer, i]
                if p > drop:
                    p = _towards(p, drop + resistance * current[i], state.kept[layer, i], largest)
                else:
                    # Both diodes are open: the amplifier has to cross the gap between them on its own.
                    p += min(max(plan.ramp_rate[layer, i] * current[i] * lag, -largest), largest)
                p = max(p, -drop)
                state.amplifier[layer, i] = p
                out[i] = max(p - drop, 0.0) * plan.closed_loop[layer, i] + plan.shift[layer, i]
        elif lag > 0.0:
            for i in range(2):
                target = resistance * current[i] * plan.closed_loop[layer, i] + plan.shift[layer, i]
                out[i] = _towards(out[i], target, state.kept[layer, i], largest)
        else:
            ratio = resistance / plan.load_resistance
            if layer < 2:
                for i in range(width):
                    current[i] = _rectified(current[i], resistance, ratio, plan.saturation_current)
            else:
                for i in range(width):
                    current[i] *= resistance
            for i in range(width):
                out[i] = current[i] * plan.closed_loop[layer, i] + plan.shift[layer, i]
    for k in range(2):
        state.score[k] = plan.score_gain * state.output[2, k] + plan.score_shift[k]
        for m in (k, 2 + k):
            first = drive[1] if m < 2 else drive[0]
            second = x[k] if m < 2 else state.score[k]
            product = (first + plan.product_x[m]) * (second + plan.product_y[m])
            state.product[m] = product * plan.product_gain[m] + plan.product_z[m]


@compiled
def _vary(plan: Plan, key: np.uint64, g: Array, level: Array) -> None:
    """Draw the parts of the read noise that are steady: one number for each cell and run. Flat arrays of cells."""
    slow, telegraph = plan.slow, plan.telegraph
    for cell in range(g.size):
        level[cell] = 0.5 if uniform(key + _STREAM, np.uint64(cell)) < 0.5 else -0.5
        if slow[cell] != 0.0:
            g[cell] += slow[cell] * normal(key ^ _STREAM, np.uint64(cell))
        g[cell] += telegraph[cell] * level[cell]


@compiled
def _switch_levels(plan: Plan, key: np.uint64, g: Array, level: Array, part: int, flips: float) -> None:
    """Let each cell's RTN change its level with probability `flips`. Flat arrays of cells."""
    telegraph = plan.telegraph
    for cell in range(g.size):
        draw = np.uint64((part + 1) * g.size + cell)
        if telegraph[cell] != 0.0 and uniform(key + _STREAM, draw) < flips:
            g[cell] -= 2.0 * telegraph[cell] * level[cell]
            level[cell] = -level[cell]


@compiled
def _record(plan: Plan, state: State, row: Array, columns: Integers, x: Array, drive: Array) -> None:
    """Write the chosen node voltages; their order is that of `circuit.node_columns`."""
    hidden = plan.n_out[0]
    for c in range(columns.shape[0]):
        k = columns[c]
        if k < 2:
            row[c] = x[k]
        elif k < 4:
            row[c] = state.output[2, k - 2]
        elif k < 6:
            row[c] = state.score[k - 4]
        elif k < 10:
            row[c] = state.product[k - 6]
        elif k < 12:
            row[c] = state.line[0, k - 10]
        elif k < 12 + hidden:
            row[c] = state.output[0, k - 12]
        elif k < 12 + 2 * hidden:
            row[c] = state.output[1, k - 12 - hidden]
        else:
            row[c] = drive[k - 12 - 2 * hidden]


@compiled
def simulate(
    plan: Plan,
    state: State,
    parts: Parts,
    initial: Array,
    drives: Array,
    lagged: bool,
    sample_times: Array,
    columns: Integers,
    probing: bool,
    keys: npt.NDArray[np.uint64],
    noisy: bool,
    varied: bool,
    samples: Array,
    final: Array,
    energy: Array,
) -> None:
    """Integrate `initial` (n, 2) V through the parts; fill samples (n, m, columns), final (n, 2), energy (n, 2).

    Drives (1 or n, rows, 18) V. Heun's method; lagged: Euler's, with the network moved first. Read noise is drawn
    once a step. Between steps x is linear; other nodes (`probing`) are evaluated at the sample. Energy in J: cells |
    shared negative weights.
    """
    n_samples = sample_times.shape[0]
    lines = plan.conductance.shape[2]
    outputs = plan.n_out[0] + plan.n_out[1] + plan.n_out[2]
    g, level, column_sum = state.conductance, state.level, state.column_sum
    x, after, point, slope = state.x, state.after, state.point, state.slope

    for run in range(initial.shape[0]):
        key = keys[run]
        table = drives[run if drives.shape[0] > 1 else 0]
        for cell in range(plan.cells.shape[0]):
            state.cells[cell] = plan.cells[cell]
        if varied:
            _vary(plan, key, state.cells, level)
        for layer in range(3):
            for j in range(lines):
                column_sum[layer, j] = 0.0
                for b in range(g.shape[1]):
                    for i in range(8):
                        column_sum[layer, j] += g[layer, b, j, i]
        x[0], x[1] = initial[run, 0], initial[run, 1]
        state.deviation[:] = 0.0
        energy[run, 0] = energy[run, 1] = 0.0
        draw = np.uint64(0)
        index = 0
        opened = 0.0
        for part in range(parts.begin.shape[0]):
            drive = table[parts.row[part]]
            steps = parts.steps[part]
            running = steps > 0
            dt = (parts.end[part] - parts.begin[part]) / steps if running else 0.0
            if running:
                opened = parts.end[part]
            if running and lagged:
                for layer in range(3):
                    state.negative_kept[layer] = np.exp(-dt * plan.negative_rate[layer])
                    for i in range(plan.n_out[layer]):
                        state.kept[layer, i] = np.exp(-dt * plan.output_rate[layer, i])
            if varied and parts.flips[part] > 0.0:
                _switch_levels(plan, key, state.cells, level, part, parts.flips[part])
            for s in range(max(steps, 1)):
                now = parts.begin[part] + s * dt if running else parts.begin[part]
                last = now + dt if running else parts.end[part]
                if running and noisy:
                    node = 0
                    for layer in range(3):
                        for i in range(plan.n_out[layer]):
                            state.noise[layer, i] = normal(key, draw + np.uint64(node))
                            node += 1
                    draw += np.uint64(outputs)
                # Stages: 0 predictor, 1 corrector, 2 samples within the step, 3 the first settling.
                stage = 0 if running else 2
                if part == 0:
                    stage = 3
                    point[0], point[1] = x[0], x[1]
                while True:
                    if stage == 0:
                        point[0], point[1] = x[0], x[1]
                    elif stage == 1:
                        point[0], point[1] = after[0], after[1]
                    elif stage == 2:
                        if index >= n_samples or sample_times[index] >= last:
                            break
                        t = sample_times[index]
                        for k in range(2):
                            if running:
                                point[k] = x[k] + (t - now) / dt * (after[k] - x[k])
                            else:
                                point[k] = x[k] * np.exp(-plan.leak * max(t - opened, 0.0))
                    moving = lagged and running
                    if stage != 2 or (probing and not moving):
                        mode = 0 if not noisy or part == 0 else 1 if stage == 0 else 2
                        bandwidth = 0.5 / dt if running else 0.0
                        _network(plan, state, g, point, drive, mode, bandwidth, dt if moving else 0.0)
                    if stage == 2:
                        _record(plan, state, samples[run, index], columns, point, drive)
                        index += 1
                    elif stage == 3:
                        for layer in range(2):
                            for i in range(plan.n_out[layer]):
                                above = state.output[layer, i] - plan.shift[layer, i]
                                rest = plan.diode_drop + above if above > 0.0 else -plan.diode_drop
                                state.amplifier[layer, i] = rest
                        stage = 2
                    else:
                        for k in range(2):
                            rest = (
                                plan.noise_slope * drive[drive.shape[0] - 2 + k]
                                + plan.constant_slope[k]
                                - plan.leak * point[k]
                            )
                            # Products of x and of n by their tables come from the multipliers.
                            end = rate(state.product[k], state.product[2 + k], plan.drift_gain, plan.score_slope, rest)
                            slope[k] = end if stage == 0 else mean_of_ends(slope[k], end, 0.5)
                            after[k] = x[k] + dt * slope[k]
                        if stage == 0:
                            for layer in range(3):
                                power = 0.0
                                for j in range(plan.n_in[layer] + 1):
                                    power += state.line[layer, j] ** 2 * column_sum[layer, j]
                                shared = plan.n_out[layer] * plan.fixed_conductance * state.negative[layer] ** 2
                                energy[run, 0] += dt * power
                                energy[run, 1] += dt * shared
                        stage = 2 if lagged else stage + 1
                if running:
                    x[0], x[1] = after[0], after[1]
        final[run, 0], final[run, 1] = x[0], x[1]
