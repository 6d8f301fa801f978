"""What follows from a failure of a call: this call fails, it is tried again, or the run stops.

A failed call is counted with its error and made again by the next run. The classes follow the
documentation of the providers:

- OpenAI, "Error codes" (platform.openai.com/docs/guides/error-codes): 401 for keys, 403 for
  countries, 429 both for rate limits and for an exhausted quota, which are told apart by
  `error.code` and, where it is null, by `error.type` (`insufficient_quota`); 500, 503.
- Azure OpenAI, "Content filtering": 400 with the code `content_filter` for a prompt that is
  filtered, 404 with `DeploymentNotFound`.
- OpenRouter, "Errors and debugging" (openrouter.ai/docs/api-reference/errors): 402 without credit,
  but with `Retry-After` only for now; 403 with `metadata.reasons` for input that is flagged; 408,
  429, 502, 503; errors after the start of the answer within a response of status 200.
- Anthropic, "Errors" (docs.claude.com/en/api/errors): 402 `billing_error`, 413
  `request_too_large`, 529 `overloaded_error`.
- Google, "Gemini API troubleshooting" (ai.google.dev/gemini-api/docs/troubleshooting): 400 for an
  invalid key, 429 `RESOURCE_EXHAUSTED`, 503 `UNAVAILABLE`.
- Cloudflare, "5xx errors" (developers.cloudflare.com/support/troubleshooting): 520 to 524 between
  a proxy and its server.
- RFC 9110 for all other statuses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from generation.llm.protocol import FailureKind
from generation.llm.wire import ServerError
from regions.errors import UserError

API_KEY = "OPENAI_API_KEY"
"""The environment variable that holds the key."""

Action = Literal["fail", "retry", "stop"]


@dataclass(frozen=True, slots=True)
class FailureClass:
    """What follows from failures of a kind, what they mean for a run, and what a user can do.

    `stop_before_reply`: whether it stops a run only while no call has succeeded. Later the key, the
    address and the model are known to be right, and the failure is one of this call.
    `about_prompt`: whether it lies in what a call asks, so that others may succeed.
    """

    action: Action
    meaning: str
    hint: str
    stop_before_reply: bool = False
    about_prompt: bool = False


_ADDRESS = FailureClass(
    "fail", "the server does not know this model or address", "check --base-url and --model {model}"
)
_KINDS: Mapping[FailureKind, FailureClass] = {
    "no_credit": FailureClass(
        "stop", "the API account has no credit left", "add credit and run the command again"
    ),
    "invalid_key": FailureClass("stop", "the server rejects the key", f"check {API_KEY}"),
    "redirect": FailureClass("stop", "the server redirects elsewhere", "check --base-url"),
    "forbidden": FailureClass(
        "fail",
        "the server refuses access",
        f"check {API_KEY} and whether it may use --model {{model}}",
        stop_before_reply=True,
    ),
    "unknown_model": FailureClass("fail", _ADDRESS.meaning, _ADDRESS.hint, stop_before_reply=True),
    "not_found": _ADDRESS,
    "rate_limit": FailureClass(
        "retry", "the server's rate limit is exceeded", "lower --concurrency, or run it again later"
    ),
    "server_error": FailureClass(
        "retry", "the server fails", "check the server, and run the command again"
    ),
    "timeout": FailureClass(
        "retry", "the server is too slow", "raise --timeout, or lower --concurrency"
    ),
    "connection": FailureClass(
        "retry",
        "the server does not answer",
        "check --base-url and that the server is running",
        stop_before_reply=True,
    ),
    "not_json": FailureClass(
        "retry", "the server does not send JSON", "check --base-url, which often ends in /v1"
    ),
    "no_reply": FailureClass(
        "retry",
        "the server sends errors instead of replies",
        "check the server and --model {model}",
    ),
    "malformed": FailureClass(
        "fail", "the server does not send chat completions", "check --base-url", about_prompt=True
    ),
    "bad_request": FailureClass(
        "fail",
        "the server rejects the requests",
        "check --model {model} and --request-option",
        about_prompt=True,
    ),
    "context_length": FailureClass(
        "fail",
        "the prompts are too long for the model",
        "choose a model with a longer context",
        about_prompt=True,
    ),
    "content_filter": FailureClass(
        "fail",
        "the server's content filter rejects the prompts",
        "choose another model or server",
        about_prompt=True,
    ),
    "unreadable_image": FailureClass(
        "fail",
        "the images cannot be read",
        "check that the image files are where they were",
        about_prompt=True,
    ),
}

_WORDS: Mapping[FailureKind, str] = {
    "no_credit": "insufficient_quota billing_hard_limit_reached billing_not_active billing_error"
    " credit_balance_exhausted insufficient_balance insufficient_credits payment_required"
    " account_overdue arrearage",
    "invalid_key": "invalid_api_key incorrect_api_key authentication_error account_deactivated"
    " invalid_authentication unauthenticated",
    "unknown_model": "model_not_found deploymentnotfound unknown_model model_not_available",
    "context_length": "context_length_exceeded context_window_exceeded exceed_context_size_error"
    " request_too_large tokens_limit_reached",
    "content_filter": "content_filter content_policy_violation responsibleaipolicyviolation"
    " moderation_blocked data_inspection_failed",
    "rate_limit": "rate_limit_exceeded rate_limit_error too_many_requests resource_exhausted"
    " slow_down",
    "server_error": "server_error internal_error internal_server_error overloaded_error overloaded"
    " server_is_overloaded engine_overloaded service_unavailable unavailable",
}
"""Values of `error.code` and `error.type`, in lower case."""
_KIND_BY_WORD = {word: kind for kind, words in _WORDS.items() for word in words.split()}

_PHRASES: Mapping[FailureKind, str] = {
    "no_credit": r"credit balance is too low|insufficient (?:balance|credits?|funds)",
    "invalid_key": r"(?:invalid|incorrect) (?:x-)?api[- ]key|api key not valid",
    "context_length": r"context (?:length|window|size)|prompt is too long|too many tokens",
    "content_filter": r"moderation|flagged|content (?:management )?policy|content filter",
    "unknown_model": r"\bmodel\b.{0,80}(?:not found|does ?n[o']t exist|not a valid model)",
}
"""What error messages of clients' mistakes say where there is no code."""
_VAGUE: frozenset[FailureKind] = frozenset({"bad_request", "forbidden", "not_found"})

_KIND_BY_STATUS: Mapping[int, FailureKind] = {
    401: "invalid_key",
    402: "no_credit",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    409: "server_error",
    413: "context_length",
    425: "server_error",
    429: "rate_limit",
    451: "content_filter",
    499: "server_error",
    501: "bad_request",
    505: "bad_request",
}


def classify(
    status: int | None, error: ServerError, *, has_retry_after: bool = False
) -> FailureKind:
    """Return the kind of failure that a server's error stands for.

    `status` is that of the response; None or 200 for an error in the place of a reply.
    """
    for word in (error.code, error.type):
        if kind := _KIND_BY_WORD.get(word.lower()):
            return kind
    if error.is_moderation:
        return "content_filter"
    if status is None or status < 300:  # noqa: PLR2004 - an error in the place of a reply
        status = error.status
    if status == 402 and has_retry_after:  # noqa: PLR2004 - payment required
        return "rate_limit"
    by_status = _by_status(status)
    if by_status in _VAGUE:
        return next(
            (
                kind
                for kind, words in _PHRASES.items()
                if re.search(words, error.message, re.IGNORECASE)
            ),
            by_status,
        )
    return by_status


def _by_status(status: int | None) -> FailureKind:
    if status is None:
        return "no_reply"
    if kind := _KIND_BY_STATUS.get(status):
        return kind
    if status >= 500:  # noqa: PLR2004 - server errors, as 520 to 524 and 529
        return "server_error"
    return "redirect" if status < 400 else "bad_request"  # noqa: PLR2004 - client errors


def is_transient(kind: FailureKind) -> bool:
    """Return whether a call that failed so may succeed when it is tried again."""
    return _KINDS[kind].action == "retry"


def is_fatal(kind: FailureKind, *, has_replies: bool) -> bool:
    """Return whether a failure stops a run; `has_replies`: whether a call has succeeded before."""
    of_kind = _KINDS[kind]
    return of_kind.action == "stop" or (of_kind.stop_before_reply and not has_replies)


def is_about_server(kind: FailureKind) -> bool:
    """Return whether a failure lies in the server, so that all calls may meet it."""
    return not _KINDS[kind].about_prompt


def as_user_error(kind: FailureKind, text: str, *, server: str, model: str) -> UserError:
    """Return the error that tells a user what `text`, an error of a server, means for a run."""
    of_kind = _KINDS[kind]
    return UserError(
        f"{of_kind.meaning}: {text}", where=server, hint=of_kind.hint.format(model=model)
    )
