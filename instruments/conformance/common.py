"""Checks that every role has: who it is, what it says about errors, what it does when its wires fail, safe state."""

from instruments.conformance.subject import Failed, Skipped, Subject, expect, refusal
from instruments.errors import InstrumentError, LinkError, StationError
from instruments.roles import METHODS


def identity(s: Subject) -> str:
    """It says who it is, twice the same."""
    first: str = s.driver.identify()
    second: str = s.driver.identify()
    expect(isinstance(first, str) and bool(first.strip()), f"identify() gave {first!r}")
    expect(first == second, f"identify() gave {first!r}, then {second!r}")
    return first


def identity_of_another(s: Subject) -> str:
    """Somebody else at its address is refused."""
    known = s.driver.identify()
    if s.role == "board":
        raise Skipped("a board's identity is framed; what is garbled is tried by link.garbage")
    s.wire.reply = lambda data: b"ACME,MODEL 1,0,0\n" if b"," in data else data
    with refusal(InstrumentError, "another instrument answered *IDN?"):
        s.driver.identify()
    return f"not taken for {known.split(',')[1].strip()}"


def error_queue(s: Subject) -> str:
    """The error queue can be read, and is empty."""
    if not callable(getattr(s.driver, "check_errors", None)):
        raise Skipped("the role has no error queue")
    s.driver.check_errors()
    return "empty"


def errors_reported(s: Subject) -> str:
    """An error in the instrument's queue is raised, and the queue is empty afterwards."""
    if not callable(getattr(s.driver, "check_errors", None)):
        raise Skipped("the role has no error queue")
    for name in sorted(s.wire.resources):
        panel = s.library.instruments[name].panel
        s.world.clock.sleep(0.0)
        panel.handle(b":OHMFLOW:NO:SUCH:COMMAND 1")
        with refusal(InstrumentError, f"{name} had an error in its queue and check_errors()"):
            s.driver.check_errors()
        s.driver.check_errors()
    return f"{len(s.wire.resources)} queues"


def settings(s: Subject) -> str:
    """What is set can be read back, twice the same."""
    for name in ("settings", "closed", "connected"):
        read = getattr(s.driver, name, None)
        if callable(read):
            first, second = read(), read()
            expect(first == second, f"{name}() gave {first!r:.80}, then {second!r:.80}")
            return f"{name}(): {len(first) if hasattr(first, '__len__') else 1} values"
    raise Skipped("the driver offers no settings(): what is set, by name, without changing anything")


def methods(s: Subject) -> str:
    """It has every method of its role."""
    wanted = METHODS[s.opening.registered.driver.role]
    lacking = [name for name in wanted if not callable(getattr(s.driver, name, None))]
    expect(not lacking, f"it lacks {', '.join(lacking)}")
    return f"{len(wanted)} methods"


def silence(s: Subject) -> str:
    """An instrument that says nothing is an InstrumentError, not silence and not another exception."""
    s.wire.reply = lambda data: None
    with refusal(InstrumentError, "no reply came and identify()"):
        s.driver.identify()
    return "InstrumentError"


def garbage(s: Subject) -> str:
    """A reply that makes no sense is an InstrumentError."""
    s.wire.reply = lambda data: b"\x80?#" + data[-1:]
    with refusal(InstrumentError, "the reply was garbage and identify()"):
        s.driver.identify()
    return "InstrumentError"


def only_its_gate(s: Subject) -> str:
    """All that reached the instrument has passed the gate."""
    registered = s.opening.registered
    if registered.own and registered.driver.role in ("analyzer", "board") and not registered.driver.options:
        raise Skipped("the gate of this driver sits inside it")
    if registered.name in ("b1500a", "board"):
        raise Skipped("the gate of this driver sits inside it")
    wire, watch = s.wire, s.opening.watch
    wire.heard.clear()
    watch.passed = []
    try:
        s.driver.identify()
        s.driver.safe()
        if s.role == "analyzer":
            s.ready()
        if s.role == "matrix":
            s.driver.close({(1, 1)})
            s.driver.open_all()
    finally:
        passed, watch.passed = watch.passed, None
    left = list(passed)
    for message in wire.heard:
        if message not in left:
            raise Failed(
                f"{message[:60]!r} reached the instrument and not the gate: open connections by Opening.link()"
            )
        left.remove(message)
    return f"{len(wire.heard)} messages"


def safe_twice(s: Subject) -> str:
    """The safe state can be asked for at any time, again, and says nothing went wrong."""
    for _ in range(2):
        problems = s.driver.safe()
        expect(not problems, f"safe() says {problems}")
    return "nothing went wrong"


def safe_dead_line(s: Subject) -> str:
    """With its line dead, making it safe says so: by a list of what went wrong, or (a board) InstrumentError."""
    s.wire.write = lambda data: b""
    try:
        problems = s.driver.safe()
    except (InstrumentError, LinkError) as error:
        expect(s.role == "board", f"safe() raised {type(error).__name__}; it must give a list of what went wrong")
        return "said so"
    except StationError as error:
        raise Failed(f"safe() raised {type(error).__name__}") from error
    expect(bool(problems), "nothing reached the instrument and safe() says that all went well")
    return "said so"
