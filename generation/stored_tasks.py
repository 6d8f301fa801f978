"""The task of a stored run, made from the run's settings."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, get_args

from db.schema import InstructionKind
from generation.settings import InstructionSettings, JudgeSettings, TripleSettings
from generation.tasks.instructions import Instructions
from generation.tasks.judge import Judge
from generation.tasks.protocol import Task
from generation.tasks.triples import Triples
from generation.verbalize.describers.questions import Questions
from generation.verbalize.describers.vision import Vision
from generation.verbalize.settings import QuestionSettings, VisionSettings
from regions.errors import InvalidError

_TASKS: Mapping[str, tuple[type[Any], Callable[[Any], Task]]] = {
    "triples": (TripleSettings, Triples),
    "judge": (JudgeSettings, Judge),
    "questions": (QuestionSettings, Questions),
    "vision": (VisionSettings, Vision),
    **{
        kind: (InstructionSettings, partial(Instructions, kind))
        for kind in get_args(InstructionKind)
    },
}


def task_of(run: str, stored: Mapping[str, Any], *, language: str = "") -> Task:
    """Return the task of a run with these stored settings, for parsing its replies.

    `language` replaces the run's required language. Settings of a run name a version of a prompt
    and not its file, which parsing does not need.
    """
    name = stored["task"]
    if name not in _TASKS:
        raise InvalidError(f"run {run} has no replies of a language model", where=f"task {name}")
    kind, make = _TASKS[name]
    names = {field.name for field in fields(kind)} - {"prompt"}
    settings = {key: value for key, value in stored.items() if key in names}
    if language and "language" in names:
        settings["language"] = language
    task = make(kind(**settings))
    if isinstance(task, Judge):
        task.scale = stored.get("scale", task.scale)
    return task
