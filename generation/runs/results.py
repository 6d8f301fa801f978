"""Results of runs as they are stored in `runs.results`."""

from dataclasses import dataclass, field
from typing import Literal

StopReason = Literal["interrupted", "budget_spent"]
"""Why a run ended early: by a user, or because the next call might exceed the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """All calls and replies of a run."""

    replies: int = 0
    failed_calls: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """The five most frequent errors of failed calls."""
    submitted: int = 0
    """Calls in batches that have not been collected."""
    kept: int = 0
    """Rows that were written from the replies."""
    repaired: int = 0
    """Replies whose JSON was repaired before it could be parsed."""
    rejected: dict[str, int] = field(default_factory=dict)
    """What validation rejected, by reason."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    submitted_max_cost_usd: float = 0.0
    """The maximum cost of the submitted calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResults(Usage):
    """Results of `lskd generate` and `lskd verbalize` with a language model."""

    calls_made: int
    answered_before: int
    awaiting_collection: int
    """Requests that were in a batch already."""
    skipped_images: dict[str, int]
    """By what they lack."""
    images_in_other_language: int
    stopped: StopReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResults(Usage):
    """Results of `--submit`."""

    newly_submitted: int
    awaiting_collection: int
    skipped_images: dict[str, int]
    images_in_other_language: int
    stopped: StopReason | None


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """A batch that the server has not finished."""

    batch: str
    status: str
    answered: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectResults(Usage):
    """Results of `--collect`."""

    pending_batches: list[PendingBatch] = field(default_factory=list)
    unknown_replies: int = 0
    """Replies to requests that the run did not submit."""
    unreadable_lines: int = 0
    """Lines of the batches' files that do not say which request they are about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReparseResults(Usage):
    """Results of `lskd generate reparse`."""

    no_longer_found: int
    """Rows kept before that the replies no longer give; they stay in the store."""
    turned_into_failures: int
    """Errors of the server that were stored as replies; their calls can be made again."""
