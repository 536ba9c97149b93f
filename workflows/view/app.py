"""The view's addresses, all of them only to be read.

::

    /                   the runs of the folder, the latest first; ?text= ?procedure= ?status= ?page=
    /run/NAME           a run's page
    /api/run/NAME       a run at this moment, JSON; ?after=MARK waits until there is something new (`?hold=` s at most)
    /api/stand          instruments and who waits for them, JSON
    /cells/NAME         an array's cells as a table, CSV
    /static/...         scripts and styles of the pages

A page asks again as soon as it has shown an answer, and an answer waits for something new: the page is as quick as the
run's file, nothing is sent in vain, and nothing but a plain GET is needed. A page of another site can neither ask (the
Host header is checked, against DNS rebinding) nor show these pages within its own.
"""

import contextlib
import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from analysis.errors import AnalysisError
from analysis.records import Query, layout
from instruments.clock import stopwatch
from workflows.errors import NothingYetError, RequestError, WorkflowError
from workflows.procedures.registry import ENTRIES
from workflows.view.listing import Listing
from workflows.view.pages import Pages, Search, address
from workflows.view.places import Place
from workflows.view.snapshot import Asked
from workflows.view.stand import Stand
from workflows.view.watched import Watched, sentence

LONGEST_HOLD = 5.0
"""Seconds that an answer may wait for something new."""
_GLANCE = 0.1
_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
     b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)  # fmt: skip


def make_app(
    place: Place,
    *,
    database: Path | str,
    locks: Path,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    now: Callable[[], float] = stopwatch,
) -> Starlette:
    """The view as an ASGI application.

    Args:
        place: whose runs are shown.
        database: the catalogue's file, or ":memory:".
        locks: the laboratory's lock folder.
        hosts: names by which browsers may ask for it.
        now: seconds of the machine.
    """
    view = _View(place, Listing(place.root, database, now=now), Watched(place, now=now), Stand(locks, now=now))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        view.watched.close()

    routes = [
        Route("/", view.list_runs),
        Route("/run/{name:path}", view.show_run),
        Route("/api/run/{name:path}", view.run_now),
        Route("/api/stand", view.stand_now),
        Route("/cells/{name:path}", view.cells),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]
    middleware = [
        Middleware(_Headers),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
    ]
    handlers: dict[Any, Any] = {
        HTTPException: view.refused,
        RequestError: view.told,
        AnalysisError: view.told,
    }
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers, lifespan=lifespan)


class _Headers:
    """Says to browsers what these pages may do, and that nobody may keep them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, marked)


class _View:
    def __init__(self, place: Place, listing: Listing, watched: Watched, stand: Stand) -> None:
        self.place, self.listing, self.watched, self.stand = place, listing, watched, stand
        self.pages = Pages(place)

    def list_runs(self, request: Request) -> Response:
        if self.place.only:
            return RedirectResponse(address("run", self.place.only), status_code=307)
        asked = request.query_params
        search = Search(
            asked.get("text", "")[:200], asked.get("procedure", "")[:100], asked.get("status", "")[:20],
            _whole(asked.get("page", "1"), "page", 1, 10**6),
        )  # fmt: skip
        query = Query(text=search.text, procedure=search.procedure, status=search.status)
        listed = self.listing.find(query, search.page)
        return HTMLResponse(self.pages.runs(listed, search, sorted(ENTRIES), layout.STATUSES))

    def show_run(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            header = self.watched.header(name)
        except (AnalysisError, WorkflowError) as error:
            # What isn't there yet or can't be read is nobody's mistake: the page waits for it.
            impossible = isinstance(error, RequestError) and not isinstance(error, NothingYetError)
            return HTMLResponse(self.pages.run(name, None, sentence(error)), status_code=404 if impossible else 200)
        return HTMLResponse(self.pages.run(name, header, ""))

    async def run_now(self, request: Request) -> Response:
        name, given = request.path_params["name"], request.query_params
        asked = _asked(given)
        after, hold = given.get("after", ""), min(_number(given.get("hold", "0"), "hold"), LONGEST_HOLD)
        mark = await run_sync(self.watched.mark, name)
        while mark == after and hold > 0:
            await anyio.sleep(_GLANCE)
            hold -= _GLANCE
            mark = await run_sync(self.watched.mark, name)
        if mark == after:
            return _json({"mark": mark, "unchanged": True})
        return _json(await run_sync(self.watched.see, name, asked))

    def stand_now(self, request: Request) -> Response:
        return _json(self.stand.look())

    def cells(self, request: Request) -> Response:
        name = request.path_params["name"]
        number = _whole(request.query_params.get("array", "0"), "array", 0, 32767)
        seen = self.watched.see(name, Asked(array=number, map="conductance_error"))
        if seen["problem"]:
            raise RequestError(seen["problem"])
        step, (_, cols) = seen["map"]["step"], seen["map"]["shape"]
        lines = io.StringIO()
        table = csv.writer(lines, lineterminator="\r\n")
        table.writerow(["array", "row", "col", "target_uS", "now_uS", "error_uS", "verdict"])
        columns = zip(seen["target"], seen["now"], seen["map"]["values"], seen["verdicts"], strict=True)
        for place, (target, now, error, verdict) in enumerate(columns):
            where = number, place // cols * step, place % cols * step
            table.writerow([*where, target, now, error, layout.CELL_STATUSES[verdict]])
        return Response(lines.getvalue(), media_type="text/csv")

    def refused(self, request: Request, error: HTTPException) -> Response:
        said = {404: "There is no such page here.", 405: "This view can only be read."}.get(
            error.status_code, error.detail
        )
        return HTMLResponse(self.pages.sentence(said), status_code=error.status_code)

    def told(self, request: Request, error: Exception) -> Response:
        return HTMLResponse(self.pages.sentence(sentence(error)), status_code=400)


def _asked(given: Any) -> Asked:
    cell = given.get("cell", "")
    place: tuple[int, int] | None = None
    if cell:
        row, _, col = cell.partition(",")
        place = _whole(row, "cell", 0, 32767), _whole(col, "cell", 0, 32767)
    array, capture = given.get("array", ""), given.get("capture", "")
    return Asked(
        array=_whole(array, "array", 0, 32767) if array else None,
        map=given.get("map", "conductance_after")[:200],
        cell=place,
        scope=given.get("scope", "")[:200],
        capture=_whole(capture, "capture", 0, 2**31) if capture else None,
    )


def _whole(text: str, name: str, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most:
        return int(text)
    raise RequestError(f"{name}={text[:40]!r} in the address is no number from {least} to {most}")


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1e6:
        raise RequestError(f"{name}={text[:40]!r} in the address is no number of seconds")
    return value


def _json(values: dict[str, Any]) -> Response:
    return Response(orjson.dumps(values), media_type="application/json")
