"""Messages that no sane client sends, fed to the simulated instruments: nothing may come of them but errors.

Of a message that is wrong for certain (unknown header, wrong number of parameters, a parameter that is none) the queue
must tell with the right code and no setting may change; of any message at all, the next good one must work.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from instruments.twin.panels.b1500a import B1500APanel
from instruments.twin.panels.infiniivision import InfiniiVisionPanel
from instruments.twin.panels.tektronix_mso import TektronixPanel

JUNK = ("x", "1e", "--1", "nan", "inf", "0x10", "1_0", "1.2.3", "#", "\u0664", "+", "e5", "1V2", "'", '"')
LEARNT = (0, 1, 2, 3, 4, 30, 31, 32, 33, 34, 38, 46, 47, 53, 54, 55, 56, 57, 58, 60, 110)
NO_PARAMETERS = frozenset(("*IDN", "*OPC", "*WAI", "*CLS", "*RST", "*ESR", "*STB", "*TST", "*OPT", "*TRG"))


@dataclass
class Tally:
    """What happened: messages of each kind, and errors by code."""

    kinds: dict[str, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)

    def note(self, kind: str, code: int | None = None) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if code is not None:
            self.codes[code] = self.codes.get(code, 0) + 1

    @property
    def messages(self) -> int:
        return sum(self.kinds.values())


def noise(rng: np.random.Generator, good: bytes) -> bytes:
    """Anything: random bytes, or a good message after an accident."""
    raw = bytearray(good)
    lot = int(rng.integers(6))
    if lot == 0:
        return bytes(rng.integers(0, 256, int(rng.integers(0, 120)), dtype=np.uint8))
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(raw) + 1))
        if lot == 1:
            raw[at:at] = bytes(rng.integers(0, 256, 2, dtype=np.uint8))
        elif lot == 2:
            del raw[at : at + int(rng.integers(1, 5))]
        elif lot == 3:
            raw[at:at] = str(rng.choice(JUNK)).encode()
        elif lot == 4 and raw:
            raw[min(at, len(raw) - 1)] ^= 1 << int(rng.integers(8))
        else:
            raw[at:at] = bytes(rng.choice([b";", b",", b":", b"?", b"#9", b"#10", b'"', b"\x00", b" "]))
    return bytes(raw)


def word(rng: np.random.Generator, known: Callable[[str], bool]) -> str:
    """A header that isn't one."""
    while True:
        made = "".join(rng.choice(list("ABCDEGHKMNPQRSTVWXZ"), int(rng.integers(2, 9))))
        if not known(made):
            return made


def fuzz_flex(rng: np.random.Generator, make: Callable[[], B1500APanel], messages: int) -> Tally:
    """Feed the analyzer's panel; AssertionError if it doesn't do as told above."""
    tally, panel = Tally(), make()
    names = sorted(panel.commands)

    def learn() -> list[bytes]:
        return [reply for kind in LEARNT for reply in panel.handle(f"*LRN? {kind}".encode())]

    def code() -> int:
        return int(panel.handle(b"ERRX? 1")[0])

    before = learn()
    while tally.messages < messages:
        name = str(rng.choice(names))
        entry = panel.commands[name]
        kind = str(rng.choice(["unknown", "count", "junk", "noise"], p=[0.2, 0.2, 0.25, 0.35]))
        if kind == "noise":
            panel.handle(noise(rng, f"{name} {','.join('1' for _ in range(entry.least))}".encode()))
            panel.handle(b"*RST")
            panel.handle(b"ERR?")
            while panel.pull() is not None:
                pass
            while code():
                pass
            before = learn()  # what *RST leaves alone (the selector, say) may have been set
            tally.note(kind)
        else:
            if kind == "unknown":
                sent, expected = f"{word(rng, panel.commands.__contains__)} 1,2", {100}
            elif kind == "count":
                few = entry.least > 0 and bool(rng.integers(2))
                count = int(rng.integers(0, entry.least)) if few else entry.most + int(rng.integers(1, 4))
                sent, expected = f"{name} {','.join('1' for _ in range(count))}", {103}
            elif entry.most == 0:
                continue
            else:
                count = max(1, int(rng.integers(entry.least, entry.most + 1)))
                args = [str(rng.choice(JUNK[:10])) for _ in range(count)]
                sent, expected = f"{name} {','.join(args)}", {102, 120, 121, 200, 210, 220, 221, 222}
            replies = panel.handle(sent.encode())
            found = code()
            assert found in expected, (sent, found)
            assert replies == [], (sent, replies)
            assert code() == 0, sent
            tally.note(kind, found)
            if rng.random() < 0.02:
                assert learn() == before, sent
        assert panel.handle(b"*IDN?") == [panel.identity.encode()]
    assert learn() == before
    return tally


Scope = InfiniiVisionPanel | TektronixPanel


def fuzz_scope(rng: np.random.Generator, panel: Scope, messages: int) -> Tally:
    """Feed an oscilloscope's panel; AssertionError if it doesn't do as told above."""
    tally = Tally()
    headers = sorted(panel.tree.headers(), key=lambda item: item[0])
    keysight = isinstance(panel, InfiniiVisionPanel)

    def code() -> int:
        if keysight:
            return int(panel.handle(b":SYSTem:ERRor?")[0].split(b",")[0])
        panel.handle(b"*ESR?")
        return -int(panel.handle(b"HEADer 0;:EVMsg?")[0].split(b",")[0])

    def quiet() -> None:
        panel.clear()
        panel.handle(b"*CLS;:HEADer 0" if not keysight else b"*CLS")
        while panel.pull() is not None:
            pass

    def known(path: tuple[str, ...], made: str) -> bool:
        return panel.tree.find((*path, made)) is not None

    quiet()
    while tally.messages < messages:
        header, entry = headers[int(rng.integers(len(headers)))]
        kind = str(rng.choice(["unknown", "junk", "missing", "many", "noise"], p=[0.2, 0.2, 0.1, 0.1, 0.4]))
        before = dict(panel.settings.values)
        if kind == "noise":
            panel.handle(noise(rng, f":{header} 1".encode()))
            quiet()
            panel.digitizer.stop()
            tally.note(kind)
        elif kind == "unknown":
            path = (header.split(":")[0],) if rng.integers(2) and not header.startswith("*") else ()
            made = word(rng, partial(known, path))
            sent = f":{':'.join((*path, made))}{'?' if rng.integers(2) else ' 1'}"
            assert panel.handle(sent.encode()) == [], sent
            found = code()
            assert found == -113, (sent, found)
            assert panel.settings.values == before, sent
            tally.note(kind, found)
        else:
            name = header if header.startswith("*") else f":{header}"
            if entry.write is None or header in NO_PARAMETERS or f"{name} " not in _settable(panel):
                continue
            junk = str(rng.choice(JUNK[:4]))
            args = {"junk": junk, "missing": "", "many": "1,1,1,1"}[kind]
            replies = panel.handle(f"{name} {args}".encode())
            found = code()
            assert found < 0, (name, args, found)
            assert not replies, (name, replies)
            assert panel.settings.values == before, (name, args)
            tally.note(kind, found)
        quiet()
        assert panel.handle(b"*IDN?") == [panel.status.identity.encode()]
    return tally


_SETTABLE: dict[type, frozenset[str]] = {}


def _settable(panel: Scope) -> frozenset[str]:
    """Headers of plain settings: those that take exactly one parameter, and no `x`."""
    if type(panel) not in _SETTABLE:
        names = (name for name, entry in panel.tree.headers() if entry.write is not None and entry.read is not None)
        free = ("HEADER", "VERBOSE", "SYSTEM:SETUP", "MEASURE", "TRIGGER:LEVEL", "TRIGGER:EDGE:LEVEL", "SAVE")
        _SETTABLE[type(panel)] = frozenset(
            f"{name if name.startswith('*') else ':' + name} " for name in names if not name.startswith(free)
        )
    return _SETTABLE[type(panel)]
