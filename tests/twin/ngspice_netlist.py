"""The closed-loop circuit as an ngspice netlist, part by part, and a reader for ngspice's raw files.

Every crossbar resistor, every amplifier (one pole, slew limited by a tanh transconductor), the 1N4148 rectifiers, the
multipliers, the RC integrators and the DACs' staircases are elements of their own; the values come from the same
`CircuitParams` and `Offsets` that the model under test is built from.

The integrators start from `ic=` on their capacitors with `uic` and are connected only after a hold of 10 us, in
which the amplifiers settle.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from instruments.twin.circuit import CircuitParams, Drives, Offsets

Array = npt.NDArray[np.float64]
NGSPICE = shutil.which("ngspice")
HOLD = 10e-6  # s
EDGE = 1e-6  # s, rise time of the DACs, or a twentieth of the tick


def _op_amp_model(params: CircuitParams) -> list[str]:
    amp = params.op_amp
    # Scaled so that the transconductance is 1: pole capacitor 1/(2 pi GBW), slew current SR * C.
    capacitor = 1.0 / (2.0 * np.pi * amp.gain_bandwidth)
    limit = amp.slew_rate * capacitor
    return [
        ".subckt opamp p n out vos=0",
        f"B1 0 x I={limit!r}*tanh((V(p)-V(n)+{{vos}})/{limit!r})",
        f"R1 x 0 {amp.open_loop_gain!r}",
        f"C1 x 0 {capacitor!r} ic=0",
        "E1 out 0 x 0 1",
        ".ends",
        f".model d4148 D(IS={params.rectifier.saturation_current!r} N=1.752 RS=0.568 CJO=0.8p TT=11n)",
    ]


def netlist(
    params: CircuitParams,
    conductances: tuple[Array, Array, Array],
    offsets: Offsets,
    drives: Drives,
    initial: Array,
    duration: float,
    raw: Path,
) -> str:
    """Text of a transient analysis over HOLD + duration that saves vx, vy, both outputs and scores to `raw`."""
    lines = ["* closed-loop solver", *_op_amp_model(params)]
    add = lines.append
    gains, integrator = params.gains, params.integrator
    resistance = 100e3

    def amplifier(name: str, plus: str, minus: str, out: str, offset: float) -> None:
        add(f"X{name} {plus} {minus} {out} opamp vos={float(offset)!r}")

    # DACs: g2, fx, t1 .., noise1, noise2
    starts, table = drives.segments()
    edge = min(EDGE, drives.tick / 20)
    for channel, values in enumerate(table[0].T):
        points = [(0.0, values[0])]
        for k in range(1, len(values)):
            if starts[k] < duration and values[k] != values[k - 1]:
                points += [(HOLD + starts[k] - edge / 2, values[k - 1]), (HOLD + starts[k] + edge / 2, values[k])]
        add(f"Vdac{channel} dac{channel} 0 PWL(")
        lines.extend(f"+ {t:.9e} {v:.9e}" for t, v in points)
        add("+ )")
    add(f"Vbias bias 0 {params.bias_voltage!r}")

    sources = ["vx", "vy"]
    for layer, g in enumerate(conductances):
        n_out, n_in = g.shape[0], g.shape[1] - 1
        feedback = params.feedback[layer]
        for j in range(n_in):
            tag = f"{layer}_{j}"
            add(f"Bc{tag} c{tag} 0 V=min(max(V({sources[j]}),{params.clamp.low!r}),{params.clamp.high!r})")
            amplifier(f"b{tag}", f"c{tag}", f"l{tag}", f"l{tag}", offsets.buffer[layer][j])
        inputs = [f"l{layer}_{j}" for j in range(n_in)] + ["bias"]
        for j, line in enumerate(inputs):
            add(f"Rs{layer}_{j} {line} sn{layer} {resistance!r}")
        add(f"Rsf{layer} sn{layer} neg{layer} {resistance!r}")
        amplifier(f"s{layer}", "0", f"sn{layer}", f"neg{layer}", offsets.negative[layer])
        sources = []
        for i in range(n_out):
            tag = f"{layer}_{i}"
            for j, line in enumerate(inputs):
                add(f"Rg{tag}_{j} {line} t{tag} {float(1.0 / g[i, j])!r}")
            add(f"Rn{tag} neg{layer} t{tag} {1.0 / params.crossbar.fixed_conductance!r}")
            if layer < 2:
                add(f"Re{tag} dac{2 + i} t{tag} {feedback / params.embedding_gain[layer]!r}")
                amplifier(f"t{tag}", "0", f"t{tag}", f"o{tag}", offsets.tia[layer][i])
                add(f"Rf{tag} t{tag} v{tag} {feedback!r}")
                add(f"Dp{tag} o{tag} t{tag} d4148")
                add(f"Dn{tag} v{tag} o{tag} d4148")
                load, back = params.rectifier.load_resistance, params.rectifier.load_resistance
            else:
                amplifier(f"t{tag}", "0", f"t{tag}", f"v{tag}", offsets.tia[layer][i])
                add(f"Rf{tag} t{tag} v{tag} {feedback!r}")
                load, back = resistance, resistance * params.output_gain
            add(f"Ri{tag} v{tag} i{tag} {load!r}")
            add(f"Rb{tag} i{tag} h{tag} {back!r}")
            amplifier(f"i{tag}", "0", f"i{tag}", f"h{tag}", offsets.inverter[layer][i])
            sources.append(f"h{tag}")

    scale = params.multiplier.scale

    def product(k: int, dac: str, other: str, out: str) -> None:
        gain = float((1.0 + offsets.product_gain[k]) / scale)
        ox, oy, oz = (float(o[k]) for o in (offsets.product_x, offsets.product_y, offsets.product_z))
        add(f"B{out} {out} 0 V=(V({dac})+{ox!r})*(V({other})+{oy!r})*{gain!r}+{oz!r}")

    time_constant = integrator.resistance * integrator.capacitance
    add(".model closed SW(vt=0.5 vh=0 ron=1 roff=1e12)")
    add(f"Vrun run 0 PWL(0 0 {HOLD!r} 0 {HOLD + 1e-8!r} 1)")
    for k, v in enumerate(("vx", "vy")):
        product(k, "dac1", v, f"wf{k}")
        product(2 + k, "dac0", f"h2_{k}", f"wg{k}")
        add(f"Rwg{k} wg{k} m{k} {resistance / (gains.score * scale * time_constant)!r}")
        add(f"Rwn{k} dac{len(table[0][0]) - 2 + k} m{k} {resistance / (gains.noise * time_constant)!r}")
        add(f"Rwb{k} m{k} p{k} {resistance!r}")
        amplifier(f"m{k}", "0", f"m{k}", f"p{k}", offsets.summer[k])
        add(f"Rif{k} wf{k} a{k} {integrator.resistance / (gains.drift * scale * time_constant)!r}")
        add(f"Rip{k} p{k} a{k} {integrator.resistance!r}")
        add(f"Sw{k} a{k} q{k} run 0 closed")
        # The capacitor's charge counts from the virtual ground, which sits at the amplifier's offset.
        add(f"Ci{k} {v} q{k} {integrator.capacitance!r} ic={float(initial[k] - offsets.integrator[k])!r}")
        amplifier(f"q{k}", "0", f"q{k}", v, offsets.integrator[k])

    stop = HOLD + duration
    lines += [
        ".options method=gear reltol=1e-4 abstol=1e-13 vntol=1e-8 itl4=100",
        ".save v(vx) v(vy) v(h2_0) v(h2_1)",
        f".tran {duration / 1000!r} {stop!r} 0 {duration / 400!r} uic",
        ".end",
    ]
    return "\n".join(lines) + "\n"


def read_raw(path: Path) -> dict[str, Array]:
    """Vectors of a binary raw file of real numbers, by name."""
    data = path.read_bytes()
    marker = b"Binary:\n"
    at = data.index(marker)
    header = data[:at].decode("latin-1").splitlines()
    fields = dict(line.split(":", 1) for line in header if ":" in line and not line.startswith("\t"))
    n_variables, n_points = int(fields["No. Variables"]), int(fields["No. Points"])
    if "real" not in fields["Flags"]:
        raise ValueError(f"{path} does not hold real numbers")
    start = header.index("Variables:") + 1
    names = [line.split()[1] for line in header[start : start + n_variables]]
    values = np.frombuffer(data, dtype="<f8", count=n_variables * n_points, offset=at + len(marker))
    return dict(zip(names, values.reshape(n_points, n_variables).T, strict=True))


def simulate(
    params: CircuitParams,
    conductances: tuple[Array, Array, Array],
    offsets: Offsets,
    drives: Drives,
    initial: Array,
    times: Array,
    folder: Path,
) -> Array:
    """Integrator voltages (m, 2) V at `times` (m,) s as ngspice sees them. Files stay in `folder`."""
    if NGSPICE is None:
        raise FileNotFoundError("ngspice is not installed")
    deck, raw = folder / "circuit.cir", folder / "circuit.raw"
    deck.write_text(netlist(params, conductances, offsets, drives, initial, float(times[-1]), raw))
    done = subprocess.run(
        [NGSPICE, "-b", "-r", str(raw), str(deck)], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0 or not raw.exists():
        raise RuntimeError(f"ngspice failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    vectors = read_raw(raw)
    now = vectors["time"] - HOLD
    return np.stack([np.interp(times, now, vectors[name]) for name in ("v(vx)", "v(vy)")], axis=1)
