"""The person at Prefect's pages: a run that pauses is Paused there, and a question is a form with a name to sign.

Whoever is quicker counts: somebody at the pages, or `ohmflow resume` and `ohmflow answer`. Prefect's server may be
gone meanwhile: then the commands are what is left, and nothing else changes.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectException
from prefect.input import RunInput, keyset_from_paused_state
from prefect.states import Paused, Running
from pydantic import Field, ValidationError

from analysis.records.masking import masked
from instruments.clock import WallClock
from workflows.errors import Interrupted
from workflows.procedures.controls import Answer, Answered, Question, Resumed

LOOK_SECONDS = 2.0
"""Between two looks at the pages while a run waits for a person."""
_GLANCE = 0.2
TROUBLES = (HTTPError, PrefectException, OSError)
"""What a server that is gone or restarting does to a request."""


class Signature(RunInput):
    """What the form asks for."""

    operator: str = Field(title="Who did it", description="Name, for the run's record.", min_length=1, max_length=100)
    remark: str = Field("", title="Remark", description="What else to say, for the record.", max_length=1000)


class PagePersons:
    """Pauses and asks through the flow run's page.

    Args:
        flow_run: of this process.
        stop: asked while waiting.
        told: called with a sentence when a person is needed, and when the run pauses.
        clock: of real time.
    """

    def __init__(
        self,
        flow_run: UUID,
        stop: Callable[[], bool],
        told: Callable[[str], object] = lambda text: None,
        clock: WallClock | None = None,
    ) -> None:
        self._id = flow_run
        self._stop = stop
        self._told = told
        self._clock = clock or WallClock()
        self.ours = False

    @contextlib.contextmanager
    def pausing(self, why: str) -> Iterator[Resumed]:
        """The run is Paused at the pages; their Resume lets it go on.

        Raises:
            Interrupted: somebody cancelled it there.
        """
        self._told(f"{why}; outputs are at 0 V and open; it goes on by Resume, in the menu of this page")
        with get_client(sync_client=True) as client, self._paused(client, why) as state:
            look = self._looking(client)

            def resumed() -> bool:
                found = look()
                return found is not None and _goes_on(found)

            yield resumed if state is not None else lambda: False

    def attend(self, question: Question, answered: Answered) -> Answer:
        """Show the question with a form, with safe outputs, and wait until somebody signs.

        Raises:
            Interrupted: a signal, a cancellation or somebody's order ended the run instead.
        """
        self._told(f"a person is needed: {question.text.rstrip('.')}; sign by Resume, in the menu of this page")
        form = Signature.with_initial_data(description=_markdown(question))
        while True:
            answer = self._asked(question, form, answered)
            if answer is not None:
                return answer

    def _asked(self, question: Question, form: type[Signature], answered: Answered) -> Answer | None:
        """An answer; or None if somebody let the run go on and did not sign: it must be asked again."""
        with get_client(sync_client=True) as client, self._paused(client, question.text, form) as state:
            look = self._looking(client)
            while True:
                if self._stop():
                    raise Interrupted("stopped while a person was asked")
                answer = answered()
                if answer is not None:
                    return answer
                found = look() if state is not None else None
                if state is not None and found is not None and _goes_on(found):
                    return self._signed(state)
                self._clock.sleep(_GLANCE)

    def _signed(self, state: State[Any]) -> Answer | None:
        with contextlib.suppress(*TROUBLES, ValidationError, TypeError, KeyError):
            keys: Any = state.state_details.run_input_keyset
            given = Signature.load(keys, flow_run_id=self._id)
            if isinstance(given, Signature):
                return Answer(masked(given.operator), masked(given.remark))
        return None

    @contextlib.contextmanager
    def _paused(
        self, client: SyncPrefectClient, why: str, form: type[Signature] | None = None
    ) -> Iterator[State[Any] | None]:
        """Paused in a block, Running after it; None where the server would not have it."""
        state: State[Any] = Paused(message=masked(why), pause_key=uuid4().hex)
        self.ours = True
        try:
            yield state if self._propose(client, state, form) else None
        finally:
            with contextlib.suppress(*TROUBLES):
                if _is(client.read_flow_run(self._id), "Paused"):
                    client.set_flow_run_state(self._id, Running(message="goes on"))
            self.ours = False

    def _propose(self, client: SyncPrefectClient, state: State[Any], form: type[Signature] | None) -> bool:
        try:
            if _is(client.read_flow_run(self._id), "Paused"):
                # By the pages' own button, which would have the run fail after some minutes: ours has no time-out.
                client.set_flow_run_state(self._id, Running(message="pausing"))
            if form is not None:
                keys = keyset_from_paused_state(state)
                state.state_details.run_input_keyset = {str(name): key for name, key in keys.items()}
                form.save(keys, flow_run_id=self._id)
            return client.set_flow_run_state(self._id, state).status.value == "ACCEPT"
        except TROUBLES:
            return False

    def _looking(self, client: SyncPrefectClient) -> Callable[[], FlowRun | None]:
        """The flow run as the server has it, now and then; None between two looks and while it can't be asked."""
        last = [self._clock.now()]

        def look() -> FlowRun | None:
            if self._clock.now() - last[0] < LOOK_SECONDS:
                return None
            try:
                return client.read_flow_run(self._id)
            except TROUBLES:
                return None
            finally:
                last[0] = self._clock.now()

        return look


def _is(run: FlowRun, name: str) -> bool:
    return run.state is not None and run.state.type.value == name.upper()


def _goes_on(run: FlowRun) -> bool:
    """Whether a paused run has been resumed.

    Raises:
        Interrupted: it has been cancelled instead.
    """
    if run.state is not None and (run.state.is_final() or run.state.is_cancelling()):
        raise Interrupted(f"{(run.state.name or 'ended').lower()} on Prefect's pages while waiting")
    return _is(run, "Running")


def _markdown(question: Question) -> str:
    rows = "".join(f"\n| {name} | {value} |" for name, value in question.details.items())
    table = f"\n\n| | |\n|---|---|{rows}" if rows else ""
    return masked(f"{question.text}{table}\n\nOutputs are at 0 V and open. The run goes on when somebody has signed.")
