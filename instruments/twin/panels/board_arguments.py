"""Arguments of the extended dialect's verbs: checked, or refused with a code and a text."""

import re

from instruments import board_frames as frames

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


class Refusal(Exception):
    """The reply is an error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def checked(arguments: list[str], least: int, most: int) -> list[str]:
    """The arguments, if there are `least`..`most` of them."""
    if not least <= len(arguments) <= most:
        raise Refusal(frames.BAD_ARGUMENTS, f"takes {least}..{most} arguments" if most > least else f"takes {least}")
    return arguments


def whole(text: str, low: int, high: int) -> int:
    """A whole number `low`..`high`."""
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise Refusal(frames.BAD_ARGUMENTS, "not a whole number")
    if not low <= int(text) <= high:
        raise Refusal(frames.OUT_OF_RANGE, f"{low}..{high}")
    return int(text)


def real(text: str, low: float, high: float) -> float:
    """A number `low`..`high`."""
    if not _NUMBER.fullmatch(text):
        raise Refusal(frames.BAD_ARGUMENTS, "not a number")
    value = float(text)
    if not low <= value <= high:
        raise Refusal(frames.OUT_OF_RANGE, f"{low:g}..{high:g}")
    return value


def lines(text: str, count: int) -> tuple[int, ...]:
    """Line numbers, two hexadecimal digits each, no line twice."""
    if not re.fullmatch(r"([0-9A-F]{2}){1,64}", text):
        raise Refusal(frames.BAD_ARGUMENTS, "lines are two hexadecimal digits each")
    numbers = tuple(bytes.fromhex(text))
    if max(numbers) >= count or len(set(numbers)) < len(numbers):
        raise Refusal(frames.OUT_OF_RANGE, f"lines are 0..{count - 1}, each once")
    return numbers


def switch(text: str) -> bool:
    """ON or OFF."""
    if text not in ("ON", "OFF"):
        raise Refusal(frames.BAD_ARGUMENTS, "ON or OFF")
    return text == "ON"
