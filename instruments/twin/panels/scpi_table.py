"""Plain settings of an SCPI instrument from a table: a line says header, value after a reset, and what is allowed.

    DISPlay:LABel                 0        bool
    ACQuire:COUNt                 8        int 2 65536
    TIMebase:WINDow:RANGe         1e-3     real 2e-9 500 s
    HARDcopy:LAYout               LAND     words LANDscape PORTrait
    DISPlay:ANNotation<n>:TEXT    -        text 254
    DISPlay:PERSistence           MIN      real 0.1 60 s or MINimum INFinite

Blanks separate, `-` is an empty text; `@name` at the end of a line keeps the value under another name (two headers for
one setting).
"""

from collections.abc import Callable, Iterable

from instruments.twin.panels.scpi import ScpiError, boolean, choice, forms, number, quoted
from instruments.twin.panels.scpi_state import Settings, Value

Show = Callable[[Value], str]


def define_table(
    settings: Settings,
    table: str,
    real: Show,
    whole: Show,
    words: Callable[[str], str] = lambda w: forms(w)[1],
    pick: Callable[[str, Iterable[str]], str] = choice,
) -> None:
    """Define every line of a table.

    Args:
        settings: where.
        table: as in the module's description.
        real: how the instrument writes a number.
        whole: how it writes an integer.
        words: a mnemonic as replies give it; in its short form, if nothing else is said.
        pick: reads one of several words.
    """
    for line in filter(str.strip, table.splitlines()):
        header, default, kind, *rest = line.split()
        name = rest.pop()[1:] if rest and rest[-1].startswith("@") else None
        if kind == "bool":
            settings.define(header, default == "1", boolean, name=name)
        elif kind == "text":
            settings.define(header, "" if default == "-" else default, _text(int(rest[0])), lambda v: f'"{v}"', name)
        elif kind == "words":
            settings.define(header, default, _words(rest, pick), _long(rest, words), name)
        else:
            at = rest.index("or") if "or" in rest else len(rest)
            limits, others = rest[:at], rest[at + 1 :]
            initial: Value = default if any(default in forms(w) for w in others) else float(default)
            show = whole if kind == "int" else real
            settings.define(header, initial, _number(limits, others, kind == "int"), _either(show, others, words), name)


def _text(most: int) -> Callable[[str], Value]:
    return lambda text: quoted(text)[:most]


def _words(options: list[str], pick: Callable[[str, Iterable[str]], str]) -> Callable[[str], Value]:
    return lambda text: pick(text, options)


def _long(options: list[str], words: Callable[[str], str]) -> Show:
    full = {forms(w)[1]: w for w in options}
    return lambda value: words(full[str(value)]) if str(value) in full else str(value)


def _number(limits: list[str], others: list[str], whole: bool) -> Callable[[str], Value]:
    low, high, unit = float(limits[0]), float(limits[1]), limits[2] if len(limits) > 2 else ""

    def read(text: str) -> Value:
        if text[:1].isalpha() and others:
            try:
                return choice(text, others)
            except ScpiError:
                pass  # MINimum and MAXimum are numbers to every numeric parameter
        value = number(text, low, high, unit)
        return float(round(value)) if whole else value

    return read


def _either(show: Show, others: list[str], words: Callable[[str], str]) -> Show:
    named = _long(others, words)
    return lambda value: named(value) if isinstance(value, str) else show(value)
