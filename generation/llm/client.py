"""Client for chat completions of any server with the OpenAI API.

Transient errors are retried with exponential backoff that honours Retry-After; errors that every
request would meet end the run. The API key is read from the environment and never stored or
printed.
"""

import asyncio
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from openai import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
)

from generation.prompts import Message
from generation.settings import LLMSettings
from regions.errors import UserError

API_KEY = "OPENAI_API_KEY"
"""The environment variable that holds the key."""

_RETRY_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NO_CREDIT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_INITIAL_BACKOFF, _MAX_BACKOFF = 0.5, 60.0
"""Seconds."""
_MAX_MESSAGE_LENGTH = 300
_CALLS_PER_CLIENT = 32
"""A client's connection pool scans all its connections for every call."""


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
    """Why a request has no reply after `attempts` attempts."""

    error: str
    attempts: int


def client_options(settings: LLMSettings) -> dict[str, Any]:
    """Return keyword arguments for the openai clients; UserError if a needed key is missing."""
    key = os.environ.get(API_KEY, "")
    is_local = any(host in settings.base_url for host in ("//localhost", "//127.0.0.1", "//[::1]"))
    if not key and not is_local:
        raise UserError(f"no API key for {settings.base_url}", hint=f"set {API_KEY}")
    return {
        "api_key": key or "none",
        "base_url": settings.base_url,
        "timeout": settings.timeout,
        "max_retries": 0,
    }


def request_body(
    settings: LLMSettings, request: Request, image_url: str, *, structured: bool
) -> dict[str, Any]:
    """Return the JSON body of a chat completion; `structured` requests the request's schema."""
    messages: list[Any] = list(request.messages)
    if image_url:
        *before, last = messages
        text = {"type": "text", "text": last["content"]}
        image = {"type": "image_url", "image_url": {"url": image_url, "detail": "high"}}
        messages = [*before, {"role": last["role"], "content": [text, image]}]
    body = {
        "model": settings.model,
        "messages": messages,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    if structured:
        schema = {"name": "reply", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def parse_completion(body: object, milliseconds: int, attempts: int) -> Reply:
    """Return the reply in a response's body; ValueError if it is not a JSON object."""
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - callers catch ValueError
    choice = (body.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    usage = body.get("usage") or {}
    text = message.get("content") or ""
    finish_reason = "refusal" if message.get("refusal") else choice.get("finish_reason") or "empty"
    return Reply(
        str(text or message.get("refusal") or ""),
        str(finish_reason)[:40],
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        milliseconds,
        attempts,
    )


class LLMClient:
    """Sends requests to one model on one server.

    One instance serves a whole run: rate limits and missing server features that one call meets
    hold for all later calls.
    """

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        n_clients = max(1, -(-settings.concurrency // _CALLS_PER_CLIENT))
        self._clients = [AsyncOpenAI(**client_options(settings)) for _ in range(n_clients)]
        self._next_client = cycle(self._clients)
        self._not_before = 0.0
        self._structured = settings.json_schema
        self._has_answered = False
        self._rng = random.Random()  # noqa: S311 - jitter needs no cryptographic randomness

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()

    async def complete(self, request: Request, image_url: str = "") -> Reply | Failure:
        """Send a request; `image_url` is the address or data URL of the attached image.

        Returns a Failure for errors of this request; raises UserError for errors that every
        request would meet.
        """
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_rate_limit()
            start = time.monotonic()
            structured = self._structured
            try:
                return await self._send(request, image_url, attempt, start)
            except APIStatusError as error:
                if structured and self._disable_structured_output(error):
                    attempt -= 1
                    continue
                raise_if_fatal(self._settings, error)
                reason = f"{error.status_code}: {sanitize(_message(error))}"
                if error.status_code not in _RETRY_STATUSES or attempt >= self._settings.attempts:
                    return Failure(reason, attempt)
                await self._backoff(attempt, _retry_after(error), error.status_code)
            except APITimeoutError:
                if attempt >= self._settings.attempts:
                    return Failure(f"no reply within {self._settings.timeout:g} s", attempt)
                await self._backoff(attempt, None, None)
            except (APIConnectionError, ValueError) as error:
                if attempt >= self._settings.attempts:
                    if not self._has_answered and isinstance(error, APIConnectionError):
                        raise UserError(
                            "the server does not answer",
                            where=self._settings.base_url,
                            hint="check --base-url and that the server is running",
                        ) from error
                    return Failure(f"connection lost: {sanitize(str(error))}", attempt)
                await self._backoff(attempt, None, None)

    async def _send(self, request: Request, image_url: str, attempt: int, start: float) -> Reply:
        # `post` instead of `chat.completions.create`, which copies every message: a quarter of the
        # time of a call.
        body = await next(self._next_client).post(
            "/chat/completions",
            body=request_body(self._settings, request, image_url, structured=self._structured),
            cast_to=object,
            options={"headers": {"Idempotency-Key": request.fingerprint}},
        )
        # A body that is not JSON comes from a broken connection and is retried.
        reply = parse_completion(body, round(1000 * (time.monotonic() - start)), attempt)
        self._has_answered = True
        return reply

    def _disable_structured_output(self, error: APIStatusError) -> bool:
        """Return whether the server rejects structured output; if so, stop requesting it."""
        is_about_format = any(
            word in _message(error) for word in ("response_format", "json_schema")
        )
        if error.status_code not in {400, 422} or not is_about_format:
            return False
        self._structured = False
        return True

    async def _backoff(self, attempt: int, retry_after: float | None, status: int | None) -> None:
        seconds = min(_INITIAL_BACKOFF * 2 ** (attempt - 1), _MAX_BACKOFF)
        seconds *= 0.5 + self._rng.random()
        if retry_after is not None:
            seconds = max(retry_after, 0.0) + 0.1 * self._rng.random()
        if status == 429:  # noqa: PLR2004 - too many requests
            # The limit holds for all calls, not for this one alone.
            self._not_before = max(self._not_before, time.monotonic() + (retry_after or 0.0))
        await asyncio.sleep(seconds)

    async def _wait_for_rate_limit(self) -> None:
        await asyncio.sleep(max(self._not_before - time.monotonic(), 0.0))


def raise_if_fatal(settings: LLMSettings, error: APIStatusError) -> None:
    """Raise UserError for errors that every request would meet."""
    where, message = settings.base_url, sanitize(_message(error))
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        raise UserError(
            f"the server rejects the key: {message}", where=where, hint=f"check {API_KEY}"
        )
    if isinstance(error, NotFoundError):
        raise UserError(
            f"the server does not know this model or address: {message}",
            where=where,
            hint=f"check --base-url and --model {settings.model}",
        )
    if getattr(error, "code", None) in _NO_CREDIT_CODES:
        raise UserError(
            f"the API account has no credit left: {message}",
            where=where,
            hint="add credit and run the command again",
        )


def sanitize(text: str) -> str:
    """Return a server's message on one line, shortened, and without the key."""
    if key := os.environ.get(API_KEY, ""):
        text = text.replace(key, "***")
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_MESSAGE_LENGTH])


def _message(error: APIStatusError) -> str:
    return str(getattr(error, "message", "") or error)


def _retry_after(error: APIStatusError) -> float | None:
    """Return the seconds to wait by the headers Retry-After-Ms or Retry-After."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
    return None
