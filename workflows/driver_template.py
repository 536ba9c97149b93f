"""A new driver's package: everything around it written, its methods to fill in, taken from the role's protocol."""

import inspect
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from instruments import roles
from instruments.array import Analyzer, Switchboard
from instruments.oscilloscope import Oscilloscope
from workflows.errors import RequestError

_PROTOCOLS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "analyzer": (roles.AnalyzerDriver, Analyzer),
    "oscilloscope": (Oscilloscope,),
    "board": (roles.BoardDriver, Switchboard),
    "matrix": (roles.MatrixDriver,),
}
_IMPORTS: Final[Mapping[str, str]] = {
    "analyzer": (
        "from collections.abc import Sequence\nfrom contextlib import AbstractContextManager\n"
        "from typing import Any, Literal\n\nfrom instruments.array import Spot"
    ),
    "oscilloscope": (
        "from collections.abc import Mapping\nfrom typing import Any, Literal\n\n"
        "from instruments.oscilloscope import Capture, ChannelSetup, Timebase, Trigger"
    ),
    "board": "from typing import Any, Literal\n",
    "matrix": "from collections.abc import Iterable, Sequence\nfrom typing import Any\n",
}
_RULES: Final[Mapping[str, str]] = {
    "analyzer": """RULES = (
    # A rule for every form of message that the driver sends; whatever matches none is refused. `volts`, `amps` and
    # `seconds` are held against the station's limits, `channel` says which line they go to.
    Rule(rf":SOUR(?P<channel>[123]):VOLT (?P<volts>{NUMBER})"),
    Rule(rf":SENS(?P<channel>[123]):CURR:PROT (?P<amps>{NUMBER})"),
    Rule(r":OUTP[123] [01]|:MEAS[123]:CURR\\?|\\*IDN\\?|:SYST:ERR\\?"),
)
""",
    "oscilloscope": """RULES = ()  # an oscilloscope's gate refuses what could make it drive something
""",
    "board": """RULES = (
    # A rule for every form of message that the driver sends; whatever matches none is refused. A voltage that the board
    # puts out stands in a group `volts`, and `line` says which limit it is held against.
    Rule(r"MODE (?:SAFE|PROGRAM)|SEL [0-9]+ [0-9]+ [0-9]+|SEL\\?|MODE\\?|GEOM\\?|\\*IDN\\?"),
)
""",
    "matrix": """RULES = (
    # A rule for every form of message that the driver sends; whatever matches none is refused. The gate keeps account
    # of the crosspoints in `paths` and refuses two sources on one line; `opens` says that a command opens them.
    Rule(r":ROUT:CLOS \\(@(?P<paths>[0-9,]+)\\)"),
    Rule(r":ROUT:OPEN \\(@(?P<paths>[0-9,]+)\\)", opens=True),
    Rule(r":ROUT:OPEN:ALL", opens=True),
    Rule(r":ROUT:CLOS:STAT\\?|\\*IDN\\?|:SYST:ERR\\?"),
)
""",
}
_LINKS: Final[Mapping[str, str]] = {
    "analyzer": 'opening.link(channels={"1": 1, "2": 2, "3": 3})',  # label in messages -> channel number in the wiring
}
_STANDARD: Final[Mapping[str, tuple[str, str]]] = {
    "oscilloscope": ("station-twin.yaml", "infiniivision"),
    "board": ("station-smu-pair.yaml", "board"),
    "matrix": ("station-matrix.yaml", "keysight-b2200"),
}
"""A station to begin with, and which driver of it the new one takes the place of."""


def write_package(name: str, folder: Path, role: str) -> list[Path]:
    """Write a package that pip can install, with its methods to fill in.

    Args:
        name: of the driver, in station files.
        folder: new, or empty.
        role: of `instruments.roles.ROLES`.

    Returns:
        What was written.

    Raises:
        RequestError: the name or the role can't be, there is such a driver, or the folder holds something.
    """
    from instruments.drivers import known

    if role not in get_args(roles.Role):
        raise RequestError(f"role {role!r} is none of {', '.join(get_args(roles.Role))}")
    if re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) is None or len(name) > 40:
        raise RequestError(f"driver name {name!r}: small letters and digits with - between them, such as acme-100")
    if name in known():
        raise RequestError(f"there is a driver {name!r} already; choose another name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists and is not an empty folder; nothing was written")
    package = "ohmflow_" + name.replace("-", "_")
    texts = {
        "pyproject.toml": _PYPROJECT.format(name=name, package=package),
        "README.md": _README.format(name=name, package=package, role=role),
        f"{package}/__init__.py": f'"""ohmflow driver {name}."""\n',
        f"{package}/driver.py": _driver(name, role),
        f"{package}/station.yaml": _station(name, package, role),
        "tests/test_conformance.py": _TESTS.format(package=package, role=role),
    }
    if role == "analyzer":
        texts[f"{package}/panel.py"] = _PANEL.format(name=name)
        texts[f"{package}/bench.yaml"] = _BENCH.format(package=package)
    written = []
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _driver(name: str, role: str) -> str:
    bodies, seen = [], set()
    for protocol in _PROTOCOLS[role]:
        for method, function in vars(protocol).items():
            if method.startswith("_") or method in seen or not inspect.isfunction(function):
                continue
            seen.add(method)
            source = textwrap.dedent(inspect.getsource(function)).rstrip()
            assert source.endswith("..."), method
            fill = f'raise InstrumentError("{name}: {method}() is to be written")'
            bodies.append(textwrap.indent(source.removesuffix("...") + fill, "    "))
    numbers = ", NUMBER" if role == "analyzer" else ""
    rule = "" if role == "oscilloscope" else f"from instruments.gates import {'NUMBER, ' if numbers else ''}Rule\n"
    return _DRIVER.format(
        name=name, role=role, imports=_IMPORTS[role], rule=rule, rules=_RULES[role], methods="\n\n".join(bodies),
        link=_LINKS.get(role, "opening.link()"),
        capabilities='frozenset({"smu-pulses"})' if role == "analyzer" else "frozenset()",
    )  # fmt: skip


def _station(name: str, package: str, role: str) -> str:
    import sim_configs

    if role == "analyzer":
        return _STATION.format(name=name)
    station, own = _STANDARD[role]
    text = sim_configs.path(station).read_text(encoding="utf-8")
    text = text.replace(", options: {dialect: extended}", "") if role == "board" else text
    return text.replace(f"driver: {own}", f"driver: {name}")


_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "ohmflow-{name}"
version = "0.1.0"
description = "ohmflow driver {name}"
requires-python = ">=3.11"
dependencies = ["ohmflow"]

# The name on the left is what a station file says: `driver: {name}`.
[project.entry-points."ohmflow.drivers"]
{name} = "{package}.driver:DRIVER"

[tool.setuptools]
packages = ["{package}"]

[tool.setuptools.package-data]
{package} = ["*.yaml"]
"""

_README = """\
# ohmflow driver {name}

Fill in the methods of `{package}/driver.py` (role: {role}) until the tests pass:

    pip install --no-deps --no-build-isolation -e .
    pytest

How to, with an example: `instruments/drivers.md` of ohmflow. On the real instrument, once the twin is content, in a
station file of your own:

    ohmflow driver check my-station.yaml            # reads identities, errors, settings; safe state
    ohmflow driver check my-station.yaml --drive    # reads and pulses the cell that the file says may be lost
"""

_DRIVER = '''\
"""ohmflow driver {name}: fill in the methods; what each must do stands in it."""

{imports}
from instruments.drivers import Driver, Opening
from instruments.errors import InstrumentError
{rule}
{rules}

class Instrument:
    """The instrument behind `driver: {name}`.

    Args:
        resource: open pyvisa resource; every message it sends passes the limits by RULES.
        opening: clock, limits, wiring and options of the station.
    """

    def __init__(self, resource: Any, opening: Opening) -> None:
        resource.read_termination = resource.write_termination = "\\n"
        self._resource, self._opening = resource, opening

{methods}


def _make(opening: Opening) -> Instrument:
    return Instrument({link}, opening)


DRIVER = Driver(role="{role}", make=_make, rules=RULES, capabilities={capabilities}, about="{name}")
'''

_PANEL = '''\
"""A twin of the instrument: its commands as the manual has them, what they do to the bench's wires."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from instruments.twin.panels.scpi import Call, Entry, Interpreter, ScpiError, Tree, number
from instruments.twin.panels.scpi_state import Status


class Panel:
    """A source-measure unit of three channels, 1 to 3 of the bench's wiring. Add the commands that the driver sends.

    `self.bench.fixture` is the wires: force(channel, volts or None, compliance), measure(channel, seconds).
    """

    def __init__(self, bench: Any, options: Mapping[str, str]) -> None:
        self.bench = bench
        self.errors: deque[ScpiError] = deque()
        self.status = Status("ACME,{name},0,1.0", self.reset, self.errors.clear, lambda: 0)
        tree = Tree()
        tree.add_all(self.status.commands())
        tree.add_all(
            {{
                "SYSTem:ERRor": Entry(None, lambda call: self.next_error()),
                "SOURce<n>:VOLTage": Entry(self.set_volts),
            }}
        )
        self.interpreter = Interpreter(tree, self.errors.append, lambda: False)

    def set_volts(self, call: Call) -> None:
        self.bench.fixture.force(call.suffixes[0], number(call.only()[0], -20, 20), 1e-3)

    def next_error(self) -> str:
        error = self.errors.popleft() if self.errors else ScpiError(0)
        return f'{{error.code:+d}},"{{error.text}}"'

    def reset(self) -> None:
        for channel in (1, 2, 3):
            self.bench.fixture.force(channel, None)

    def handle(self, message: bytes) -> list[bytes] | None:
        return self.interpreter.feed(message)

    def pull(self) -> bytes | None:
        return None

    def status_byte(self) -> int:
        return self.status.byte()

    def clear(self) -> None:
        self.interpreter.clear()

    def trigger(self) -> None:
        return None
'''

_BENCH = """\
# The simulated bench: your instrument's twin, and the board that selects cells.
spec: "1.1"
bench:
  preset: cmo-hfox
  arrays: 1
  rows: 8
  cols: 8
  wiring:
    bit_line: {{smu: 1}}
    word_line: {{smu: 2}}
    source_line: {{smu: 3}}
devices:
  instrument:
    eom:
      GPIB INSTR: {{q: "\\n", r: "\\n"}}
    error: ERROR
    handler: {package}.panel:Panel
    timing: {{message: 3 ms}}
  board:
    eom:
      ASRL INSTR: {{q: "\\r\\n", r: "\\r\\n"}}
    error: ERROR
    handler: instruments.twin.panels.board:BoardPanel
    options: {{firmware: extended}}
    timing: {{byte: 1.0416667 ms}}
resources:
  GPIB0::5::INSTR: {{device: instrument}}
  ASRL1::INSTR: {{device: board}}
"""

_STATION = """\
station: {{name: {name}-twin, world: simulated, visa: bench.yaml@twin}}
instruments:
  analyzer: {{driver: {name}, resource: "GPIB0::5::INSTR", timeout: 2 s}}
  board: {{driver: board, resource: "ASRL1::INSTR", timeout: 5 s, options: {{dialect: extended}}}}
wiring:
  bit_line: {{smu: 1}}
  word_line: {{smu: 2}}
  source_line: {{smu: 3}}
limits:
  bit_line: [-0.5 V, 3.5 V]
  source_line: [-0.5 V, 2.5 V]
  word_line: [0 V, 4 V]
  pulse_width: [1 ms, 10 ms]
read: {{volts: 0.2 V, gate: 3 V, compliance: 100 uA}}
array: {{arrays: 1, rows: 8, cols: 8, sacrificial: [0, 7, 7]}}
"""

_TESTS = '''\
"""The driver against its role, on the twin: every check by name."""

import importlib.resources

import pytest

from instruments.conformance import CHECKS, check_station
from instruments.roles import role_of
from instruments.station_file import StationFile

STATION = importlib.resources.files("{package}") / "station.yaml"
NAMES = [check.name for check in CHECKS if role_of("{role}") in check.roles]


@pytest.mark.parametrize("name", NAMES)
def test_conformance(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OHMFLOW_HANDLERS", "{package}")  # the bench file may name our twin
    (result,) = check_station(StationFile.load(str(STATION)), roles=("{role}",), only=(name,))
    assert result.verdict != "failed", result.why
'''
