"""Working hours and arrivals, as people write them, to seconds from the start of a plan.

"Mon-Fri 09:00-17:00" are hours; "Mon, Thu 10:00", "daily 22:00" and "every 4 h" are arrivals. Days and times of day
are local, so a day on which the clocks change has 23 or 25 hours.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from instruments.errors import ConfigError
from instruments.quantity import to_si

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"
_RULE = re.compile(rf"([A-Za-z][A-Za-z, -]*?)\s+{_CLOCK}(?:\s*-\s*({_CLOCK}|24:00))?")
_HOURS_HELP = "write for example 'Mon-Fri 09:00-17:00'"
_ARRIVE_HELP = "write '2031-05-06 09:00', 'daily 22:00', 'Mon, Thu 10:00' or 'every 4 h'"


@dataclass(frozen=True)
class Shifts:
    """When somebody is at work: disjoint intervals in order, s from the plan's start."""

    opens: tuple[float, ...]
    closes: tuple[float, ...]

    @property
    def longest(self) -> float:
        """Length of the longest shift, s; 0 if there is none."""
        return max((c - o for o, c in zip(self.opens, self.closes, strict=True)), default=0.0)

    def next_start(self, now: float, need: float) -> float:
        """The first instant from `now` on (s) at which work of `need` seconds fits a shift; inf: never."""
        for i in range(bisect_left(self.closes, now + need - 1e-6), len(self.closes)):
            begin = max(now, self.opens[i])
            if begin + need <= self.closes[i] + 1e-6:
                return begin
        return float("inf")

    def within(self, span: float) -> float:
        """Seconds at work from the plan's start to `span`."""
        return sum(max(min(c, span) - max(o, 0.0), 0.0) for o, c in zip(self.opens, self.closes, strict=True))


@dataclass(frozen=True)
class Era:
    """Where a plan's seconds are counted from, and whose clock its times of day are.

    Attributes:
        start: second zero, with zone.
        zone: of local times.
    """

    start: datetime
    zone: tzinfo

    def seconds(self, moment: datetime) -> float:
        """Seconds from the start to `moment`; a moment without a zone is local."""
        aware = moment if moment.tzinfo else moment.replace(tzinfo=self.zone)
        # Through UTC: Python subtracts two times of one zone as if its clocks never changed.
        return (aware.astimezone(UTC) - self.start.astimezone(UTC)).total_seconds()

    def local(self, seconds: float) -> datetime:
        """The local time at `seconds` from the start."""
        return (self.start.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(self.zone)

    def instant(self, text: object, what: str) -> float:
        """An ISO date and time, local unless it says its zone, in seconds from the start."""
        try:
            return self.seconds(_iso(text))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{what}: {text!r} is no time; write for example '2031-05-06 09:00'") from error

    def shifts(self, rules: Sequence[str], away: Sequence[str], span: float, what: str) -> Shifts:
        """Working hours from the plan's start to `span`.

        Args:
            rules: such as "Mon-Fri 09:00-17:00"; hours that end before they begin end on the next day.
            away: ISO dates without work.
            span: s.
            what: place in the file, for the error.
        """
        free = {_date(day, f"{what}.away") for day in away}
        spans: list[tuple[float, float]] = []
        for rule in rules:
            days, begin, end = _rule(rule, f"{what}.hours")
            if end is None:
                raise ConfigError(f"{what}.hours: {rule!r} has no end; {_HOURS_HELP}")
            for day in self._days(span):
                if day.weekday() in days and day not in free:
                    last = day + timedelta(days=end <= begin)
                    spans.append((self._at(day, begin), self._at(last, end)))
        opens: list[float] = []
        closes: list[float] = []
        for start, stop in sorted(spans):
            if closes and start <= closes[-1]:
                closes[-1] = max(closes[-1], stop)
            else:
                opens.append(start)
                closes.append(stop)
        return Shifts(tuple(opens), tuple(closes))

    def arrivals(self, text: object, span: float, what: str) -> tuple[list[float], bool]:
        """Instants (s, within 0..span) of an arrival, and whether it is one that repeats."""
        if not isinstance(text, str):
            raise ConfigError(f"{what}: {text!r} is no arrival; {_ARRIVE_HELP}")
        if text.startswith("every "):
            period = to_si(text.removeprefix("every "), "s", what=what)
            if period < 60:
                raise ConfigError(f"{what}: {text!r} is more often than once a minute")
            return [i * period for i in range(int(span / period) + 1) if i * period < span], True
        if re.match("[A-Za-z]", text):
            days, minute, end = _rule(text, what, _ARRIVE_HELP)
            if end is not None:
                raise ConfigError(f"{what}: {text!r} are hours, not an arrival; {_ARRIVE_HELP}")
            instants = [self._at(day, minute) for day in self._days(span) if day.weekday() in days]
            return [t for t in instants if 0 <= t < span], True
        try:
            instant = self.seconds(_iso(text))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{what}: {text!r} is no arrival; {_ARRIVE_HELP}") from error
        if not 0 <= instant <= span:
            raise ConfigError(f"{what}: {text!r} lies outside the plan, which begins at {self.start.isoformat()}")
        return [instant], False

    def _days(self, span: float) -> Iterator[date]:
        """Local dates from the day before the start (whose night shift may last) to the end."""
        day, last = self.local(0).date() - timedelta(days=1), self.local(span).date()
        while day <= last:
            yield day
            day += timedelta(days=1)

    def _at(self, day: date, minute: int) -> float:
        carry, rest = divmod(minute, 1440)
        return self.seconds(datetime.combine(day + timedelta(days=carry), time(rest // 60, rest % 60)))


def _iso(text: object) -> datetime:
    if not isinstance(text, str):
        raise ValueError
    return datetime.fromisoformat(text.strip())


def _date(text: object, what: str) -> date:
    try:
        return date.fromisoformat(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"{what}: {text!r} is no date; write for example 2031-05-09") from error


def _rule(text: object, what: str, help_: str = _HOURS_HELP) -> tuple[set[int], int, int | None]:
    """(weekdays, begin, end or None), in minutes of the day."""
    match = _RULE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ConfigError(f"{what}: {text!r} is not understood; {help_}")
    days: set[int] = set()
    for part in match[1].split(","):
        ends = [p.strip().lower()[:3] for p in part.split("-")]
        if ends == ["dai"]:
            days |= set(range(7))
        elif len(ends) <= 2 and all(end in _DAYS for end in ends):
            first, last = _DAYS.index(ends[0]), _DAYS.index(ends[-1])
            days |= {(first + i) % 7 for i in range((last - first) % 7 + 1)}
        else:
            raise ConfigError(f"{what}: {part.strip()!r} is no day; allowed: Mon .. Sun, Mon-Fri, daily")
    begin = int(match[2]) * 60 + int(match[3])
    if match[4] is None:
        return days, begin, None
    end = 1440 if match[4] == "24:00" else int(match[5]) * 60 + int(match[6])
    return days, begin, end
