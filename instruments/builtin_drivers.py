"""ohmflow's own drivers, registered as anybody's are (`instruments.drivers`)."""

from typing import Any

from pymeasure.adapters import VISAAdapter

from instruments import smu_pair, switch_matrix
from instruments.b1500a import B1500A
from instruments.board import Board
from instruments.drivers import Driver, Opening
from instruments.infiniivision import InfiniiVision
from instruments.limits import FlexGate
from instruments.tektronix_mso import TektronixMSO


def _b1500a(opening: Opening) -> B1500A:
    # Its gate sits inside the driver, which has it look at several messages before the first of them is sent.
    file, entry = opening.file, opening.entry
    ports = [line.selector for line in file.lines.values() if line.selector is not None]
    adapter = VISAAdapter(entry.resource, visa_library=opening.manager.visalib, timeout=round(entry.timeout * 1000))
    gate = FlexGate(file.limits, file.channels())
    return B1500A(adapter, clock=opening.clock, gate=gate, ports=ports, troubles=opening.troubles)


def _board(opening: Opening) -> Board:
    def gate(name: str, volts: float) -> None:
        opening.file.limits.check_board(name, volts)

    options: dict[str, Any] = dict(opening.options)
    return Board(opening.raw(), clock=opening.clock, gate=gate, troubles=opening.troubles, **options)


B1500A_DRIVER = Driver(
    role="analyzer",
    make=_b1500a,
    rules="flex",
    capabilities=frozenset({"selector", "flex-sweep", "columns"}),
    about="Keysight B1500A with SMUs, SPGU and SMU/PGU selector",
)
BOARD_DRIVER = Driver(
    role="board",
    make=_board,
    capabilities=frozenset({"compute", "columns"}),
    options=frozenset({"dialect"}),
    about="the PCB of board_protocol.md: selects cells, computes",
)
INFINIIVISION_DRIVER = Driver(
    role="oscilloscope",
    make=lambda opening: InfiniiVision(opening.link(), opening.clock),
    about="Keysight InfiniiVision X-Series",
)
TEKTRONIX_DRIVER = Driver(
    role="oscilloscope",
    make=lambda opening: TektronixMSO(opening.link(), opening.clock),
    about="Tektronix MSO 2/4/5/6",
)
KEITHLEY_2600_PAIR = Driver(
    role="analyzer",
    make=smu_pair.make,
    rules=smu_pair.RULES,
    capabilities=frozenset({"smu-pulses"}),
    options=frozenset({"second", "line_frequency"}),
    about="Keithley 2600 SourceMeters, one or two of two channels each, in place of an analyzer: millisecond pulses",
)
KEYSIGHT_B2200 = Driver(
    role="matrix",
    make=switch_matrix.make,
    rules=switch_matrix.RULES,
    about="Keysight B2200A/B2201A switch matrix, 14 inputs on up to 48 outputs",
)
