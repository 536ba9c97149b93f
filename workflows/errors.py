"""ohmflow's exceptions, all of them.

::

    Exception
    ├── analysis.errors.AnalysisError          a file, model or parameter of the analysis can't be used
    ├── instruments.errors.StationError        something about the bench stops the work
    │   ├── ConfigError                        a station, bench or preset file is malformed or contradicts itself
    │   ├── LimitError                         a drive would pass a limit; raised before anything is sent
    │   ├── InstrumentError                    an instrument is unreachable, silent, or reports an error
    │   │   ├── LinkError                      no reply, an unreadable or impossible one, or the connection is lost
    │   │   └── DoubtError                     a pulse was not acknowledged: the cell must be read before anything else
    │   ├── ModeError                          the board is in the wrong mode for what was asked
    │   └── BenchBusyError                     another process holds this simulated bench
    └── workflows.errors.WorkflowError         a request can't be carried out as asked
        ├── RequestError                       a parameter, pattern or target is wrong; nothing was driven
        │   └── NothingYetError                what it refers to does not exist yet, but may when its time comes
        └── Interrupted                        the run was stopped from outside; outputs are safe, the run can resume

Each message is one sentence for a person: what, where, what is allowed, what to do. The command line prints it and
exits with 2 (130 for `Interrupted`); anything else that escapes is a defect of ohmflow.
"""

from analysis.errors import AnalysisError
from instruments.errors import StationError


class WorkflowError(Exception):
    """A request can't be carried out as asked."""


class RequestError(WorkflowError):
    """A parameter, pattern or target is wrong; nothing was driven."""


class NothingYetError(RequestError):
    """What a request refers to does not exist yet, but may when its time comes."""


class Interrupted(WorkflowError):
    """The run was stopped from outside; outputs are safe, the run can resume."""


USER_ERRORS = (AnalysisError, StationError, WorkflowError)
