"""Asking a catalogue: conditions as people type them, and the SQL that they amount to."""

import re
from dataclasses import dataclass
from typing import Any, Final

from analysis.errors import AnalysisError

_CONDITION: Final = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_CLOSE: Final = 1e-9
"""Relative difference up to which two numbers are taken as equal: 1e-6 is 0.000001 however it was computed."""


@dataclass(frozen=True)
class Condition:
    """A comparison such as `window=1e-6` or `inside>0.98`.

    Attributes:
        name: of a parameter (its last part, or all of it with dots: `options.window`) or of a metric.
        operator: =, !=, <, <=, > or >=.
        text: what it is compared with.
    """

    name: str
    operator: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parse a condition.

        Raises:
            AnalysisError: it is none.
        """
        match = _CONDITION.fullmatch(text)
        if match is None or not match[3]:
            raise AnalysisError(f"{text!r} is no condition: write a name, one of = != < <= > >=, and a value")
        return cls(match[1], match[2], match[3])

    @property
    def number(self) -> float | None:
        """The value as a number, None if it is text."""
        try:
            value = float(self.text)
        except ValueError:
            return None
        return value if value == value else None

    def sql(self, number: str, text: str = "") -> tuple[str, list[Any]]:
        """The comparison for a column of numbers and, if there is one, a column of text.

        Raises:
            AnalysisError: text can't be compared so.
        """
        value = self.number
        if value is not None:
            near = abs(value) * _CLOSE
            match self.operator:
                case "=":
                    return f"{number} BETWEEN ? AND ?", [value - near, value + near]
                case "!=":
                    return f"{number} NOT BETWEEN ? AND ?", [value - near, value + near]
            return f"{number} {self.operator} ?", [value]
        if not text or self.operator not in ("=", "!="):
            raise AnalysisError(f"{self.name}{self.operator}{self.text}: {self.text!r} is not a number")
        return f"{text} {self.operator} ? COLLATE NOCASE", [self.text]


@dataclass(frozen=True)
class Query:
    """What runs are wanted; everything given must hold.

    Attributes:
        chip, procedure, status, world: as in the header; empty: any.
        since, until: start, seconds since 1970; the end is not included.
        where: comparisons with parameters.
        metric: comparisons with metrics; runs that don't have the metric don't match.
        text: words that must all occur (or begin a word) in names, command line, reason, notes, phases.
        damaged: also runs whose files can't be read; only where nothing else is asked for.
        limit: at most so many, the latest first; 0: all.
    """

    chip: str = ""
    procedure: str = ""
    status: str = ""
    world: str = ""
    since: float | None = None
    until: float | None = None
    where: tuple[Condition, ...] = ()
    metric: tuple[Condition, ...] = ()
    text: str = ""
    damaged: bool = True
    limit: int = 0

    def sql(self, *, full_text: bool) -> tuple[str, list[Any]]:
        """SELECT of the ids of the runs that match, the latest first; `full_text`: by SQLite's index of words."""
        parts: list[str] = []
        values: list[Any] = []
        for name in ("chip", "procedure", "status", "world"):
            wanted = getattr(self, name)
            if wanted:
                parts.append(f"runs.{name} = ? COLLATE NOCASE")
                values.append(wanted)
        for bound, operator in ((self.since, ">="), (self.until, "<")):
            if bound is not None:
                parts.append(f"runs.epoch {operator} ?")
                values.append(bound)
        for condition in self.where:
            comparison, given = condition.sql("p.number", "p.text")
            column = "p.name" if "." in condition.name else "p.leaf"
            parts.append(f"runs.id IN (SELECT p.run FROM parameters p WHERE {column} = ? AND {comparison})")
            values += [condition.name, *given]
        for condition in self.metric:
            comparison, given = condition.sql("m.value")
            parts.append(f"runs.id IN (SELECT m.run FROM metrics m WHERE m.name = ? AND {comparison})")
            values += [condition.name, *given]
        words = self.text.split()
        if words and full_text:
            parts.append("runs.id IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(" ".join('"' + word.replace('"', '""') + '"*' for word in words))
        elif words:
            for word in words:
                parts.append("runs.id IN (SELECT id FROM words WHERE content LIKE ? ESCAPE '\\')")
                values.append("%" + re.sub(r"([\\%_])", r"\\\1", word) + "%")
        if parts or not self.damaged:
            parts.append("runs.problem = ''")
        clause = f" WHERE {' AND '.join(parts)}" if parts else ""
        limit = f" LIMIT {int(self.limit)}" if self.limit > 0 else ""
        return f"SELECT runs.id FROM runs{clause} ORDER BY runs.epoch DESC, runs.folder DESC{limit}", values
