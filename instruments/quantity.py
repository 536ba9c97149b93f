"""Unit strings, as people write them in files and on the command line ("20 uS", "0.2 V"), to SI floats and back."""

import functools
import math
import re
from typing import Any

import pint

from instruments.errors import ConfigError


@functools.cache
def _registry() -> "pint.UnitRegistry[float]":
    # uA, uS and us must parse; pint's own prefix table has them.
    return pint.UnitRegistry(cache_folder=None)


# A number and a unit: pint alone would also take "1,5 V" (as 15 V), sums, dates, and a unit without a number.
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|nan))\s*([A-Za-zµμΩ%][A-Za-zµμΩ%/*^ ]*)?"
)


def to_si(text: object, unit: str, *, what: str = "value") -> float:
    """A quantity in SI.

    Args:
        text: "20 uS", "1e-3 A", or a bare number (also as a string), which is taken to be in `unit`.
        unit: SI unit symbol that the quantity must be compatible with ("S", "V", "A", "s", "J", "ohm", "Hz").
        what: name of the quantity, for the error.

    Raises:
        ConfigError: not a quantity, wrong dimension, or not finite.
    """
    try:
        if isinstance(text, (int, float)) and not isinstance(text, bool):
            value = float(text)
        elif isinstance(text, str):
            value = _parsed(text.strip(), unit)
        else:
            raise ValueError
    except Exception as error:  # pint raises a family that has no common parent but Exception
        example = "20 uS" if unit == "S" else f"1 {unit}"
        raise ConfigError(
            f"{what}: {text!r:.200} is not a quantity in {unit}; write for example {example!r}"
        ) from error
    if not math.isfinite(value):
        raise ConfigError(f"{what}: {text!r:.200} is not finite; write a number with a unit, for example '1 {unit}'")
    return value


@functools.lru_cache(maxsize=4096)
def _parsed(text: str, unit: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError
    if match[2] is None:
        return float(match[1])
    quantity: Any = _registry().Quantity(float(match[1]), match[2].strip())
    # pint multiplies by a binary factor: "120 uS" would become a hair less than 120e-6, and fail a limit of that value.
    return float(f"{quantity.to(unit).magnitude:.15g}")


_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def si(value: float, unit: str, digits: int = 3) -> str:
    """A value for people: `si(2.4e-5, "S")` is "24 uS"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"
