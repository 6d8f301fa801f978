"""Which requests a run still has to send: those without a reply that are not in a batch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from generation.checks.languages import unexpected_language
from generation.llm.protocol import Request
from generation.runs import journal
from generation.settings import LLMSettings
from generation.tasks.context import load_contexts
from generation.tasks.protocol import Task, build_request

_CHUNK = 100
"""Images: a run holds the requests of one chunk in memory."""


@dataclass(slots=True)
class ImageCounts:
    """Images that a run skips, and images whose texts may give rejected replies."""

    skipped: Counter[str] = field(default_factory=Counter)
    """By reason."""
    in_other_language: int = 0
    """Images with texts in another language than the task's; they are not skipped."""

    def add(self, other: "ImageCounts") -> None:
        """Add the counts of other images."""
        self.skipped += other.skipped
        self.in_other_language += other.in_other_language


@dataclass(frozen=True, slots=True)
class RequestChunk:
    """The requests about a chunk of images that are not in a batch."""

    requests: Sequence[Request]
    answered: dict[str, int]
    """Prompt tokens of the requests that have a reply, by fingerprint."""
    submitted: int
    """Further requests that are in a batch."""
    image_counts: ImageCounts

    @property
    def unanswered(self) -> list[Request]:
        """The requests without a reply."""
        return [r for r in self.requests if r.fingerprint not in self.answered]


def chunks(image_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the images in chunks that fit into memory."""
    for start in range(0, len(image_ids), _CHUNK):
        yield image_ids[start : start + _CHUNK]


def load_requests(
    session: Session, task: Task, settings: LLMSettings, image_ids: Sequence[int]
) -> RequestChunk:
    """Return the requests of a task about these images, and which of them were sent before."""
    requests: list[Request] = []
    counts = ImageCounts()
    for context in load_contexts(session, image_ids):
        if reason := task.skip_reason(context):
            counts.skipped[reason] += 1
            continue
        if unexpected_language(context.all_text, task.language):
            counts.in_other_language += 1
        requests += [
            build_request(task, settings, context, sample) for sample in range(task.samples)
        ]
    fingerprints = [request.fingerprint for request in requests]
    submitted = journal.submitted(session, fingerprints)
    return RequestChunk(
        [request for request in requests if request.fingerprint not in submitted],
        journal.answered(session, fingerprints),
        len(submitted),
        counts,
    )
