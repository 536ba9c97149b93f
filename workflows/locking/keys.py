"""Which physical instruments a station uses, each under one name however its address is spelled."""

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pyvisa import rname

from instruments.station_file import StationFile

_CLASSES = ("INSTR", "SOCKET", "INTFC", "RAW")


@dataclass(frozen=True, order=True)
class InstrumentKey:
    """One physical instrument.

    Attributes:
        name: what its lock goes by, such as "GPIB0::17 at lab-pc", "TCPIP::192.168.0.5" or "twin /home/a/bench".
        role: what the station uses it for; no part of its identity.
    """

    name: str
    role: str = ""

    def __str__(self) -> str:
        return f"{self.role} {self.name}".strip()

    @property
    def file_name(self) -> str:
        """A file name that is legible, bounded, and different for every `name`."""
        legible = re.sub(r"[^A-Za-z0-9.]+", "-", self.name).strip("-.")[:60]
        return f"{legible}-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}.lock"


def instrument_keys(station: StationFile, *, host: str, bench: str | Path | None = None) -> tuple[InstrumentKey, ...]:
    """The instruments that opening a station would drive, sorted by name, none twice.

    Args:
        station: the station.
        host: name of this machine, a part of what hangs on its own interfaces.
        bench: for a twin, the bench directory in place of the file's; "" for none.

    Returns:
        One key an instrument. A twin has one key, its bench directory, or none where the chip lives in memory only.
    """
    if station.simulated:
        folder = station.twin.get("dir", "") if bench is None else str(bench)
        return (InstrumentKey(f"twin {os.path.realpath(Path(folder).expanduser())}", "bench"),) if folder else ()
    named: dict[str, str] = {}
    for role, entry in sorted(station.instruments.items()):
        for resource in entry.resources:
            named.setdefault(physical_name(resource, host), role)
    return tuple(InstrumentKey(name, role) for name, role in sorted(named.items()))


def physical_name(resource: str, host: str) -> str:
    """The instrument behind a VISA resource, one name for all spellings of it.

    Where two addresses may or may not be one instrument they count as one, since locking too much only costs waiting:
    all ports and LAN device names of a network host, all secondary addresses of a GPIB address. Not seen through: a
    network host by name here and by number there, and a GPIB bus that two machines reach.

    Args:
        resource: VISA resource.
        host: name of this machine; part of the name for its own interfaces (GPIB, USB, serial), not for the network.
    """
    head, _, last = resource.rpartition("::")
    spelled = f"{head}::{last.upper()}" if last.upper() in _CLASSES else resource
    try:
        parsed = rname.ResourceName.from_string(spelled)
    except rname.InvalidResourceName:
        return f"{resource} at {host}"
    address = getattr(parsed, "host_address", None)
    if address is not None:
        return _network_name(parsed.interface_type, str(address), host)
    board = getattr(parsed, "board", "")
    if parsed.interface_type == "ASRL":
        # A link such as /dev/serial/by-id/... names the same line as the device it points to.
        name = f"ASRL{os.path.realpath(board)}" if board.startswith("/") else f"ASRL{board}"
    elif parsed.interface_type == "GPIB" and parsed.resource_class == "INSTR":
        name = f"GPIB{board}::{getattr(parsed, 'primary_address', '')}"
    elif parsed.interface_type == "USB":
        maker, model = (_whole(getattr(parsed, part)) for part in ("manufacturer_id", "model_code"))
        name = f"USB::{maker}::{model}::{getattr(parsed, 'serial_number', '')}"
    else:
        name = str(parsed)
    return f"{name} at {host}"


def _network_name(interface: str, address: str, host: str) -> str:
    address = address.lower().rstrip(".")
    local = address == "localhost"
    try:
        number = ipaddress.ip_address(address)
        address, local = str(number), number.is_loopback
    except ValueError:
        pass
    name = f"{interface}::{address}"
    return f"{name} at {host}" if local else name


def _whole(text: str) -> str:
    try:
        return f"0x{int(text, 0):04x}"
    except ValueError:
        return text
