"""`*LRN?` of the simulated B1500A: the present settings as the commands that would restore them.

Layout after pymeasure's parser: no blank after the mnemonic, commands joined by `;`, an open channel is `CLn`. A sweep
or sampling source that was never set is left out. The form of `DV1,200,+00.0000E+00,+100.000E-06,0,16` is that of a
sibling of the instrument (E5270B), as published with a driver of it.
"""

from collections.abc import Iterable

from instruments.twin.panels.b1500a_setup import Bias, Setup, Sweep
from instruments.twin.panels.b1500a_smu import Adc, Smu, SmuBank, active_code, full_scale
from instruments.twin.panels.flex import FlexError, OutputData, brief, figures


def _command(name: str, *values: float) -> str:
    return name + ",".join(brief(v) for v in values)


def _sweep(name: str, s: Sweep | None) -> list[str]:
    if s is None:
        return []
    steps = len(s.levels) // (2 if s.mode > 2 else 1)
    stop = s.levels[steps - 1]
    base = (s.base,) if name.startswith("PW") else ()
    power = () if s.power is None else (s.power,)
    return [
        _command(name + s.kind, s.unit.channel, s.mode, s.code, *base, s.levels[0], stop, steps, s.compliance, *power)
    ]


def _bias(name: str, b: Bias) -> str:
    return _command(name + b.kind, b.unit.channel, b.code, b.base, b.peak, b.compliance)


def _output(u: Smu) -> str:
    if not u.on:
        return f"CL{u.channel}"
    other = "I" if u.kind == "V" else "V"
    # Both ranges are told as they are in use, never as "automatic".
    force, limit = (
        active_code(u, u.kind, u.range_code, u.level),
        active_code(u, other, abs(u.limit_range), u.compliance),
    )
    level = figures(u.level, full_scale(u, u.kind, force))
    compliance = figures(u.compliance, full_scale(u, other, limit))
    return f"D{u.kind}{u.channel},{force},{level},{compliance},{u.polarity},{limit}"


def _filters(units: Iterable[Smu]) -> list[str]:
    on = [u.channel for u in units if u.filter]
    off = [u.channel for u in units if not u.filter]
    if not on:
        return ["FL0"]
    return [f"FL{state}," + ",".join(map(str, chosen)) for state, chosen in ((0, off), (1, on)) if chosen]


def _averaging(adc: Adc) -> str:
    mode, n = adc.fast
    return f"AV{-int(n)}" if mode == 2 else _command("AV", n if mode < 2 else 1, min(mode, 1))


def _staircase(setup: Setup) -> list[str]:
    parts = [_command("WM", *setup.abort), _command("WT", *setup.wait), *_sweep("W", setup.sweep)]
    if s := setup.synchronous:
        power = () if s.power is None else (s.power,)
        parts.append(_command("WS" + s.kind, s.unit.channel, s.code, s.start, s.stop, s.compliance, *power))
    return parts


def _followers(setup: Setup) -> list[str]:
    return [
        _command("WNX", n, s.unit.channel, 1 + "VI".index(s.kind), s.code, s.start, s.stop, s.compliance)
        for n, s in sorted(setup.followers.items())
    ]


def _sampling(setup: Setup) -> list[str]:
    fixed = [_command("MSC", *setup.sampling_abort), _command("MT", *setup.sampling_wait)]
    return [*fixed, f"ML{setup.sampling_mode}", *(_bias("M", b) for b in setup.sampling.values())]


def learn(kind: int, bank: SmuBank, setup: Setup, data: OutputData, switches: dict[str, int]) -> str:
    """The reply to `*LRN? kind`.

    Args:
        kind: 0 (channels on), 1..10 (one SMU), 30..34, 46, 47, 53..56, 60 or 110.
        bank: the SMUs.
        setup: measurement settings.
        data: output format.
        switches: values of TM, CM and PAD.

    Raises:
        FlexError: 120 for a kind that isn't served, 121 for a channel without an SMU.
    """
    units = list(bank.units.values())
    adc = bank.adc
    if 1 <= kind <= 10:
        if kind not in bank.units:
            raise FlexError(121, f"CHANNEL{kind}")
        return _output(bank.units[kind])
    if kind == 0:
        on = [u.channel for u in units if u.on]
        return _command("CN", *on) if on else "CL"
    if kind == 31:
        mode = [_command("MM", setup.mode, *setup.channels)] if setup.mode else []
        fmt = _command("FMT", data.style, data.mode)
        return ";".join([f"TM{switches['TM']}", _averaging(adc), f"CM{switches['CM']}", fmt, *mode])
    answers = {
        30: lambda: _filters(units),
        32: lambda: [_command(c, u.channel, v) for u in units for c, v in (("RI", u.i_range), ("RV", u.v_range))],
        33: lambda: _staircase(setup),
        34: lambda: [
            _command("PT", *setup.pulse_wait),
            *([_bias("P", setup.pulse)] if setup.pulse else []),
            *_sweep("PW", setup.pulse_sweep),
        ],
        46: lambda: [_command("CMM", u.channel, u.operation) for u in units],
        47: lambda: _sampling(setup),
        53: lambda: [_command("SSR", u.channel, u.series) for u in units],
        54: lambda: [_command("RM", u.channel, *u.ranging) for u in units],
        55: lambda: [_command("AAD", u.channel, u.converter) for u in units],
        56: lambda: [
            *(_command(f"AIT{k},", *v) for k, v in enumerate((adc.fast, adc.fine, adc.pulsed))),
            f"AZ{int(adc.auto_zero)}",
        ],
        59: lambda: _followers(setup),
        60: lambda: [f"TSC{int(setup.time_stamp)}"],
        110: lambda: [f"PAD{switches['PAD']}"],
    }
    answer = answers.get(kind)
    if answer is None:
        raise FlexError(120, f"*LRN? {kind} is not served")
    return ";".join(answer())
