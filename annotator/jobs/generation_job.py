"""A generation run behind the page: one at a time, started, paused and resumed.

The server's address and key come from the environment of the web app. A page that could choose the
address could have the key sent anywhere.
"""

import math
import os
import threading
import time
from dataclasses import dataclass

from db.store.session import Store
from generation.settings import (
    OPENAI,
    Form,
    InstructionSettings,
    JudgeSettings,
    LLMSettings,
    TripleSettings,
)
from generation.tasks.protocol import Task
from generation.verbalize.settings import QuestionSettings, VisionSettings
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError

_BASE_URL = "OPENAI_BASE_URL"
_TRIPLE_FORMS: dict[str, Form] = {"triples-ids": "ids", "triples-descriptions": "descriptions"}
TASKS = {
    "triples-ids": "triples, by number",
    "triples-descriptions": "triples, by description",
    "conversation": "conversation",
    "description": "description",
    "reasoning": "reasoning",
    "questions": "questions",
    "vision": "vision",
    "judge": "judge",
}
"""Labels of the tasks that the page offers."""


def base_url() -> str:
    """Return the address of the language model's server."""
    return os.environ.get(_BASE_URL, OPENAI)


def make_task(name: str, *, samples: int = 1) -> Task:
    """Return the task of this name; NotFoundError for an unknown name."""
    from generation.tasks.instructions import Instructions
    from generation.tasks.judge import Judge
    from generation.tasks.triples import Triples
    from generation.verbalize.describers.questions import Questions
    from generation.verbalize.describers.vision import Vision

    if name in _TRIPLE_FORMS:
        return Triples(TripleSettings(form=_TRIPLE_FORMS[name], samples=samples))
    if name == "questions":
        return Questions(QuestionSettings(samples=samples))
    if name == "judge":
        return Judge(JudgeSettings())
    if name == "vision":
        return Vision(VisionSettings())
    if name not in TASKS:
        raise NotFoundError(f"unknown task {name!r}", hint=f"use one of {', '.join(TASKS)}")
    return Instructions(name, InstructionSettings(samples=samples))  # type: ignore[arg-type]


def llm_settings(model: str, budget: float) -> LLMSettings:
    """Return the settings of the language model by the page's fields."""
    if not model.strip():
        raise InvalidError("enter the model's name, e.g. gpt-4o-mini")
    return LLMSettings(model=model.strip(), base_url=base_url(), budget=budget)


@dataclass(frozen=True, slots=True)
class JobState:
    """Whether a run is in progress, how far it is, and why the last one failed."""

    running: bool
    pausing: bool
    done: int
    total: int
    waiting_seconds: int
    """How long the server's rate limit still holds calls up."""
    failure: str


class GenerationJob:
    """Runs one generation at a time in a thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure, self._done, self._total, self._waits_until = "", 0, 0, 0.0

    def start(self, task: Task, settings: LLMSettings) -> None:
        """Start a run, or resume the one that was paused; ConflictError while one is running."""
        if self._is_running():
            raise ConflictError("a run is in progress", hint="pause it first")
        self._stop, self._failure, self._done, self._total = threading.Event(), "", 0, 0
        self._waits_until = 0.0
        self._thread = threading.Thread(target=self._run, args=(task, settings), daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop the run once the calls in flight are finished."""
        self._stop.set()

    def state(self) -> JobState:
        """Return the state of the run."""
        running = self._is_running()
        waiting = max(0, math.ceil(self._waits_until - time.monotonic())) if running else 0
        pausing = running and self._stop.is_set()
        return JobState(running, pausing, self._done, self._total, waiting, self._failure)

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, task: Task, settings: LLMSettings) -> None:
        from generation.runs.run import generate

        def progress(done: int, total: int) -> None:
            self._done, self._total = done, total

        def on_wait(seconds: float) -> None:
            self._waits_until = time.monotonic() + seconds

        try:
            generate(
                self._store, task, settings, stop=self._stop, progress=progress, on_wait=on_wait
            )
        except UserError as error:
            self._failure = str(error)
        except Exception:
            self._failure = "unexpected error; replies received so far are stored"
            raise
