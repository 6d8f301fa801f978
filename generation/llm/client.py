"""The one place that talks to a language model: any server that speaks the OpenAI API.

What may help is tried again, with waits that grow and that heed the server's own; what cannot is
said at once. The key comes from the environment alone, and is never stored or printed.
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

KEY = "OPENAI_API_KEY"
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_SHOWN = 300
_TOGETHER = 32
"""Calls of one client: its pool looks at every connection for every call."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `fingerprint` names it for good."""

    fingerprint: str
    image_id: int
    sample: int
    messages: Sequence[Message]
    schema: Mapping[str, Any]
    picture: tuple[int, int] | None = None
    """Width and height of the picture that goes along; it is made when it is sent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `text` may be empty, and is still a reply."""

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None
    milliseconds: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing came back, after so many attempts."""

    error: str
    attempts: int


def connection(settings: LLMSettings) -> dict[str, Any]:
    """What a client of the API is made with; UserError where a key is needed and there is none."""
    key = os.environ.get(KEY, "")
    local = any(name in settings.base_url for name in ("//localhost", "//127.0.0.1", "//[::1]"))
    if not key and not local:
        raise UserError(f"no key for {settings.base_url}", hint=f"set {KEY}")
    return {
        "api_key": key or "none",
        "base_url": settings.base_url,
        "timeout": settings.timeout,
        "max_retries": 0,
    }


def body(
    settings: LLMSettings, request: Request, picture: str, *, hold_format: bool
) -> dict[str, Any]:
    """What is sent: of the OpenAI API's chat completions."""
    messages: list[Any] = list(request.messages)
    if picture:
        *before, last = messages
        seen = {"type": "image_url", "image_url": {"url": picture, "detail": "high"}}
        told = {"type": "text", "text": last["content"]}
        messages = [*before, {"role": last["role"], "content": [told, seen]}]
    asked = {
        "model": settings.model,
        "messages": messages,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
    }
    if hold_format:
        schema = {"name": "reply", "strict": True, "schema": request.schema}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    return asked


def reply(found: object, milliseconds: int, attempts: int) -> Reply:
    """What a chat completion says; ValueError where it is none."""
    if not isinstance(found, dict):
        raise ValueError("the body is no object")  # noqa: TRY004 - it is JSON of another kind
    choice = (found.get("choices") or [{}])[0]
    message = choice.get("message") or {}
    usage = found.get("usage") or {}
    text = message.get("content") or ""
    finish = "refusal" if message.get("refusal") else choice.get("finish_reason") or "empty"
    return Reply(
        str(text or message.get("refusal") or ""),
        str(finish)[:40],
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        milliseconds,
        attempts,
    )


class LLM:
    """A model on a server. One for a run: what one call learns of the server, all heed."""

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        clients = -(-settings.concurrency // _TOGETHER)
        self._clients = [AsyncOpenAI(**connection(settings)) for _ in range(max(1, clients))]
        self._turns = cycle(self._clients)
        self._not_before = 0.0
        self._holds_format = settings.json_schema
        self._answered = False
        self._chance = random.Random()  # noqa: S311 - when to try again is no secret

    async def close(self) -> None:
        """Give the connections back."""
        for client in self._clients:
            await client.close()

    async def ask(self, request: Request, picture: str = "") -> Reply | Failure:
        """The reply; a Failure for what this request met, a UserError for what all would meet.

        `picture` is the address of the one that goes along, or holds it.
        """
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_the_server()
            start = time.monotonic()
            held = self._holds_format
            try:
                return await self._send(request, picture, attempt, start)
            except APIStatusError as error:
                if held and self._gives_up_the_format(error):
                    attempt -= 1
                    continue
                stop_if_hopeless(self._settings, error)
                reason = f"{error.status_code}: {plain(_message(error))}"
                if error.status_code not in _AGAIN or attempt >= self._settings.attempts:
                    return Failure(reason, attempt)
                await self._rest(attempt, _asked_to_wait(error), error.status_code)
            except APITimeoutError:
                if attempt >= self._settings.attempts:
                    return Failure(f"no reply within {self._settings.timeout:g} s", attempt)
                await self._rest(attempt, None, None)
            except (APIConnectionError, ValueError) as error:
                if attempt >= self._settings.attempts:
                    if not self._answered and isinstance(error, APIConnectionError):
                        raise UserError(
                            "no server answers",
                            where=self._settings.base_url,
                            hint="check --base-url, and that it runs",
                        ) from error
                    return Failure(f"the connection broke: {plain(str(error))}", attempt)
                await self._rest(attempt, None, None)

    async def _send(self, request: Request, picture: str, attempt: int, start: float) -> Reply:
        asked = body(self._settings, request, picture, hold_format=self._holds_format)
        # As it is: the library's own method copies every message, which costs a quarter of a call.
        raw = await next(self._turns).post(
            "/chat/completions",
            body=asked,
            cast_to=object,
            options={"headers": {"Idempotency-Key": request.fingerprint}},
        )
        # A body that is no JSON is a broken connection, not an empty reply.
        found = reply(raw, round(1000 * (time.monotonic() - start)), attempt)
        self._answered = True
        return found

    def _gives_up_the_format(self, error: APIStatusError) -> bool:
        """Some servers do not offer structured output: the parser bears that."""
        unknown = any(word in _message(error) for word in ("response_format", "json_schema"))
        if error.status_code not in {400, 422} or not unknown:
            return False
        self._holds_format = False
        return True

    async def _rest(self, attempt: int, asked: float | None, status: int | None) -> None:
        wait = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
        wait *= 0.5 + self._chance.random()
        if asked is not None:
            wait = max(asked, 0.0) + 0.1 * self._chance.random()
        if status == 429:  # noqa: PLR2004 - too many requests
            # It is the server that has enough, not this call: all wait.
            self._not_before = max(self._not_before, time.monotonic() + (asked or 0.0))
        await asyncio.sleep(wait)

    async def _wait_for_the_server(self) -> None:
        await asyncio.sleep(max(self._not_before - time.monotonic(), 0.0))


def stop_if_hopeless(settings: LLMSettings, error: APIStatusError) -> None:
    """UserError for what every request would meet."""
    where, said = settings.base_url, plain(_message(error))
    if isinstance(error, AuthenticationError | PermissionDeniedError):
        raise UserError(f"the server refuses the key: {said}", where=where, hint=f"check {KEY}")
    if isinstance(error, NotFoundError):
        raise UserError(
            f"the server knows no such thing: {said}",
            where=where,
            hint=f"check --base-url and --model {settings.model}",
        )
    if getattr(error, "code", None) in _SPENT:
        raise UserError(f"the account is empty: {said}", where=where, hint="pay, and go on")


def plain(text: str) -> str:
    """What a server said, short, on one line, and without the key."""
    if key := os.environ.get(KEY, ""):
        text = text.replace(key, "***")
    return "".join(c if c.isprintable() else " " for c in text[:_SHOWN])


def _message(error: APIStatusError) -> str:
    return str(getattr(error, "message", "") or error)


def _asked_to_wait(error: APIStatusError) -> float | None:
    """Seconds, as Retry-After or its cousin in milliseconds says them."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
    return None
