"""Client for OpenAI's Batch API: files of requests, answered within a day at a lower price.

Creating a batch is not retried: after an error, `find` looks up by our own key whether the server
has created it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from openai import APIConnectionError, APIError, APIStatusError, OpenAI

from generation.llm.client import (
    Failure,
    Reply,
    Request,
    client_options,
    parse_completion,
    raise_if_fatal,
    request_body,
    sanitize,
)
from generation.settings import LLMSettings
from regions.errors import UserError

MAX_REQUESTS, MAX_BYTES = 20_000, 100_000_000
"""Per file; OpenAI's limits are 50,000 and 200 MB."""
_METADATA_KEY = "lskd"
_FINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
_TRANSFER_TIMEOUT = 600.0
"""Seconds for the upload or download of a file."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """Status of a batch on the server."""

    status: str
    is_final: bool
    answered: int
    output_files: tuple[str, ...]
    """Files with replies and errors; known once the status is final."""
    error: str = ""


def request_line(settings: LLMSettings, request: Request, image_url: str) -> bytes:
    """Return a request as a line of a batch's input file."""
    line = {
        "custom_id": request.fingerprint,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": request_body(settings, request, image_url, structured=settings.json_schema),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class BatchApiClient:
    """Submits batches and fetches their replies; UserError if the server has no Batch API."""

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        self._client = OpenAI(**client_options(replace(settings, timeout=_TRANSFER_TIMEOUT)))
        self._retrying_client = self._client.with_options(max_retries=settings.attempts)
        self.base_url = settings.base_url

    def submit(self, file: Path, key: str) -> str:
        """Create a batch from a file of requests, tagged with our `key`; the server's id of it."""
        with self._map_api_errors():
            with file.open("rb") as content:
                uploaded = self._retrying_client.files.create(
                    file=(file.name, content), purpose="batch"
                )
            batch = self._client.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_METADATA_KEY: key},
            )
        return batch.id

    def find(self, key: str) -> str | None:
        """Return the id of the batch tagged with `key`, if the server has one."""
        with self._map_api_errors():
            for batch in self._retrying_client.batches.list(limit=100):
                if (batch.metadata or {}).get(_METADATA_KEY) == key:
                    return batch.id
        return None

    def state(self, batch_id: str) -> BatchState:
        """Return the status of a batch."""
        with self._map_api_errors():
            batch = self._retrying_client.batches.retrieve(batch_id)
        counts = batch.request_counts
        errors = (batch.errors and batch.errors.data) or []
        return BatchState(
            status=batch.status,
            is_final=batch.status in _FINAL_STATUSES,
            answered=counts.completed + counts.failed if counts else 0,
            output_files=tuple(
                file for file in (batch.output_file_id, batch.error_file_id) if file
            ),
            error=sanitize("; ".join(error.message or "" for error in errors)),
        )

    def replies(self, file: str) -> Iterator[tuple[str, Reply | Failure]]:
        """Yield the fingerprint and the outcome of each request in an output file."""
        files = self._retrying_client.files
        with self._map_api_errors(), files.with_streaming_response.content(file) as content:
            for line in content.iter_lines():
                if line.strip():
                    yield _parse_line(line)

    @contextmanager
    def _map_api_errors(self) -> Iterator[None]:
        """Raise the API's errors as UserError."""
        where = self._settings.base_url
        try:
            yield
        except APIStatusError as error:
            if error.status_code in {404, 405, 501}:
                raise UserError(
                    f"the server has no Batch API: {sanitize(str(error))}",
                    where=where,
                    hint="leave --submit out",
                ) from error
            raise_if_fatal(self._settings, error)
            raise UserError(f"server error: {sanitize(str(error))}", where=where) from error
        except APIConnectionError as error:
            todo = "check --base-url and run the command again"
            raise UserError("the server does not answer", where=where, hint=todo) from error
        except APIError as error:
            raise UserError(f"server error: {sanitize(str(error))}", where=where) from error


def _parse_line(line: str) -> tuple[str, Reply | Failure]:
    try:
        outcome: dict[str, Any] = orjson.loads(line)
        fingerprint = str(outcome["custom_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"cannot read this line of a batch's output: {sanitize(line)}") from error
    response = outcome.get("response") or {}
    try:
        status = response.get("status_code")
        body = response.get("body")
        if status == 200:  # noqa: PLR2004 - OK
            return fingerprint, parse_completion(body, 0, 1)
        details = outcome.get("error") or (body or {}).get("error") or {}
        message = details.get("message") or details.get("code") or "no reason given"
        return fingerprint, Failure(sanitize(f"{status}: {message}" if status else str(message)), 1)
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        return fingerprint, Failure(f"not a chat completion: {sanitize(str(error))}", 1)
