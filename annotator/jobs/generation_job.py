"""A run of generation behind the page: one at a time, started, paused and gone on with.

The address of the server and its key are the operator's, from the environment: a page that chose
the address could have the key sent anywhere.
"""

import os
import threading
from typing import Any

from db.store.session import Store
from generation.settings import (
    FORMS,
    OPENAI,
    InstructionSettings,
    JudgeSettings,
    LLMSettings,
    TripleSettings,
)
from generation.tasks.protocol import Task
from generation.verbalize.settings import QuestionSettings, VisionSettings
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

_ADDRESS = "OPENAI_BASE_URL"
TASKS = (
    *(f"triples, {'by number' if form == 'ids' else 'in words'}" for form in FORMS),
    "conversation",
    "description",
    "reasoning",
    "questions",
    "vision",
    "judge",
)
"""What can be written, as the page lists it."""


def address() -> str:
    """The server that is asked."""
    return os.environ.get(_ADDRESS, OPENAI)


def task_of(name: str, *, samples: int = 1, per_call: int = 3) -> Task:
    """The task that the page names so."""
    from generation.tasks.instructions import Instructions
    from generation.tasks.judge import Judge
    from generation.tasks.triples import Triples
    from generation.verbalize.describers.questions import Questions
    from generation.verbalize.describers.vision import Vision

    if name not in TASKS:
        raise NotFoundError(f"nothing is called {name!r}")
    number = TASKS.index(name)
    if number < len(FORMS):
        chosen = TripleSettings(form=FORMS[number], samples=samples, per_call=per_call)
        return Triples(chosen)
    if name == "questions":
        return Questions(QuestionSettings(samples=samples))
    if name == "judge":
        return Judge(JudgeSettings())
    if name == "vision":
        return Vision(VisionSettings())
    return Instructions(name, InstructionSettings(samples=samples))  # type: ignore[arg-type]


def settings_of(model: str, budget: float) -> LLMSettings:
    """How the page asks."""
    if not model.strip():
        raise InvalidError("no model", hint="name one, as the server does")
    return LLMSettings(model=model.strip(), base_url=address(), budget=budget)


class Writer:
    """The run that goes on behind the page, if one does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error, self._done, self._total = "", 0, 0

    def start(self, task: Task, settings: LLMSettings) -> None:
        """Begin, or go on with what was paused; UserError while another run goes on."""
        if self._goes_on():
            raise ConflictError("a run goes on already", hint="pause it first")
        self._stop, self._error, self._done, self._total = threading.Event(), "", 0, 0
        self._thread = threading.Thread(target=self._run, args=(task, settings), daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Let calls in flight come back, and stop."""
        self._stop.set()

    def state(self) -> dict[str, Any]:
        """Whether a run goes on, how far it is, and what ended it."""
        return {
            "goes on": self._goes_on(),
            "pausing": self._goes_on() and self._stop.is_set(),
            "done": self._done,
            "total": self._total,
            "error": self._error,
        }

    def _goes_on(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, task: Task, settings: LLMSettings) -> None:
        from generation.runs.run import generate

        def progress(done: int, total: int) -> None:
            self._done, self._total = done, total

        try:
            generate(self._store, task, settings, stop=self._stop, progress=progress)
        except UserError as error:
            self._error = str(error)
        except Exception:
            self._error = "something went wrong; what was answered is kept"
            raise
