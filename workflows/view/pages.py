"""The pages' frames: HTML that is complete and legible before any script has run; text from files is escaped."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import jinja2

from analysis.records.catalogue import Entry, flat
from analysis.records.header import RunHeader
from workflows.tables import clock_text
from workflows.view.listing import Listed
from workflows.view.places import Place

_MOST_PARAMETERS = 400
_STATION_ROLES = 64


@dataclass(frozen=True)
class Search:
    """What the list's form asks for: words, procedure, status, page from 1."""

    text: str = ""
    procedure: str = ""
    status: str = ""
    page: int = 1

    def other(self, page: int) -> str:
        """Address of another page of the same search."""
        given = {name: value for name, value in {**vars(self), "page": page}.items() if value and value != 1}
        return f"/?{urlencode(given)}" if given else "/"


class Pages:
    """The pages of a view of a place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        loader = jinja2.PackageLoader("workflows.view", "templates")
        self._templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self._templates.filters["clock"] = lambda seconds: clock_text(seconds) if seconds == seconds else ""
        self._templates.globals["address"] = address

    def runs(self, listed: Listed, search: Search, procedures: list[str], statuses: tuple[str, ...]) -> str:
        """The list of runs."""
        rows = [(self.place.name_of(entry.folder), entry, _figures(entry)) for entry in listed.runs]
        measured = any(figures for *_, figures in rows)
        return self._page(
            "runs.html", place=self.place, rows=rows, measured=measured, listed=listed, search=search,
            procedures=procedures, statuses=statuses,
        )  # fmt: skip

    def run(self, name: str, header: RunHeader | None, problem: str) -> str:
        """A run's page; without a header it says what the problem is."""
        parameters = [] if header is None else [(key, text) for key, _, _, text in flat("", header.parameters)]
        return self._page(
            "run.html", place=self.place, name=name, header=header, problem=problem,
            parameters=parameters[:_MOST_PARAMETERS], left_out=max(len(parameters) - _MOST_PARAMETERS, 0),
            instruments=[] if header is None else header.instruments[:_STATION_ROLES],
        )  # fmt: skip

    def sentence(self, said: str) -> str:
        """A page that says one thing."""
        return self._page("sentence.html", place=self.place, said=said)

    def _page(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(**values)


def address(kind: str, name: str) -> str:
    """Address of something of a run: "run", "cells"."""
    return f"/{kind}/{quote(name)}"


def _figures(entry: Entry) -> str:
    """The one number that tells most of a run, where it was measured."""
    inside, distance = entry.metrics.get("inside"), entry.metrics.get("kl_2d")
    if distance is not None and distance.value == distance.value:
        return f"KL {distance.value:.3g}"
    return f"{100 * inside.value:.1f} % inside" if inside is not None and inside.value == inside.value else ""
