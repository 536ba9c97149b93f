"""What the board's replies mean; one that makes no sense is a `LinkError`."""

import numpy as np

from instruments.board_types import BoardIdentity, RunState
from instruments.errors import InstrumentError
from instruments.link import readable


def three(answer: str, query: str) -> tuple[int, int, int]:
    """Three whole numbers."""
    with readable(f"board, {query}"):
        first, second, third = (int(word) for word in answer.split())
        return first, second, third


def numbers(answer: str, count: int) -> list[float]:
    """So many finite numbers."""
    with readable("board"):
        values = [float(word) for word in answer.split()]
        if len(values) != count or not np.all(np.isfinite(values)):
            raise ValueError(repr(answer))
        return values


def run_state(answer: str) -> RunState:
    """The answer to STATE?."""
    with readable("board, state of a run"):
        phase, *numbers = answer.split()
        return RunState(phase, *(int(number) for number in numbers))


def identity(answer: str) -> BoardIdentity:
    """The answer to ID."""
    fields = answer.split(",")
    if len(fields) != 5:
        raise InstrumentError(f"board: identity {answer!r} is not of the extended dialect")
    vendor, model, serial, dialect, capabilities = fields
    return BoardIdentity(vendor, model, serial, dialect, frozenset(capabilities.split("+")))
