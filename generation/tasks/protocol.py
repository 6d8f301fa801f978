"""What a model is asked to write: how it is asked, and how its replies are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from db.schema import Instruction, Judgement, Triple, Verbalization
from db.store import keys
from generation.checks.validation import Fault
from generation.llm.client import Request
from generation.prompts import Message
from generation.settings import LLMSettings
from generation.tasks.context import Brief
from regions.geometry import fit_within


@dataclass(frozen=True, slots=True)
class Read:
    """What a reply holds: rows of the task's table, and what was kept out."""

    rows: Sequence[dict[str, Any]]
    faults: Sequence[Fault]


Written = type[Triple] | type[Instruction] | type[Verbalization] | type[Judgement]
"""The tables that tasks write."""


class Origin(NamedTuple):
    """Whose image a reply is about, and who wrote it."""

    source: str
    model: str


class Task(Protocol):
    """Something to be written about each image, `samples` times."""

    name: str
    samples: int
    version: str
    """Of its prompt; stored with what is written."""
    schema: Mapping[str, Any]
    language: str
    """In which everything has to be that is written; `any` for whatever it may be."""
    side: int
    """Longest side in pixels of the picture that goes along with its marks; 0: none does."""

    @property
    def table(self) -> Written:
        """Where what it writes is stored."""
        ...

    def settings(self) -> dict[str, Any]:
        """What makes a run of it the same run."""
        ...

    def lacks(self, brief: Brief) -> str | None:
        """Why nothing can be written about an image; None if it can."""
        ...

    def messages(self, brief: Brief, sample: int) -> list[Message]:
        """What is said to the model; the same brief and sample give the same."""
        ...

    def read(self, brief: Brief, origin: Origin, reply: str, finish: str) -> Read:
        """What a reply holds, checked against the brief."""
        ...


def request(task: Task, settings: LLMSettings, brief: Brief, sample: int) -> Request:
    """A request with its fingerprint: same model, words, sampling and number, same request."""
    messages = task.messages(brief, sample)
    sampling = settings.model, settings.temperature, settings.max_tokens
    seen = [task.side, brief.regions] if task.side else []
    fingerprint = keys.digest("call", *sampling, task.name, brief.image_id, sample, messages, *seen)
    size = fit_within(brief.width, brief.height, task.side) if task.side else None
    return Request(fingerprint, brief.image_id, sample, messages, task.schema, size)
