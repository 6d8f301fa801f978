"""The body of a request, and what a server turns out not to support.

A server that rejects a field is asked without it from then on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import orjson

from generation.llm.protocol import Request
from generation.llm.wire import ServerError
from generation.settings import LLMSettings
from regions.errors import InvalidError

_RESERVED = frozenset({"messages", "model", "n", "stream"})
"""Fields that no option may set: a run could not read, or not account for, the replies."""
_TOKEN_FIELDS = ("max_completion_tokens", "max_tokens")
_REJECTED = (
    "unsupported",
    "not supported",
    "n't support",
    "not support",
    "unknown",
    "unrecognized",
    "unrecognised",
    "unexpected",
    "extra",
    "not permitted",
    "not allowed",
    "only the default",
    "deprecated",
)
"""How messages say that a field, and not its value, is wrong."""
_STRUCTURED = ("response_format", "json_schema", "structured output", "grammar")


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """Which fields a server is sent."""

    json_schema: bool
    token_field: str = "max_tokens"  # noqa: S105 - tokens of texts
    temperature: bool = True

    def adapted(self, status: int, error: ServerError) -> "RequestFormat | None":
        """Return the format without the field that a server rejects; None if it rejects none."""
        if status not in {400, 422}:
            return None
        message = error.message.lower()
        if self.json_schema and any(word in message for word in _STRUCTURED):
            return replace(self, json_schema=False)
        is_rejected = error.code == "unsupported_parameter" or any(w in message for w in _REJECTED)
        if not is_rejected:
            return None
        other_token_field = next(name for name in _TOKEN_FIELDS if name != self.token_field)
        if error.param == self.token_field or self.token_field in message:
            return replace(self, token_field=other_token_field)
        if self.temperature and (error.param == "temperature" or "temperature" in message):
            return replace(self, temperature=False)
        return None


def request_body(
    settings: LLMSettings, request: Request, image_url: str, request_format: RequestFormat
) -> dict[str, Any]:
    """Return the JSON body of a chat completion."""
    messages: list[Any] = list(request.messages)
    if image_url:
        *before, last = messages
        text = {"type": "text", "text": last["content"]}
        image = {"type": "image_url", "image_url": {"url": image_url, "detail": "high"}}
        messages = [*before, {"role": last["role"], "content": [text, image]}]
    body: dict[str, Any] = {"model": settings.model, "messages": messages}
    if request_format.temperature:
        body["temperature"] = settings.temperature
    body[request_format.token_field] = settings.max_tokens
    if request_format.json_schema:
        schema = {"name": "reply", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    options = request_options(settings.request_options)
    if options.keys() & set(_TOKEN_FIELDS):
        del body[request_format.token_field]
    body |= options
    return {name: value for name, value in body.items() if value is not None}


@cache
def request_options(pairs: Sequence[str]) -> Mapping[str, Any]:
    """Return the fields of `--request-option NAME=JSON`; InvalidError for other text.

    >>> dict(request_options(("top_p=0.9", 'reasoning_effort="low"', "temperature=null")))
    {'top_p': 0.9, 'reasoning_effort': 'low', 'temperature': None}
    """
    options = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        try:
            value = orjson.loads(text if name and separator else "")
        except ValueError as error:
            raise InvalidError(
                f"invalid --request-option {pair}",
                hint="write NAME=JSON, such as top_p=0.9 or 'reasoning_effort=\"low\"'",
            ) from error
        if name in _RESERVED:
            raise InvalidError(f"--request-option cannot set {name}")
        options[name] = value
    return MappingProxyType(options)


def max_completion_tokens(settings: LLMSettings) -> int | None:
    """Return the maximum tokens of a reply; None if an option has removed the maximum."""
    options = request_options(settings.request_options)
    given = [options[name] for name in _TOKEN_FIELDS if name in options]
    if not given:
        return settings.max_tokens
    return next((n for n in given if type(n) is int and n > 0), None)
