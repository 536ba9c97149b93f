"""TSP, the command language of Keithley's newer instruments: as much of Lua as single commands need.

Sources: Series 2600B reference manual (commands, `print`, error queue, error numbers -285 and -286) and Lua's manual
(literals, multiple results). Served: assignments, calls, arithmetic, several statements in one message, parentheses,
variables. Control structures, functions and stored scripts are real instruments' too, but not served: they are syntax
errors here, so that nobody takes silence for success. A statement before an error has been executed, as on the
instrument, which compiles a message first: a syntax error anywhere executes nothing.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final


class Table(str):
    """A table of the instrument's, by its name; what a buffer is passed as."""

    __slots__ = ()


class Function(str):
    """A function of the instrument's, by its name."""

    __slots__ = ()


Value = float | str | bool | None
Expression = Callable[[], list[Value]]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<text>\"[^\"\n]*\"|'[^'\n]*')|(?P<sign>==|~=|\.\.|[-+*/^=().,;\[\]]))"
)
_RESERVED = """
    and break do else elseif end false for function if in local nil not or repeat return then true until while
    loadscript loadandrunscript endscript
"""
_KEYWORDS: Final = frozenset(_RESERVED.split())
_LITERALS: Final[Mapping[str, Value]] = {"true": True, "false": False, "nil": None}
_DEEPEST: Final = 40
SYNTAX, RUNTIME = -285, -286


class TspError(Exception):
    """What goes to the error queue: a number, a text, a severity (20: recoverable)."""

    def __init__(self, code: int, text: str, severity: int = 20) -> None:
        """Keep them; the text is made printable."""
        super().__init__(code, text)
        self.code, self.severity = code, severity
        self.text = "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:120])


@dataclass(frozen=True)
class Attribute:
    """A variable of the instrument: how it is read, and how it is set (None: it can't be)."""

    read: Callable[[], Value]
    write: Callable[[Value], None] | None = None


@dataclass
class World:
    """What the names of a message mean.

    Attributes:
        attributes: by dotted name.
        functions: by dotted name; they take and give lists of values.
        variables: of the user's own.
    """

    attributes: dict[str, Attribute] = field(default_factory=dict)
    functions: dict[str, Callable[[list[Value]], list[Value]]] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)

    def read(self, name: str) -> Value:
        """Value of a name; nil for a field that a table of the instrument lacks."""
        name = name.removeprefix("_G.")
        if name in self.attributes:
            return self.attributes[name].read()
        if name in self.variables:
            return self.variables[name]
        if name == "_G" or self._table(name):
            return Table(name)
        if name in self.functions:
            return Function(name)
        head = name.rpartition(".")[0]
        if head and not self._table(head):
            raise TspError(RUNTIME, f"TSP Runtime error at line 1: attempt to index `{head}' (a nil value)")
        return None

    def write(self, name: str, value: Value) -> None:
        """Set an attribute, or a variable of the user's."""
        name = name.removeprefix("_G.")
        attribute = self.attributes.get(name)
        if attribute is not None and attribute.write is not None:
            attribute.write(value)
        elif attribute is not None or "." in name or name in self.functions or self._table(name):
            raise TspError(RUNTIME, f"TSP Runtime error at line 1: cannot set `{name}'")
        else:
            self.variables[name] = value

    def call(self, name: str, values: list[Value]) -> list[Value]:
        """Call a function."""
        name = name.removeprefix("_G.")
        function = self.functions.get(name)
        if function is None:
            raise TspError(RUNTIME, f"TSP Runtime error at line 1: attempt to call `{name}' (a nil value)")
        return function(values)

    def after(self, table: Value, key: Value) -> list[Value]:
        """Lua's `next`: the name behind `key` in a table, and what it is; nil at the end."""
        if not isinstance(table, Table):
            raise TspError(RUNTIME, "TSP Runtime error at line 1: bad argument #1 to `next' (table expected)")
        start = "" if table == "_G" else f"{table.removeprefix('_G.')}."
        known = (name for name in (*self.attributes, *self.functions, *self.variables) if name.startswith(start))
        names = list(dict.fromkeys(name[len(start) :].partition(".")[0] for name in known))
        if key is not None and key not in names:
            raise TspError(RUNTIME, "TSP Runtime error at line 1: invalid key to `next'")
        at = 0 if key is None else names.index(str(key)) + 1
        return [names[at], self.read(start + names[at])] if at < len(names) else [None]

    def _table(self, name: str) -> bool:
        start = f"{name}."
        return any(known.startswith(start) for known in (*self.attributes, *self.functions))


def shown(value: Value, precision: int = 6) -> str:
    """A value as `print` gives it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nil"
    if isinstance(value, str):
        if isinstance(value, (Table, Function)):
            return f"{type(value).__name__.lower()}: {value}"
        return value
    return f"{value:.{max(precision - 1, 0)}e}" if math.isfinite(value) else "nan"


def kind_of(value: Value) -> str:
    """What Lua's `type` says."""
    if value is None or isinstance(value, bool):
        return "nil" if value is None else "boolean"
    if isinstance(value, (Table, Function)):
        return type(value).__name__.lower()
    return "string" if isinstance(value, str) else "number"


def basic_functions(world: World) -> dict[str, Callable[[list[Value]], list[Value]]]:
    """Those of Lua's own functions with which a driver looks around."""
    return {
        "next": lambda args: world.after(args[0] if args else None, args[1] if len(args) > 1 else None),
        "type": lambda args: [kind_of(args[0] if args else None)],
        "getmetatable": lambda args: [None],  # nothing is hidden in one here
        "tostring": lambda args: [shown(args[0] if args else None)],
    }


def quantity(value: Value, low: float, high: float, what: str) -> float:
    """A number in low..high; TspError 1101 or 1102, or -286 for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TspError(RUNTIME, f"TSP Runtime error at line 1: {what}: expected a number")
    slack = 1e-9 * max(abs(low), abs(high))
    if not value >= low - slack:
        raise TspError(1101, "Parameter Too Small")
    if value > high + slack:
        raise TspError(1102, "Parameter Too Big")
    return float(value)


def whole(value: Value, allowed: Sequence[int], what: str) -> int:
    """One of several whole numbers; booleans are not among them."""
    number = quantity(value, min(allowed), max(allowed), what)
    if number not in allowed:
        raise TspError(-224, f"Illegal parameter value: {what}")
    return int(number)


def execute(message: str, world: World) -> None:
    """Compile a message and run it.

    Raises:
        TspError: a syntax error, before anything ran; or what the statement that failed came to.
    """
    for statement in _Parser(message, world).statements():
        statement()


class _Parser:
    """Recursive descent over one message; gives closures, so that nothing runs before all is understood."""

    def __init__(self, message: str, world: World) -> None:
        self._world = world
        self._tokens = list(_tokens(message))
        self._at = self._depth = 0

    def statements(self) -> list[Callable[[], object]]:
        found: list[Callable[[], object]] = []
        while self._at < len(self._tokens):
            if self._take(";"):
                continue
            found.append(self._statement())
        return found

    def _statement(self) -> Callable[[], object]:
        kind, text = self._peek()
        if kind != "name" or text in _KEYWORDS:
            raise _syntax(text)
        name, call = self._prefix()
        if call is not None:
            return call
        self._expect("=")
        value = self._expression()
        return lambda: self._world.write(name, _first(value()))

    def _prefix(self) -> tuple[str, Expression | None]:
        """A dotted name, and the call it makes if there are parentheses behind it."""
        name = self._name()
        while self._take("."):
            name += f".{self._name()}"
        while self._take("["):
            kind, text = self._peek()
            if kind != "number":
                raise _syntax(text)
            self._at += 1
            name += f"[{float(text):g}]"
            self._expect("]")
        if not self._take("("):
            return name, None
        args: list[Expression] = []
        if not self._take(")"):
            args.append(self._expression())
            while self._take(","):
                args.append(self._expression())
            self._expect(")")
        return name, lambda: self._world.call(name, _expanded(args))

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _syntax("chunk has too many syntax levels")
        left = self._term()
        while self._peek()[1] in ("+", "-"):
            left = _arithmetic(self._next(), left, self._term())
        self._depth -= 1
        return left

    def _term(self) -> Expression:
        left = self._factor()
        while self._peek()[1] in ("*", "/"):
            left = _arithmetic(self._next(), left, self._factor())
        return left

    def _factor(self) -> Expression:
        signs = 0
        while self._take("-"):
            signs += 1
        inner = self._primary()
        if not signs:
            return inner
        return lambda: [(-1.0) ** signs * _numeric(_first(inner()))]

    def _primary(self) -> Expression:
        kind, text = self._peek()
        if kind == "number":
            self._at += 1
            number = float(int(text, 16)) if text[:2].lower() == "0x" else float(text)
            return lambda: [number]
        if kind == "text":
            self._at += 1
            return lambda: [text[1:-1]]
        if text in _LITERALS:
            self._at += 1
            return lambda: [_LITERALS[text]]
        if self._take("("):
            inner = self._expression()
            self._expect(")")
            return lambda: [_first(inner())]
        if kind != "name" or text in _KEYWORDS:
            raise _syntax(text)
        name, call = self._prefix()
        return call if call is not None else lambda: [self._world.read(name)]

    def _name(self) -> str:
        kind, text = self._peek()
        if kind != "name" or text in _KEYWORDS:
            raise _syntax(text)
        self._at += 1
        return text

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "<eof>")

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _take(self, sign: str) -> bool:
        found = self._peek() == ("sign", sign)
        self._at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _syntax(self._peek()[1])


def _tokens(message: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(message.rstrip())
    while at < end:
        match = _TOKEN.match(message, at)
        if match is None or match.end() == at:
            raise _syntax(message[at:].strip()[:1] or "<eof>")
        kind = str(match.lastgroup)
        yield kind, match[kind]
        at = match.end()


def _syntax(near: str) -> TspError:
    return TspError(SYNTAX, f"TSP Syntax error at line 1: unexpected symbol near `{near[:40]}'")


def _first(values: list[Value]) -> Value:
    return values[0] if values else None


def _expanded(args: Sequence[Expression]) -> list[Value]:
    """Of a call in the middle the first result counts, of the last one all of them."""
    values = [_first(one()) for one in args[:-1]]
    return values + (args[-1]() if args else [])


def _numeric(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TspError(RUNTIME, "TSP Runtime error at line 1: attempt to perform arithmetic on a value that is none")
    return float(value)


def _arithmetic(sign: str, left: Expression, right: Expression) -> Expression:
    def result() -> list[Value]:
        a, b = _numeric(_first(left())), _numeric(_first(right()))
        try:
            return [{"+": a + b, "-": a - b, "*": a * b}[sign] if sign != "/" else a / b]
        except ZeroDivisionError:
            return [math.nan if a == 0 else math.copysign(math.inf, a)]

    return result
