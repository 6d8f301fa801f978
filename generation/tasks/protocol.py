"""The protocol of tasks: how a model is prompted for an image, and how its replies are parsed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from db.schema import Instruction, Judgement, Triple, Verbalization
from db.store import keys
from generation.checks.validation import ValidationFailure
from generation.llm.client import Request
from generation.prompts import Message
from generation.settings import LLMSettings
from generation.tasks.context import Context
from regions.errors import InvalidError
from regions.geometry import fit_within

MIN_SIDE, MAX_SIDE = 64, 4096
"""Pixels of an attached image."""

OutputTable = type[Triple] | type[Instruction] | type[Verbalization] | type[Judgement]
"""The tables that tasks write to."""


@dataclass(frozen=True, slots=True)
class ParseResult:
    """What a reply contains: rows of the task's table, and what was rejected."""

    rows: Sequence[dict[str, Any]]
    rejected: Sequence[ValidationFailure]


class Provenance(NamedTuple):
    """The source of an image and the model that wrote about it."""

    source: str
    model: str


class Task(Protocol):
    """Something to be written about each image by `samples` calls."""

    name: str
    samples: int
    version: str
    """Version of the prompt, stored with every row."""
    schema: Mapping[str, Any]
    """JSON schema of a reply."""
    language: str
    """Required language of the texts, or `any`."""
    side: int
    """Longest side, in pixels, of the attached image with marked regions; 0: no image."""

    @property
    def table(self) -> OutputTable:
        """The table that its rows go into."""
        ...

    def settings(self) -> dict[str, Any]:
        """The settings that identify a run of this task."""
        ...

    def skip_reason(self, context: Context) -> str | None:
        """What an image lacks for this task; None if nothing."""
        ...

    def messages(self, context: Context, sample: int) -> list[Message]:
        """The prompt; deterministic in the context and the number of the sample."""
        ...

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """The rows of a reply, validated against the context."""
        ...


def build_request(task: Task, settings: LLMSettings, context: Context, sample: int) -> Request:
    """The request for a sample, with a fingerprint over model, sampling, task, prompt and image."""
    messages = task.messages(context, sample)
    sampling = settings.model, settings.temperature, settings.max_tokens
    image = [task.side, context.regions] if task.side else []
    fingerprint = keys.digest(
        "call", *sampling, task.name, context.image_id, sample, messages, *image
    )
    size = fit_within(context.width, context.height, task.side) if task.side else None
    return Request(fingerprint, context.image_id, sample, messages, task.schema, size)


def check_side(side: int, *, may_be_zero: bool) -> int:
    """The longest side of an attached image; InvalidError if it is out of range."""
    if MIN_SIDE <= side <= MAX_SIDE or (may_be_zero and side == 0):
        return side
    no_image = ", or 0 for no image" if may_be_zero else ""
    raise InvalidError(
        f"--side must be between {MIN_SIDE} and {MAX_SIDE} pixels{no_image} (got {side})"
    )
