"""The list of checks, and how they are run: each on its own, from safe outputs, whatever the one before came to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from instruments.conformance import analyzers, common, others
from instruments.conformance.subject import Failed, Skipped, Subject
from instruments.errors import ConfigError, StationError
from instruments.roles import ROLES, Role, role_of
from instruments.station import Station
from instruments.station_file import StationFile

Verdict = Literal["passed", "failed", "skipped"]
_Do = Callable[[Subject], str]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: such as "limits.refused".
        roles: it is for.
        do: raises Failed or Skipped, or gives a few words on what it saw.
        where: "reads": changes nothing, made everywhere; "drives": made on the twin, on a real instrument only when
            asked for; "twin": made on the twin only.
    """

    name: str
    roles: tuple[Role, ...]
    do: _Do
    where: Literal["reads", "drives", "twin"] = "twin"

    @property
    def about(self) -> str:
        """What it finds out, a sentence."""
        return (self.do.__doc__ or "").strip()


def _for(role: Role, **checks: tuple[_Do, Literal["reads", "drives", "twin"]]) -> Iterator[Check]:
    for name, (do, where) in checks.items():
        yield Check(name.replace("__", ".").replace("_", "-"), (role,), do, where)


CHECKS: Final[tuple[Check, ...]] = (
    Check("methods", ROLES, common.methods, "reads"),
    Check("identity", ROLES, common.identity, "reads"),
    Check("identity.of-another", ROLES, common.identity_of_another),
    Check("errors.queue", ROLES, common.error_queue, "reads"),
    Check("errors.reported", ROLES, common.errors_reported),
    Check("settings.read-back", ROLES, common.settings, "reads"),
    Check("link.silence", ROLES, common.silence),
    Check("link.garbage", ROLES, common.garbage),
    Check("gate.alone", ROLES, common.only_its_gate),
    *_for(
        "analyzer",
        units__volts=(analyzers.volts_at_the_wire, "twin"),
        units__amps=(analyzers.amps_at_the_wire, "twin"),
        compliance=(analyzers.compliance, "twin"),
        errors__raised=(analyzers.errors_raised, "twin"),
        link__silent_reading=(analyzers.silent_reading, "twin"),
        link__stale_reading=(analyzers.stale_reading, "twin"),
        link__garbled_reading=(analyzers.garbled_reading, "twin"),
        limits__refused=(analyzers.limits_refused, "twin"),
        limits__pulse_refused=(analyzers.pulse_refused, "twin"),
        pulse__as_asked=(analyzers.pulse_as_asked, "twin"),
        pulse__in_doubt=(analyzers.pulse_in_doubt, "twin"),
        pulse__ends=(analyzers.pulse_ends, "twin"),
        drive__read=(analyzers.read_sacrificial, "drives"),
        drive__pulse=(analyzers.pulse_sacrificial, "drives"),
        safe__outputs=(analyzers.safe_outputs, "twin"),
        safe__after_failure=(analyzers.safe_after_failure, "twin"),
    ),
    *_for(
        "oscilloscope",
        scope__refuses=(others.scope_refuses, "twin"),
        scope__axes=(others.scope_axes, "twin"),
        scope__times=(others.scope_times, "twin"),
        scope__volts=(others.scope_volts, "twin"),
        scope__no_trigger=(others.scope_no_trigger, "drives"),
        scope__garbage=(others.scope_garbage, "twin"),
    ),
    *_for(
        "board",
        board__geometry=(others.geometry, "reads"),
        board__selects=(others.board_selects, "twin"),
        board__refuses=(others.board_refuses, "twin"),
        safe__disconnects=(others.board_safe, "twin"),
    ),
    *_for(
        "matrix",
        matrix__closes=(others.matrix_closes, "drives"),
        matrix__no_short=(others.matrix_shorts, "twin"),
        matrix__unknown=(others.matrix_unknown, "reads"),
        matrix__selects=(others.matrix_selects, "twin"),
        safe__opens=(others.matrix_safe, "drives"),
    ),
    Check("safe.twice", ROLES, common.safe_twice, "reads"),
    Check("safe.dead-line", ROLES, common.safe_dead_line),
)
"""All checks, in the order in which they are made."""
HELD: Final = "limits.held"
"""Made of all the others together: whatever they came to, no line was ever outside its limits."""


@dataclass(frozen=True)
class Result:
    """What a check came to.

    Attributes:
        role: section of the station file.
        driver: its driver.
        check: name.
        verdict: "passed", "failed" or "skipped".
        why: what was seen, what is wrong, or why it was not made.
    """

    role: str
    driver: str
    check: str
    verdict: Verdict
    why: str


def check_station(
    file: StationFile,
    *,
    drive: bool = False,
    roles: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    told: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Make every check on every driver of a station.

    On a twin each check has a bench of its own, whose chip is forgotten; nothing that is kept on disk is touched.

    Args:
        file: the station.
        drive: on a real instrument, also make the checks that set or drive something, the sacrificial cell alone.
        roles: sections to check; all if empty.
        only: names of checks to make; all if empty.
        told: hears each result as it comes.

    Raises:
        ConfigError: the station can't be opened because of its file, or there is no such section.
        InstrumentError: an instrument can't be reached.
    """
    unknown = [role for role in roles if role not in file.instruments]
    if unknown:
        raise ConfigError(
            f"station {file.name}: it has no {unknown[0]!r} to check; it has {', '.join(file.instruments)}"
        )
    names = {check.name for check in CHECKS} | {HELD}
    odd = [name for name in only if name not in names]
    if odd:
        raise ConfigError(f"there is no check {odd[0]!r}; there are {', '.join(sorted(names))}")
    results: list[Result] = []
    for role in roles or file.instruments:
        for result in _check_role(file, role, drive, only):
            results.append(result)
            told(result)
    return results


def _check_role(file: StationFile, role: str, drive: bool, only: tuple[str, ...]) -> Iterator[Result]:
    driver, kind = file.instruments[role].driver, role_of(role)
    wanted = [check for check in CHECKS if kind in check.roles and (not only or check.name in only)]
    if file.simulated:
        file = replace(file, twin={k: v for k, v in file.twin.items() if k not in ("dir", "faults", "faults_seed")})
        beyond: list[str] = []
        for check in wanted:
            with Station.open(file) as station:
                subject = Subject(station, role, drive=True, beyond=beyond)
                verdict, why = _made(check, subject)
            yield Result(role, driver, check.name, verdict, why)
        if kind == "analyzer" and (not only or HELD in only):
            held: Verdict = "failed" if beyond else "passed"
            why = beyond[0] if beyond else "at no time was a line outside its limits"
            yield Result(role, driver, HELD, held, why)
        return
    with Station.open(file) as station:
        subject = Subject(station, role, drive)
        for check in wanted:
            if check.where == "twin" or (check.where == "drives" and not drive):
                why = "only on a twin" if check.where == "twin" else "sets or drives something: only with --drive"
                yield Result(role, driver, check.name, "skipped", why)
                continue
            verdict, why = _made(check, subject)
            yield Result(role, driver, check.name, verdict, why)


def _made(check: Check, subject: Subject) -> tuple[Verdict, str]:
    try:
        why = check.do(subject)
    except Skipped as reason:
        return "skipped", str(reason)
    except Failed as reason:
        return "failed", str(reason)
    except StationError as error:
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    except Exception as error:  # a driver's own slip
        return (
            "failed",
            f"it raised {type(error).__name__}: {' '.join(str(error).split())[:200]}; see the role's errors",
        )
    finally:
        subject.settle()
    return "passed", why
