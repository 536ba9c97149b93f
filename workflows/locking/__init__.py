"""An instrument belongs to one run: operating-system locks that die with their owner, and the queue before them."""

from workflows.locking.folder import status
from workflows.locking.keys import InstrumentKey, instrument_keys
from workflows.locking.records import Blocker, LockBusy, LockInfo, LockLost, OwnerRecord, Waiting
from workflows.locking.station_locks import Held, StationLocks

__all__ = [
    "Blocker", "Held", "InstrumentKey", "LockBusy", "LockInfo", "LockLost", "OwnerRecord", "StationLocks", "Waiting",
    "instrument_keys", "status",
]  # fmt: skip
