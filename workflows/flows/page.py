"""The run's page while it runs: how far it is, for whom it waits, and whether somebody pressed Pause there.

All of it happens beside the work, in a thread that asks and tells the server every few seconds: a pulse never waits for
Prefect. A server that is gone is missed by nobody but the page.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

from workflows.errors import RequestError
from workflows.flows.persons import TROUBLES, PagePersons
from workflows.locking import Waiting
from workflows.procedures.orders import Order, give
from workflows.procedures.program import Progress

EVERY_SECONDS = 3.0
"""Between two words with the server."""


class Page:
    """What the page is to show; the work writes it down here and is gone again.

    Args:
        flow_run: of this process.
        folder: of the run.
        name: of the procedure, for the artifact's key.
        persons: who paused the run: a pause of ours is not one of the page's button.
    """

    def __init__(self, flow_run: UUID, folder: Path, name: str, persons: PagePersons | None) -> None:
        self._id = flow_run
        self._folder = folder
        self._key = f"{name}-progress"
        self._persons = persons
        self._shown: tuple[float, str] | None = None
        self._latest: tuple[float, str] = (0.0, "opening the station")
        self._artifact: UUID | None = None
        self._over = threading.Event()

    def listener(self, job: Progress) -> None:
        """Of programming progress."""
        inside = f", {job.inside / job.done:.1%} inside" if job.done else ""
        share = job.worked / job.work if job.work else 0.0
        self._latest = (100 * min(share, 1.0), f"{job.phase}: {job.done} of {job.cells} cells{inside}")

    def told(self, name: str, done: int, total: int) -> None:
        """Of a phase's progress."""
        self._latest = (100 * done / total if total else 0.0, f"{name}: {done} of {total}")

    def waiting(self, waiting: Waiting) -> None:
        """Of a wait for instruments."""
        self._latest = (0.0, str(waiting))

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the page up to date in a block."""
        thread = threading.Thread(target=self._keep, name="page", daemon=True)
        thread.start()
        done = False
        try:
            yield
            done = True
        finally:
            if done:
                self._latest = (100.0, "done")
            self._over.set()
            thread.join(5.0)  # a server that does not answer must not hold up a run's end

    def _keep(self) -> None:
        with contextlib.suppress(*TROUBLES), get_client(sync_client=True) as client:
            while not self._over.wait(EVERY_SECONDS):
                with contextlib.suppress(*TROUBLES):
                    self._show(client)
                    self._heed(client)
            self._show(client)

    def _show(self, client: SyncPrefectClient) -> None:
        latest = self._latest
        if latest == self._shown:
            return
        share, text = latest
        if self._artifact is None:
            made = ArtifactCreate(
                key=self._key, type="progress", data=share, description=text, flow_run_id=self._id
            )  # fmt: skip
            self._artifact = client.create_artifact(made).id
        else:
            client.update_artifact(self._artifact, ArtifactUpdate(data=share, description=text))
        self._shown = latest

    def _heed(self, client: SyncPrefectClient) -> None:
        """The pages have a button of their own that only says Paused."""
        if self._persons is None or self._persons.ours:
            return
        state = client.read_flow_run(self._id).state
        if state is None or not state.is_paused() or self._persons.ours:
            return
        with contextlib.suppress(RequestError):  # nothing is driven yet, or no longer
            give(self._folder, Order("pause", "somebody at Prefect's pages"))
