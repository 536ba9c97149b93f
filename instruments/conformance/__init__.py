"""Does a driver do what its role asks? Named checks against any driver, on the twin and on a real instrument.

On the twin everything is tried: what reaches the wires is compared with what was asked, replies are lost, delayed and
garbled, pulses interrupted. On a real instrument, by default, nothing is driven and nothing is set: identity, error
queue, what is set, the safe state. Asked to, it also reads and pulses the station's sacrificial cell.
"""

from instruments.conformance.suite import CHECKS, Check, Result, check_station

__all__ = ["CHECKS", "Check", "Result", "check_station"]
