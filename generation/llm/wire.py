"""What servers send, as typed records: chat completions, errors, lines of batches.

Nothing that a server sends raises anything but `MalformedError`, and every text that leaves this
module can be stored. Bodies are decoded strictly; one that is not strict JSON (NaN, lone
surrogates, a byte order mark, invalid UTF-8) is cleaned and decoded again.
"""

import json
import math
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from db.store.texts import clean, clean_text
from generation.llm.protocol import Failure, Reply

T = TypeVar("T")

_MAX_TOKENS = 2**31 - 1
"""The largest count of tokens that a column holds."""
_NULL = Raw(b"null")
_MAX_NESTING = 3
"""Of an error within another, as gateways wrap them."""
_FINISH_REASONS = {
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "safety": "content_filter",
    "content_filtered": "content_filter",
    "guardrail": "content_filter",
}
"""Names that gateways use for OpenAI's finish reasons, in lower case."""
_BROKEN_OFF = frozenset({"error", "abort", "aborted", "cancelled", "canceled"})
"""Finish reasons of a server that stopped by itself: what it wrote until then is no reply."""
_REASONING = frozenset({"thinking", "reasoning", "redacted_thinking", "reasoning_text"})
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL | re.IGNORECASE)


class MalformedError(ValueError):
    """A body that is not what it should be."""


class NotJsonError(MalformedError):
    """A body that is not JSON at all, as of a proxy or a broken connection."""


class _Message(Struct):
    """The message of a choice; `content` is a text or a list of parts."""

    content: object = None
    refusal: object = None
    reasoning_content: object = None
    reasoning: object = None


class _Choice(Struct):
    message: _Message | None = None
    finish_reason: object = None
    error: object = None


class _Completion(Struct):
    choices: list[_Choice] | UnsetType | None = UNSET
    usage: Raw = _NULL
    error: object = None


class _Usage(Struct):
    prompt_tokens: Annotated[int, Meta(ge=0, le=_MAX_TOKENS)] | None = None
    completion_tokens: Annotated[int, Meta(ge=0, le=_MAX_TOKENS)] | None = None


class ServerError(Struct, frozen=True):
    """An error as servers describe it; empty texts where they do not."""

    message: str
    code: str = ""
    type: str = ""
    param: str = ""
    is_moderation: bool = False
    """Whether the server says which input was flagged, as OpenRouter does."""

    @property
    def status(self) -> int | None:
        """The code, if it is a status of HTTP."""
        return int(self.code) if re.fullmatch(r"[1-5]\d\d", self.code) else None


class BatchLine(Struct):
    """A line of a batch's output: what came of the request `custom_id`."""

    custom_id: str
    response: Raw = _NULL
    error: object = None


class BatchResponse(Struct):
    """The HTTP response within a line of a batch."""

    status_code: int | None = None
    body: Raw = _NULL


def decode(body: bytes, kind: type[T]) -> T:
    """Return a JSON body as a record; MalformedError if it is none."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        if "out of range" not in str(error):
            raise MalformedError(clean_text(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.json.decode(_strict_json(body), type=kind)
    except msgspec.ValidationError as error:
        raise MalformedError(clean_text(str(error))) from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise NotJsonError("the body is not JSON") from error


def _strict_json(body: bytes) -> bytes:
    """Return a body as strict JSON: NaN and numbers that no float holds become null."""
    text = body.decode("utf-8-sig", "replace")
    value = json.loads(
        text, strict=False, parse_constant=lambda _: None, parse_int=_number, parse_float=_number
    )
    return msgspec.json.encode(clean(value))


def _number(text: str) -> int | float | None:
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(text) if text.lstrip("-").isdigit() and abs(value) < 2**53 else value


def parse_completion(
    body: bytes, milliseconds: int, attempts: int
) -> Reply | Failure | ServerError:
    """Return the reply in a response's body, or the error that the server put in its place.

    A body that is no chat completion is a Failure; one that is not JSON raises NotJsonError.
    """
    try:
        completion = decode(body, _Completion)
        return _reply(completion, milliseconds, attempts)
    except NotJsonError:
        raise
    except MalformedError as error:
        return Failure(f"not a chat completion: {error}", attempts, "malformed", *_usage_of(body))


def _reply(completion: _Completion, milliseconds: int, attempts: int) -> Reply | ServerError:
    if completion.error:
        return server_error(completion.error)
    if completion.choices is UNSET:
        raise MalformedError("it has no choices")
    if not completion.choices:
        return ServerError("the server sent an empty list of choices")
    choice = completion.choices[0]
    if choice.error:
        return server_error(choice.error)
    finish = choice.finish_reason.lower() if isinstance(choice.finish_reason, str) else ""
    if finish in _BROKEN_OFF:
        return ServerError(f"the server stopped with finish_reason {finish!r}")
    if choice.message is None:
        raise MalformedError("its choice has no message")
    message = choice.message
    text = _text(message.content) or (_json_in_reasoning(message) if finish == "stop" else "")
    if not (text or finish or message.refusal):
        return ServerError("the server sent an empty message without a finish_reason")
    if message.refusal:
        finish = "refusal"
        text = text or (message.refusal if isinstance(message.refusal, str) else "")
    return Reply(
        clean_text(text),
        clean_text(_FINISH_REASONS.get(finish, finish))[:40] or "unknown",
        *_usage(completion.usage),
        milliseconds,
        attempts,
    )


def _text(content: object) -> str:
    """Return the text of a message's content, without parts that hold the model's reasoning."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_part_text, content))
    if isinstance(content, dict):
        return _part_text(content)
    raise MalformedError("its content is not a text")


def _part_text(part: object) -> str:
    if part is None or isinstance(part, str):
        return part or ""
    if not isinstance(part, dict):
        raise MalformedError("a part of its content is not a text")
    if isinstance(kind := part.get("type"), str) and kind in _REASONING:
        return ""
    text = part.get("text")
    if isinstance(text, dict):
        text = text.get("value")
    if text is None and "type" not in part:
        return _to_json(part)  # the server has parsed the JSON itself
    return text if isinstance(text, str) else ""


def _to_json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError as error:
        raise MalformedError("its content is nested too deeply") from error


def _json_in_reasoning(message: _Message) -> str:
    """Return the reasoning if it is the JSON that belongs into the content.

    A vLLM server does that if its reasoning parser waits for an end of reasoning that the output
    grammar does not allow.
    """
    for text in (message.reasoning_content, message.reasoning):
        if isinstance(text, str) and text.lstrip().startswith(("{", "[", "```")):
            return text
    return ""


def _usage(raw: Raw) -> tuple[int | None, int | None]:
    try:
        usage = msgspec.json.decode(raw, type=_Usage | None, strict=False)
    except (msgspec.MsgspecError, RecursionError):
        return None, None
    return (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)


class _OnlyUsage(Struct):
    usage: Raw = _NULL


def _usage_of(body: bytes) -> tuple[int | None, int | None]:
    """Return the tokens of a body whose choices cannot be read: they were paid for."""
    try:
        return _usage(decode(body, _OnlyUsage).usage)
    except MalformedError:
        return None, None


def parse_error(body: bytes) -> ServerError:
    """Return the error in the body of a response with an error status, whatever its form."""
    try:
        return server_error(decode(body, object))
    except MalformedError:
        text = clean_text(body.decode("utf-8", "replace")).strip()
    title = _TITLE.search(text)
    return ServerError(title[1].strip() if title else text)


def server_error(value: object, depth: int = 0) -> ServerError:
    """Return an error from the forms in use.

    `{"error": {"message", "type", "code", "param"}}` (OpenAI), the same without `error` (vLLM,
    Mistral), `{"error": "text"}` (Ollama), `{"detail": ...}` (FastAPI), a list of errors (Google,
    Cloudflare).
    """
    if depth < _MAX_NESTING:
        inner = value[:1] if isinstance(value, list) else []
        if isinstance(value, dict):
            inner = [value[key] for key in ("error", "errors", "detail") if value.get(key)]
        if inner:
            return server_error(inner[0], depth + 1)
    if not isinstance(value, dict):
        return ServerError(_word(value) or "no reason given")
    message = next((value[k] for k in ("message", "msg", "error_description") if value.get(k)), "")
    metadata = value.get("metadata")
    code, type_ = _word(value.get("code")), _word(value.get("type"))
    return ServerError(
        _word(message) or code or type_ or "no reason given",
        code,
        type_ or _word(value.get("status")),
        _word(value.get("param")),
        isinstance(metadata, dict) and bool(metadata.keys() & {"reasons", "flagged_input"}),
    )


def _word(value: Any) -> str:  # noqa: ANN401 - JSON
    return clean_text(str(value)) if isinstance(value, str | int) else ""


def parse_batch_line(line: bytes) -> tuple[str, Reply | Failure | ServerError, int | None]:
    """Return the request of a batch's line, what came of it, and the status of the response.

    MalformedError if the line does not say which request it is about.
    """
    parsed = decode(line, BatchLine)
    try:
        response = decode(bytes(parsed.response), BatchResponse | None)  # type: ignore[arg-type]
    except MalformedError as error:
        failure = Failure(f"not a response: {error}", 1, "malformed")
        return clean_text(parsed.custom_id), failure, None
    custom_id = clean_text(parsed.custom_id)
    status = response.status_code if response else None
    if parsed.error or response is None:
        return custom_id, server_error(parsed.error), status
    body = bytes(response.body)
    if status is not None and status != 200:  # noqa: PLR2004 - OK
        return custom_id, parse_error(body), status
    try:
        return custom_id, parse_completion(body, 0, 1), status
    except NotJsonError as error:
        return custom_id, Failure(f"not a chat completion: {error}", 1, "malformed"), status
