"""Errors of the instrument side. The whole tree of ohmflow's exceptions is drawn in `workflows.errors`."""


class StationError(Exception):
    """Something about the bench, its description or its instruments stops the work; the message says what to do."""


class ConfigError(StationError):
    """A station, bench or preset file is missing, malformed or contradicts itself."""


class LimitError(StationError):
    """A drive would pass a limit. Raised before anything is sent."""


class InstrumentError(StationError):
    """An instrument is unreachable, silent, or reports an error."""


class LinkError(InstrumentError):
    """A reply is missing, unreadable or impossible, or the connection is lost.

    Whatever was asked may be asked again, unless it was a pulse.
    """


class DoubtError(InstrumentError):
    """A pulse was sent and not acknowledged: only reading the cell tells whether it came; never send it again."""


class ModeError(StationError):
    """The board is in the wrong mode for what was asked (programming and computing exclude each other)."""


class BenchBusyError(StationError):
    """Another process holds this simulated bench."""
