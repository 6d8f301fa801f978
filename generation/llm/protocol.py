"""A request to a language model, and what comes of it: a reply, or a failure of a known kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from generation.prompts import Message

FailureKind = Literal[
    "bad_request",
    "connection",
    "content_filter",
    "context_length",
    "forbidden",
    "invalid_key",
    "malformed",
    "no_credit",
    "no_reply",
    "not_found",
    "not_json",
    "rate_limit",
    "redirect",
    "server_error",
    "timeout",
    "unknown_model",
    "unreadable_image",
]
"""What failed; `generation.llm.failures` says what follows from it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to send; `fingerprint` identifies it across runs."""

    fingerprint: str
    image_id: int
    sample: int
    messages: Sequence[Message]
    schema: Mapping[str, Any]
    image_size: tuple[int, int] | None = None
    """Width and height of the attached image, which is rendered when the request is sent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A completion; `text` may be empty."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    milliseconds: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no reply after `attempts` attempts; tokens if the server counted some."""

    error: str
    attempts: int
    kind: FailureKind = "bad_request"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
