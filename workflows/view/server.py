"""Serving a view on this computer until it is interrupted."""

import contextlib
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from workflows.errors import RequestError
from workflows.view.app import make_app
from workflows.view.places import Place

LOCAL = "127.0.0.1"


def serve(
    place: Place,
    *,
    database: Path,
    locks: Path,
    host: str = LOCAL,
    port: int = 0,
    browser: bool = False,
    told: Callable[[str], None],
) -> None:
    """Serve the pages; returns when it is interrupted.

    Args:
        place: whose runs are shown.
        database: the catalogue's file.
        locks: the laboratory's lock folder.
        host: address of this computer to listen on, IPv4 or a name.
        port: TCP port; 0: any free one.
        browser: open the page in the user's browser.
        told: told the page's address once it can be asked for.

    Raises:
        RequestError: the address can't be listened on.
    """
    try:
        listening = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise RequestError(f"can't listen on {host}, port {port}: {said}; choose another --port, or 0") from error
    with listening:
        url = f"http://{host}:{listening.getsockname()[1]}/"
        app = make_app(place, database=database, locks=locks, hosts=hosts_of(host))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
        )
        told(url)
        if browser:
            webbrowser.open(url)
        with contextlib.suppress(KeyboardInterrupt):  # to interrupt it is how it is ended
            uvicorn.Server(config).run(sockets=[listening])


def hosts_of(host: str) -> list[str]:
    """Names by which a browser may ask for what listens on an address: those that no other site can take."""
    here = [LOCAL, "localhost"]
    if host in here:
        return here
    return [*here, host, socket.gethostname(), socket.getfqdn()]
