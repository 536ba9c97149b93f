"""Commands of the simulated B1500A's frame that drive no cell: triggers, digital port, self-tests, numbers of steps.

Settings are kept and told by `*LRN?` and their queries. The trigger terminals and the digital port are wired to nothing
here: a wait for a trigger would never end, so OSX, WSX and PAX with a wait, and WS, are over at once, as with a trigger
that has come.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from instruments.twin.panels.flex import Entry, FlexError, choice, real, whole

if TYPE_CHECKING:
    from instruments.twin.panels.b1500a import B1500APanel

CALIBRATION_SECONDS, TEST_SECONDS = 30.0, 60.0
"""Self-calibration takes about 30 s (Programming Guide); the self-test's time is an estimate."""
HIGH_VOLTS = 42.0
ZERO_VOLTS = 2.0


class Frame:
    """State of the frame beyond its modules."""

    def __init__(self, panel: "B1500APanel") -> None:
        self.panel = panel
        self.reset()

    def reset(self) -> None:
        """Initial settings."""
        self.triggers: dict[int, tuple[int, int, int]] = {}
        self.edges = {"TGXO": 1, "TGSI": 1, "TGSO": 1, "TGMO": 1}
        self.waits: dict[int, tuple[float, float]] = {1: (1.0, 0.0), 2: (1.0, 0.0)}
        self.mapped: dict[int, int] = {}
        self.digital = 0
        self.driven = 0
        self.pulse_integration = 0

    def commands(self) -> dict[str, Entry]:
        """The commands this part serves."""
        return {
            "TGP": Entry(self.tgp, 3, 4),
            "TGPC": Entry(self.tgpc, 0, 18),
            **{name: Entry(self._edge(name), 1, 1) for name in self.edges},
            "OS": Entry(lambda a: None, 0, 0),
            "OSX": Entry(self._port_trigger, 1, 2),
            "WS": Entry(lambda a: self._drop(choice(a[0], (1, 2))) if a else None, 0, 1),
            "WSX": Entry(self._port_trigger, 1, 2),
            "PAX": Entry(self.pax, 1, 2),
            "WAT": Entry(self.wat, 2, 3),
            "ACH": Entry(self.ach, 0, 2),
            "ERM": Entry(self.erm, 1, 1),
            "ERC": Entry(self.erc, 2, 3),
            "ERS?": Entry(lambda a: str(self.digital & self.driven | ~self.driven & 0xFFFF), 0, 0),
            "*TST?": Entry(lambda a: self._check(a, TEST_SECONDS), 0, 1),
            "*CAL?": Entry(lambda a: self._check(a, CALIBRATION_SECONDS), 0, 1),
            "CA": Entry(lambda a: self._drop(self._check(a, CALIBRATION_SECONDS)), 0, 1),
            "RCV": Entry(lambda a: self._drop(self._check(a, 0.0)), 0, 1),
            "DIAG?": Entry(self.diag, 1, 1),
            "AITM": Entry(self.aitm, 1, 1),
            "AITM?": Entry(lambda a: str(self.pulse_integration), 0, 0),
            "WZ?": Entry(self.wz, 0, 1),
            "WNU?": Entry(self.wnu, 0, 0),
        }

    def learn(self, kind: int) -> list[str] | None:
        """What `*LRN? kind` tells of this part's settings; None if it isn't this part's."""
        if kind == 38:
            return [f"ERM{self.driven}", f"ERMOD{self.panel.spgus.port_mode}"]
        if kind == 40:
            return [f"ACH{actual},{program}" for program, actual in self.mapped.items()] or ["ACH"]
        if kind == 57:
            return [f"WAT{k},{n:.1f},{offset:.4f}" for k, (n, offset) in self.waits.items()]
        if kind == 58:
            ports = [f"TGP{port},{','.join(map(str, rest))}" for port, rest in sorted(self.triggers.items())]
            return [*(f"{name}{value}" for name, value in self.edges.items()), *ports]
        return None

    # Triggers

    def tgp(self, args: Sequence[str]) -> None:
        """TGP port,terminal,polarity[,type]: 1 input, 2 output; 1 positive, 2 negative; type 0..5."""
        port = self._port(args[0])
        terminal, polarity = choice(args[1], (1, 2)), choice(args[2], (1, 2))
        if (port, terminal) in ((-1, 2), (-2, 1)):
            raise FlexError(120, f"port {port} doesn't go that way")
        self.triggers[port] = (terminal, polarity, whole(args[3], 0, 5) if len(args) > 3 else 0)

    def tgpc(self, args: Sequence[str]) -> None:
        """TGPC [port,...]: forget trigger settings; of all ports without one."""
        for port in [self._port(text) for text in args] or list(self.triggers):
            self.triggers.pop(port, None)

    def _port(self, text: str) -> int:
        port = whole(text, -2, 16)
        if port == 0:
            raise FlexError(120, "0 is no trigger port")
        return port

    def _port_trigger(self, args: Sequence[str]) -> None:
        self._port(args[0])
        if len(args) > 1:
            choice(args[1], (1, 2, 3))

    def _edge(self, name: str) -> Callable[[Sequence[str]], None]:
        def run(args: Sequence[str]) -> None:
            self.edges[name] = choice(args[0], (1, 2))

        return run

    def pax(self, args: Sequence[str]) -> None:
        """PAX port[,wait]: as PA, ended by a trigger at a port."""
        self._port(args[0])
        if len(args) > 1:
            self.panel.bench.fixture.dwell(max(0.0, real(args[1], -99.9999, 99.9999)))

    def wat(self, args: Sequence[str]) -> None:
        """WAT type,N[,offset]: 1 source, 2 measurement wait (3: measurement wait of a CMU); N 0..10, offset 0..1 s."""
        kind, share = choice(args[0], (1, 2, 3)), real(args[1], 0.0, 10.0)
        self.waits[kind] = (share, real(args[2], 0.0, 1.0) if len(args) > 2 else 0.0)

    # Channels, digital port

    def ach(self, args: Sequence[str]) -> None:
        """ACH [actual[,program]]: what a program calls a channel; without parameters, every name is its own again.

        A translation that the commands would follow is not simulated: only the identical one is accepted.
        """
        if len(args) == 2 and whole(args[0], 1, 1002) != whole(args[1], 1, 1002):
            raise FlexError(120, "channel numbers are not translated here")
        if args:
            self.panel.smu(args[0])

    def erm(self, args: Sequence[str]) -> None:
        """ERM mask: which of the digital port's 16 lines are outputs."""
        self.driven = whole(args[0], 0, 65535)

    def erc(self, args: Sequence[str]) -> None:
        """ERC 2,value[,mask]: levels of the digital port's outputs."""
        choice(args[0], (2,))
        mask = whole(args[2], 0, 65535) if len(args) > 2 else 65535
        self.digital = self.digital & ~mask | whole(args[1], 0, 65535) & mask

    # Tests

    def _check(self, args: Sequence[str], seconds: float) -> str:
        if args and whole(args[0], 0, 11) in range(1, 11) and self.panel.slots[int(float(args[0])) - 1] == "0":
            raise FlexError(120, f"no module in slot {args[0]}")
        if any(abs(u.level) > HIGH_VOLTS for u in self.panel.smus.units.values() if u.on and u.kind == "V"):
            raise FlexError(120, "a channel forces more than 42 V")
        self.panel.bench.clock.sleep(seconds)
        return "0"

    def _drop(self, reply: object) -> None:
        """A command that answers nothing."""

    def diag(self, args: Sequence[str]) -> str:
        """DIAG? item: 1 trigger in and out, 3 high-voltage LED, 4 digital port, 5 interlock; passed (0)."""
        choice(args[0], (1, 3, 4, 5))
        return "0"

    def aitm(self, args: Sequence[str]) -> None:
        """AITM mode: how the high-resolution converter's integration is meant, 0 as set or 1 as on a 4142B."""
        self.pulse_integration = choice(args[0], (0, 1))

    def wz(self, args: Sequence[str]) -> str:
        """WZ? [timeout]: 0 if every output is within 2 V."""
        if args:
            real(args[0], 0.0, 655.35)
        smus, spgus = self.panel.smus.units.values(), self.panel.spgus.units.values()
        levels = [u.level if u.kind == "V" else u.compliance * (u.level != 0) for u in smus if u.on]
        levels += [u.applied.base * u.applied.gain for u in spgus if u.on]
        return str(int(any(abs(v) > ZERO_VOLTS for v in levels)))

    def wnu(self, args: Sequence[str]) -> str:
        """WNU?: steps of the sweep that MM chose."""
        setup = self.panel.sources.setup
        sweep = setup.pulse_sweep if setup.mode == 4 else setup.sweep
        return str(len(sweep.levels) if sweep else 0)
