"""Client for chat completions of any server with the OpenAI API.

Whatever a server sends becomes a Reply or a Failure. Failures that may pass are retried with
exponential backoff that honours Retry-After.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from urllib.parse import urljoin, urlsplit

import httpx2
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI

from generation.llm import failures
from generation.llm.connection import CHAT_PATH, connect
from generation.llm.protocol import Failure, FailureKind, Reply, Request
from generation.llm.request_format import RequestFormat, request_body
from generation.llm.waiting import backoff, retry_after
from generation.llm.wire import NotJsonError, ServerError, parse_completion, parse_error
from generation.settings import LLMSettings

OnWait = Callable[[float], None]
"""Called with the seconds that all calls wait because of the server's rate limit."""

_CALLS_PER_CLIENT = 32
"""A client's connection pool scans all its connections for every call."""
_MAX_ADAPTATIONS = 8
"""Of one call to what a server wants: each removes a field, or follows a redirect."""
_POLL_SECONDS = 0.5
"""While waiting, a call looks this often whether the run is to stop."""
_MIN_REPORTED_WAIT = 1.0
"""Seconds."""


class LLMClient:
    """Sends requests to one model on one server.

    One instance serves a whole run: rate limits and missing server features that one call meets
    hold for all later calls.
    """

    def __init__(
        self,
        settings: LLMSettings,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_wait: OnWait = lambda _seconds: None,
    ) -> None:
        self._settings, self._should_stop, self._on_wait = settings, should_stop, on_wait
        self.connection = connect(settings)
        options = self.connection.client_options(settings.timeout)
        self._headers = self.connection.request_headers
        n_clients = max(1, -(-settings.concurrency // _CALLS_PER_CLIENT))
        self._clients = [AsyncOpenAI(**options) for _ in range(n_clients)]
        self._next_client = cycle(self._clients)
        self._url = self.connection.base_url + CHAT_PATH
        self._format = RequestFormat(settings.json_schema)
        self._not_before = self._reported_until = 0.0
        self.has_replies = False
        self._rng = random.Random()  # noqa: S311 - jitter needs no cryptographic randomness

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.close()

    async def complete(self, request: Request, image_url: str = "") -> Reply | Failure | None:
        """Send a request; `image_url` is the address or data URL of the attached image.

        Returns None if the run is to stop before the request could be sent.
        """
        attempt, adaptations = 0, 0
        while True:
            if not await self._wait(self._not_before - time.monotonic()):
                return None
            attempt += 1
            sent = self._url, self._format
            try:
                outcome = await self._send(request, image_url, attempt)
            except APIStatusError as error:
                if adaptations < _MAX_ADAPTATIONS and self._adapt(sent, error):
                    adaptations += 1
                    attempt -= 1
                    continue
                seconds = retry_after(error.response.headers)
                outcome = self._status_failure(error, attempt, has_retry_after=seconds is not None)
            else:
                seconds = None
            if isinstance(outcome, Reply):
                self.has_replies = True
                return outcome
            if not failures.is_transient(outcome.kind) or attempt >= self._settings.attempts:
                return outcome
            if not await self._back_off(attempt, seconds, outcome.kind):
                return outcome

    async def _send(self, request: Request, image_url: str, attempt: int) -> Reply | Failure:
        start = time.monotonic()
        try:
            # `post` instead of `chat.completions.create`, which copies every message: a quarter of
            # the time of a call.
            response = await next(self._next_client).post(
                self._url,
                body=request_body(self._settings, request, image_url, self._format),
                cast_to=httpx2.Response,
                options={
                    "headers": self._headers | {"Idempotency-Key": request.fingerprint},
                    "follow_redirects": False,  # which would turn the request into a GET
                },
            )
            outcome = parse_completion(
                response.content, round(1000 * (time.monotonic() - start)), attempt
            )
        except APITimeoutError:
            text = f"no reply within {self._settings.timeout:g} s"
            return Failure(text, attempt, "timeout")
        except APIConnectionError as error:
            return self._failure(f"connection lost: {error}", attempt, "connection")
        except (NotJsonError, LookupError) as error:  # LookupError: an unknown charset
            return self._failure(f"connection lost: {error}", attempt, "not_json")
        if isinstance(outcome, ServerError):
            return self._failure(outcome.message, attempt, failures.classify(200, outcome))
        if isinstance(outcome, Failure):
            return replace(outcome, error=self.connection.printable(outcome.error))
        return outcome

    def _status_failure(
        self, error: APIStatusError, attempt: int, *, has_retry_after: bool
    ) -> Failure:
        described = parse_error(error.response.content)
        kind = failures.classify(error.status_code, described, has_retry_after=has_retry_after)
        text = f"{error.status_code}: {described.message}"
        if kind == "redirect":
            text = f"{error.status_code} to {error.response.headers.get('location', '')}"
        return self._failure(text, attempt, kind)

    def _failure(self, text: str, attempt: int, kind: FailureKind) -> Failure:
        return Failure(self.connection.printable(text), attempt, kind)

    def _adapt(self, sent: tuple[str, RequestFormat], error: APIStatusError) -> bool:
        """Return whether the next attempt differs from what was `sent`, by what a server wants."""
        if sent == (self._url, self._format):
            url, request_format = sent
            if 300 <= error.status_code < 400:  # noqa: PLR2004 - redirects
                self._url = self._redirected(url, error.response.headers.get("location", ""))
            else:
                described = parse_error(error.response.content)
                adapted = request_format.adapted(error.status_code, described)
                self._format = adapted or request_format
        return sent != (self._url, self._format)

    def _redirected(self, url: str, location: str) -> str:
        """Return the address of a redirect; `url` itself if it should not be followed.

        Secrets are sent to the same host only, and never without the encryption they had.
        """
        old, new = urlsplit(url), urlsplit(urljoin(url, location))
        is_same_server = new.hostname == old.hostname and (
            (new.scheme, new.port) == (old.scheme, old.port)
            or (old.scheme, new.scheme) == ("http", "https")
        )
        is_chat = new.path.rstrip("/").endswith(CHAT_PATH)
        if not is_chat or not (is_same_server or not self.connection.has_secrets):
            return url
        return new._replace(query="", fragment="").geturl()

    async def _back_off(self, attempt: int, seconds: float | None, kind: FailureKind) -> bool:
        """Wait before the next attempt, `seconds` if the server says so; whether to go on."""
        wait = backoff(attempt, self._rng)
        if seconds is not None:
            wait = seconds + 0.1 * self._rng.random()
        if kind == "rate_limit":
            # The limit holds for all calls, not for this one alone.
            now = time.monotonic()
            self._not_before = max(self._not_before, now + (seconds or 0.0))
            if wait >= _MIN_REPORTED_WAIT and now + wait > self._reported_until + 1:
                self._reported_until = now + wait
                self._on_wait(wait)
        return await self._wait(wait)

    async def _wait(self, seconds: float) -> bool:
        """Wait, unless the run is to stop; whether to go on."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._should_stop():
                return False
            await asyncio.sleep(min(left, _POLL_SECONDS))
        return True
