"""The protocol of tasks: how a model is prompted for an image, and how its replies are parsed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from db.schema import Instruction, Judgement, Triple, Verbalization
from db.store import keys
from generation.checks.reading import ParsedReply
from generation.checks.validation import DuplicateFilter, ValidationFailure
from generation.llm.protocol import Request
from generation.llm.request_format import request_options
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
    is_repaired: bool = False
    """Whether the reply's JSON was repaired before it could be read."""

    def read_from(self, reply: ParsedReply) -> "ParseResult":
        """Return the result with what reading the reply has left out, and whether it repaired."""
        return ParseResult(self.rows, [*self.rejected, *reply.rejected], reply.is_repaired)


class Provenance(NamedTuple):
    """Where a reply comes from: the image's source, and the run's model and prompt version.

    A run that is parsed again may be of an older prompt than the task's.
    """

    source: str
    model: str
    prompt_version: str


class Task(Protocol):
    """Something to be written about each image by `samples` calls."""

    name: str
    samples: int
    version: str
    """Version of the prompt; part of the run's settings, and stored with every row."""
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
        """Return the settings that identify a run of this task."""
        ...

    def skip_reason(self, context: Context) -> str | None:
        """Return what an image lacks for this task; None if nothing."""
        ...

    def messages(self, context: Context, sample: int) -> list[Message]:
        """Return the prompt; deterministic in the context and the number of the sample."""
        ...

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """Return the rows of a reply, validated against the context."""
        ...


def parse_unique(
    items: Sequence[object],
    make_row: Callable[[object], dict[str, Any] | ValidationFailure],
    text_of: Callable[[dict[str, Any]], str],
    known_texts: Sequence[str],
) -> ParseResult:
    """Make a row of each item; reject near duplicates of one another and of `known_texts`."""
    duplicates = DuplicateFilter(known_texts)
    rows: list[dict[str, Any]] = []
    rejected: list[ValidationFailure] = []
    for item in items:
        row = make_row(item)
        if isinstance(row, ValidationFailure):
            rejected.append(row)
        elif not duplicates.add(text := text_of(row)):
            detail = "near duplicate of another text about the image"
            rejected.append(ValidationFailure("repeat", detail, text))
        else:
            rows.append(row)
    return ParseResult(rows, rejected)


def build_request(task: Task, settings: LLMSettings, context: Context, sample: int) -> Request:
    """Return the request for a sample.

    Its fingerprint is over the model, sampling parameters, task, prompt and attached image.
    """
    messages = task.messages(context, sample)
    options = request_options(settings.request_options)
    sampling = settings.model, settings.temperature, settings.max_tokens, *sorted(options.items())
    image = [task.side, context.regions] if task.side else []
    fingerprint = keys.digest(
        "call", *sampling, task.name, context.image_id, sample, messages, *image
    )
    size = fit_within(context.width, context.height, task.side) if task.side else None
    return Request(fingerprint, context.image_id, sample, messages, task.schema, size)


def check_side(side: int, *, may_be_zero: bool) -> int:
    """Return the longest side of an attached image; InvalidError if it is out of range."""
    if MIN_SIDE <= side <= MAX_SIDE or (may_be_zero and side == 0):
        return side
    no_image = ", or 0 for no image" if may_be_zero else ""
    raise InvalidError(
        f"--side must be between {MIN_SIDE} and {MAX_SIDE} pixels{no_image} (got {side})"
    )
