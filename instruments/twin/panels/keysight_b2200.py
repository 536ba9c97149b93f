"""Front panel of a simulated Keysight B2200A/B2201A switch matrix: SCPI grammar, relays, the lines behind it.

Certain (B2200 User's Guide): headers and parameters of what is served, five-digit channel lists of card, input and
output, the free and the single-route rule, break before make. Uncertain: relay times, the order of `CLOSe:CARD?`
(ascending here), which error number stands for which refusal.

Served: routing, connection rule and sequence, status and errors. Bias, ground and couple modes are settings that are
kept and told; what they would connect besides (unused lines to a port of their own) the bench's wires don't show.
What the matrix connects goes to the bench's wires: one whole cell is selected, or none is.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from instruments.errors import ConfigError
from instruments.twin.panels.scpi import Call, Entry, Interpreter, ScpiError, Tree, choice, number, quoted
from instruments.twin.panels.scpi_state import OPERATION_COMPLETE, Status

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

IDENTITY = "KEYSIGHT TECHNOLOGIES,B2201A,MY00000001,1.00"
INPUTS, OUTPUTS = 14, 48
RELAY_SECONDS = 1e-3
QUEUE_LENGTH = 30
LINES = ("bit_line", "source_line", "word_line")
_CHANNEL = re.compile(r"([0-9])([0-9]{2})([0-9]{2})")


class KeysightB2200Panel:
    """One matrix in its auto configuration (see `Panel` for the protocol).

    Options: `inputs` and `outputs`, such as "bit_line=1,source_line=2,word_line=3": which input a line's source is on,
    and at which output the line of row or column 0 hangs, the others behind it.

    Attributes:
        closed: crosspoints (input, output) whose relays are closed.
        shorted: whether two inputs ever met at an output.
    """

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        """Attach to a bench.

        Raises:
            ConfigError: an option is unknown or can't be read.
        """
        unknown = set(options) - {"inputs", "outputs", "idn"}
        if unknown:
            raise ConfigError(f"keysight_b2200: unknown option {sorted(unknown)[0]!r}")
        self._bench = bench
        self._inputs, self._outputs = _lines(options, "inputs"), _lines(options, "outputs")
        self.closed: set[tuple[int, int]] = set()
        self.shorted = False
        self._modes: dict[str, str] = {}
        self._initial: dict[str, str] = {}
        self._rule, self._sequence = "FREE", "BBM"
        self._errors: deque[ScpiError] = deque()
        self.status = Status(options.get("idn", IDENTITY), self._reset, self._errors.clear, lambda: 0)
        tree = Tree()
        tree.add_all(self.status.commands())
        tree.add_all(
            {
                "[ROUTe:]CLOSe[:LIST]": Entry(self._close, self._is_closed),
                "[ROUTe:]CLOSe:CARD": Entry(None, self._list),
                "[ROUTe:]OPEN[:LIST]": Entry(self._open, self._is_open),
                "[ROUTe:]OPEN:CARD": Entry(self._open_all),
                "[ROUTe:]CONNection:RULE": Entry(self._set_rule, lambda call: self._card(call, self._rule)),
                "[ROUTe:]CONNection:SEQuence": Entry(self._set_sequence, lambda call: self._card(call, self._sequence)),
                "SYSTem:ERRor": Entry(None, lambda call: self._next_error()),
                "SYSTem:CDEScription": Entry(None, lambda call: self._card(call, "B2210A 14x12 Switch Matrix")),
                "*OPC": Entry(lambda call: self._complete(), lambda call: "1"),
                "*WAI": Entry(lambda call: None),
            }
        )
        for head, port in (("BIAS", 10), ("AGND", 12)):
            self._extra(tree, f"{head}:PORT", port, -1, INPUTS)
            self._extra(tree, head, 0, 0, 1)
            for word in ("ENABle", "DISable"):
                tree.add(f"[ROUTe:]{head}:CHANnel:{word}[:LIST]", Entry(lambda call: self._named(call)))
                tree.add(f"[ROUTe:]{head}:CHANnel:{word}:CARD", Entry(lambda call: self._all(call)))
        self._extra(tree, "COUPle", 0, 0, 1)
        for header in ("AGND:UNUSED", "COUPle:PORT"):
            tree.add(f"[ROUTe:]{header}", Entry(self._keep(header), self._tell(header)))
        tree.add("[ROUTe:]COUPle:PORT:DETect", Entry(lambda call: None))
        self._interpreter = Interpreter(tree, self._refuse, lambda: False)
        self._switched()

    # The panel's protocol

    def handle(self, message: bytes) -> list[bytes] | None:
        """Execute a message; errors go to the queue."""
        return self._interpreter.feed(message)

    def pull(self) -> bytes | None:
        """Nothing but replies."""
        return None

    def status_byte(self) -> int:
        """Serial poll."""
        return self.status.byte()

    def clear(self) -> None:
        """Device clear; relays stay as they are."""
        self._interpreter.clear()

    def trigger(self) -> None:
        """It has nothing to trigger."""

    # Errors and status

    def _refuse(self, error: ScpiError) -> None:
        self.status.events |= error.event
        if len(self._errors) >= QUEUE_LENGTH:
            self._errors[-1] = ScpiError(-350)
        else:
            self._errors.append(error)

    def enter_error(self, code: int) -> None:
        """A fault: an entry that nobody asked for."""
        self._refuse(ScpiError(-350))

    def _next_error(self) -> str:
        error = self._errors.popleft() if self._errors else ScpiError(0)
        return f'{error.code:+d},"{error.text}"'

    def _complete(self) -> None:
        self.status.events |= OPERATION_COMPLETE

    # Routing

    def _reset(self) -> None:
        self._modes = dict(self._initial)
        self._rule, self._sequence = "FREE", "BBM"
        self.closed.clear()
        self._switched()

    def _close(self, call: Call) -> None:
        for source, line in _channels(call):
            if self._rule == "SROU":
                self.closed -= {path for path in self.closed if path[0] == source or path[1] == line}
            self.closed.add((source, line))
        outputs = [line for _, line in self.closed]
        self.shorted = self.shorted or len(set(outputs)) < len(outputs)
        self._switched()

    def _open(self, call: Call) -> None:
        self.closed.difference_update(_channels(call))
        self._switched()

    def _open_all(self, call: Call) -> None:
        self._card(call, "")
        self.closed.clear()
        self._switched()

    def _is_closed(self, call: Call) -> str:
        return ",".join(str(int(path in self.closed)) for path in _channels(call))

    def _is_open(self, call: Call) -> str:
        return ",".join(str(int(path not in self.closed)) for path in _channels(call))

    def _list(self, call: Call) -> str:
        return self._card(call, "(@" + ",".join(f"0{i:02d}{o:02d}" for i, o in sorted(self.closed)) + ")")

    @staticmethod
    def _card(call: Call, reply: str) -> str:
        number(call.only()[0], 0, 4)
        return reply

    def _set_rule(self, call: Call) -> None:
        card, rule = call.only(2, 2)
        number(card, 0, 4)
        self._rule = choice(rule, ("FREE", "SROUte"))

    def _set_sequence(self, call: Call) -> None:
        card, sequence = call.only(2, 2)
        number(card, 0, 4)
        self._sequence = choice(sequence, ("NSEQ", "BBM", "MBBR"))

    # Modes that are kept and told

    def _extra(self, tree: Tree, header: str, initial: int, low: int, high: int) -> None:
        self._modes[header] = self._initial[header] = str(initial)

        def write(call: Call) -> None:
            card, value = call.only(2, 2)
            number(card, 0, 4)
            switch = {"ON": "1", "OFF": "0"}.get(value.upper(), value)
            self._modes[header] = str(int(number(switch, low, high)))

        tree.add(f"[ROUTe:]{header}", Entry(write, self._tell(header)))

    def _keep(self, header: str) -> Callable[[Call], None]:
        def write(call: Call) -> None:
            if len(call.args) < 2:
                raise ScpiError(-109)
            number(call.args[0], 0, 4)
            self._modes[header] = quoted(",".join(call.args[1:]))

        return write

    def _tell(self, header: str) -> Callable[[Call], str]:
        def read(call: Call) -> str:
            text = self._modes.get(header, "")
            return self._card(call, text if text.lstrip("-").isdigit() else f"'{text}'")

        return read

    @staticmethod
    def _named(call: Call) -> None:
        _channels(call)

    def _all(self, call: Call) -> None:
        self._card(call, "")

    def _switched(self) -> None:
        """Tell the wires which whole cell is connected, if one is."""
        self._bench.clock.sleep(RELAY_SECONDS)
        fixture = self._bench.fixture
        places: dict[str, int] = {}
        for source, line in self.closed:
            name = next((name for name, own in self._inputs.items() if own == source), None)
            size = fixture.cols if name == "bit_line" else fixture.rows
            if name is None or name in places or not 0 <= line - self._outputs[name] < size:
                places.clear()  # a source on a line that isn't its own, or on two: no cell can be told
                break
            places[name] = line - self._outputs[name]
        whole = len(places) == len(LINES) and places["source_line"] == places["word_line"]
        row, col = (places["source_line"], places["bit_line"]) if whole else (-1, -1)
        fixture.connect("program" if self.closed else "safe", 0 if whole else -1, row, col)


def _lines(options: Mapping[str, str], name: str) -> dict[str, int]:
    pairs = dict(item.partition("=")[::2] for item in options.get(name, "").replace(" ", "").split(","))
    if set(pairs) != set(LINES) or not all(text.isdecimal() for text in pairs.values()):
        raise ConfigError(f"keysight_b2200: {name} must be such as {','.join(f'{line}=1' for line in LINES)}")
    return {line: int(text) for line, text in pairs.items()}


def _channels(call: Call) -> list[tuple[int, int]]:
    """Crosspoints of a channel list `(@CIIOO,...)`."""
    text = ",".join(call.args).replace(" ", "")
    if not text:
        raise ScpiError(-109)
    if not (text.startswith("(@") and text.endswith(")")):
        raise ScpiError(-104, text)
    found = []
    for item in text[2:-1].split(","):
        match = _CHANNEL.fullmatch(item)
        if match is None:
            raise ScpiError(-104, item)
        source, line = int(match[2]), int(match[3])
        if int(match[1]) > 4 or not 1 <= source <= INPUTS or not 1 <= line <= OUTPUTS:
            raise ScpiError(-222, item)
        found.append((source, line))
    return found
