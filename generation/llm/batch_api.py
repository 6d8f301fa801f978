"""Requests in one file, answered within a day at a lower price: the OpenAI API's batches.

A batch is created once: what breaks while it is created is looked up by our own key, not repeated.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from openai import APIConnectionError, APIError, APIStatusError, OpenAI

from generation.llm.client import Failure, Reply, body, connection, plain, reply, stop_if_hopeless
from generation.llm.client import Request as Asked
from generation.settings import LLMSettings
from regions.errors import UserError

MOST_REQUESTS, MOST_BYTES = 20_000, 100_000_000
"""Of one file; servers take 50,000 and 200 MB."""
_MARK = "lskd"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_SECONDS = 600.0
"""For a file to go there or come back."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a batch is."""

    name: str
    ended: bool
    answered: int
    files: tuple[str, ...]
    """Where the replies lie; known once it has ended."""
    fault: str = ""


def line(settings: LLMSettings, request: Asked, picture: str) -> bytes:
    """A request as a line of the file."""
    asked = {
        "custom_id": request.fingerprint,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body(settings, request, picture, hold_format=settings.json_schema),
    }
    return orjson.dumps(asked, option=orjson.OPT_APPEND_NEWLINE)


class Later:
    """A server that takes files of requests; UserError where it does not."""

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        self._once = OpenAI(**connection(replace(settings, timeout=_SECONDS)))
        self.address = settings.base_url
        self._again = self._once.with_options(max_retries=settings.attempts)

    def hand_in(self, file: Path, key: str) -> str:
        """The server's name for a batch of the requests in a file, created with our key."""
        with self._heard():
            with file.open("rb") as content:
                uploaded = self._again.files.create(file=(file.name, content), purpose="batch")
            made = self._once.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_MARK: key},
            )
        return made.id

    def find(self, key: str) -> str | None:
        """The batch that was created with our key, if one was."""
        with self._heard():
            for found in self._again.batches.list(limit=100):
                if (found.metadata or {}).get(_MARK) == key:
                    return found.id
        return None

    def state(self, remote: str) -> State:
        """How far a batch is."""
        with self._heard():
            found = self._again.batches.retrieve(remote)
        files = tuple(name for name in (found.output_file_id, found.error_file_id) if name)
        counts = found.request_counts
        faults = (found.errors and found.errors.data) or []
        return State(
            found.status,
            found.status in _ENDED,
            counts.completed + counts.failed if counts else 0,
            files,
            plain("; ".join(fault.message or "" for fault in faults)),
        )

    def replies(self, file: str) -> Iterator[tuple[str, Reply | Failure]]:
        """What a file of replies says of each request, by its fingerprint."""
        with self._heard(), self._again.files.with_streaming_response.content(file) as content:
            for text in content.iter_lines():
                if text.strip():
                    yield _outcome(text)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """What goes wrong on the way, as people are told it."""
        where = self._settings.base_url
        try:
            yield
        except APIStatusError as error:
            if error.status_code in {404, 405, 501}:
                raise UserError(
                    f"the server takes no files of requests: {plain(str(error))}",
                    where=where,
                    hint="leave --submit out",
                ) from error
            stop_if_hopeless(self._settings, error)
            raise UserError(f"the server said: {plain(str(error))}", where=where) from error
        except APIConnectionError as error:
            todo = "check --base-url, and give the command again"
            raise UserError("no server answers", where=where, hint=todo) from error
        except APIError as error:
            raise UserError(f"the server said: {plain(str(error))}", where=where) from error


def _outcome(text: str) -> tuple[str, Reply | Failure]:
    try:
        found: dict[str, Any] = orjson.loads(text)
        fingerprint = str(found["custom_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"a reply that cannot be read: {plain(text)}") from error
    answer = found.get("response") or {}
    try:
        if answer.get("status_code") == 200:  # noqa: PLR2004 - it is an answer
            return fingerprint, reply(answer.get("body"), 0, 1)
        fault = found.get("error") or (answer.get("body") or {}).get("error") or {}
        said = fault.get("message") or fault.get("code") or "no reason given"
        status = answer.get("status_code")
        return fingerprint, Failure(plain(f"{status}: {said}" if status else str(said)), 1)
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        return fingerprint, Failure(f"no chat completion: {plain(str(error))}", 1)
