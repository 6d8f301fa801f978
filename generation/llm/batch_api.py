"""Client for OpenAI's Batch API: files of requests, answered within a day at a lower price.

Creating a batch is not retried: after an error, `find` looks up by our own key whether the server
has created it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import httpx2
import msgspec
import orjson
from openai import APIConnectionError, APIError, APIStatusError, NotFoundError, OpenAI

from generation.llm import failures, wire
from generation.llm.connection import connect
from generation.llm.protocol import Failure, Reply, Request
from generation.llm.request_format import RequestFormat, request_body
from generation.llm.wire import MalformedError, ServerError
from generation.settings import LLMSettings
from regions.errors import UserError

T = TypeVar("T")

MAX_REQUESTS, MAX_BYTES = 20_000, 100_000_000
"""Per file; OpenAI's limits are 50,000 and 200 MB."""
_METADATA_KEY = "lskd"
_FINAL_STATUSES = frozenset({"completed", "failed", "expired", "cancelled"})
_ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_TRANSFER_TIMEOUT = 600.0
"""Seconds for the upload or download of a file."""
_UNCERTAIN = frozenset({408, 409, 429})
"""Statuses after which a batch may exist, besides those of server errors."""
_PAGE = 100
"""Batches per page of a list."""


class _RefusedError(UserError):
    """A UserError with the same text as another one."""

    def __init__(self, error: UserError) -> None:
        super().__init__(error.problem, where=error.where, hint=error.hint)


class BatchRejectedError(_RefusedError):
    """The server has rejected a batch, and has certainly not created it."""


class FileGoneError(_RefusedError):
    """The server has deleted an output file."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """Status of a batch on the server."""

    status: str
    is_final: bool
    answered: int
    output_files: tuple[str, ...]
    """Files with replies and errors; known once the status is final."""
    error: str = ""


class _Counts(msgspec.Struct):
    completed: int = 0
    failed: int = 0


class _Batch(msgspec.Struct):
    id: str
    status: str = ""
    metadata: object = None
    output_file_id: object = None
    error_file_id: object = None
    request_counts: msgspec.Raw = msgspec.Raw(b"null")
    errors: object = None


class _BatchList(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _File(msgspec.Struct):
    id: str


_NAMES: dict[type, str] = {_Batch: "batch", _BatchList: "list of batches", _File: "file"}


def request_line(settings: LLMSettings, request: Request, image_url: str) -> bytes:
    """Return a request as a line of a batch's input file."""
    line = {
        "custom_id": request.fingerprint,
        "method": "POST",
        "url": _ENDPOINT,
        "body": request_body(settings, request, image_url, RequestFormat(settings.json_schema)),
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class BatchApiClient:
    """Submits batches and fetches their replies; UserError if the server has no Batch API."""

    def __init__(self, settings: LLMSettings) -> None:
        self._settings = settings
        self._connection = connect(settings)
        self._headers = self._connection.request_headers
        self._client = OpenAI(**self._connection.client_options(_TRANSFER_TIMEOUT))
        self._retrying_client = self._client.with_options(max_retries=settings.attempts)
        self.base_url = settings.base_url

    def submit(self, file: Path, key: str) -> str:
        """Create a batch from a file of requests, tagged with our `key`; the server's id of it.

        BatchRejectedError if the server has certainly not created it.
        """
        try:
            with self._map_api_errors(), file.open("rb") as content:
                uploaded = self._retrying_client.files.with_raw_response.create(
                    file=(file.name, content), purpose="batch", extra_headers=self._headers
                )
                file_id = self._decode(uploaded.content, _File).id
        except UserError as error:
            raise BatchRejectedError(error) from error
        with self._map_api_errors():
            try:
                batch = self._client.batches.with_raw_response.create(
                    input_file_id=file_id,
                    endpoint=_ENDPOINT,
                    completion_window="24h",
                    metadata={_METADATA_KEY: key},
                    extra_headers=self._headers,
                )
            except APIStatusError as error:
                if error.status_code in _UNCERTAIN or error.status_code >= 500:  # noqa: PLR2004
                    raise
                raise BatchRejectedError(self._user_error(error)) from error
        return self._decode(batch.content, _Batch).id

    def find(self, key: str) -> str | None:
        """Return the id of the batch tagged with `key`, if the server has one."""
        for batch in self._batches():
            if isinstance(batch.metadata, dict) and batch.metadata.get(_METADATA_KEY) == key:
                return batch.id
        return None

    def state(self, batch_id: str) -> BatchState | None:
        """Return the status of a batch; None if the server lists its batches and has not this one.

        That is so for another account's key, too.
        """
        with self._map_api_errors():
            try:
                body = self._get(f"/batches/{quote(batch_id, safe='')}")
            except NotFoundError:
                if any(batch.id == batch_id for batch in self._batches()):
                    raise
                return None
        batch = self._decode(body, _Batch)
        return BatchState(
            status=self._connection.printable(batch.status),
            is_final=batch.status in _FINAL_STATUSES,
            answered=_answered(batch.request_counts),
            output_files=tuple(
                file
                for file in (batch.output_file_id, batch.error_file_id)
                if isinstance(file, str) and file
            ),
            error=self._connection.printable(_messages(batch.errors)),
        )

    def replies(self, file: str) -> Iterator[tuple[str, Reply | Failure] | None]:
        """Yield the fingerprint and the outcome of each request in an output file.

        None stands for a line that does not say which request it is about. FileGoneError if the
        server has the file no more.
        """
        files = self._retrying_client.files
        with self._map_api_errors():
            try:
                with files.with_streaming_response.content(
                    file, extra_headers=self._headers
                ) as content:
                    for line in _lines(content.iter_bytes()):
                        yield self._outcome(line)
            except NotFoundError as error:
                raise FileGoneError(self._user_error(error)) from error

    def _outcome(self, line: bytes) -> tuple[str, Reply | Failure] | None:
        try:
            fingerprint, outcome, status = wire.parse_batch_line(line)
        except MalformedError:
            return None
        if isinstance(outcome, ServerError):
            kind = failures.classify(status, outcome)
            text = f"{status}: {outcome.message}" if status else outcome.message
            outcome = Failure(text, 1, kind)
        if isinstance(outcome, Failure):
            outcome = replace(outcome, error=self._connection.printable(outcome.error))
        return fingerprint, outcome

    def _batches(self) -> Iterator[_Batch]:
        after = ""
        while True:
            with self._map_api_errors():
                body = self._get("/batches", {"limit": _PAGE} | ({"after": after} if after else {}))
            page = self._decode(body, _BatchList)
            yield from page.data
            if not page.has_more or not page.data or page.data[-1].id == after:
                return
            after = page.data[-1].id

    def _get(self, path: str, query: dict[str, object] | None = None) -> bytes:
        response = self._retrying_client.get(
            path, cast_to=httpx2.Response, options={"params": query or {}, "headers": self._headers}
        )
        return response.content

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return wire.decode(body, kind)
        except MalformedError as error:
            raise UserError(
                f"the server's Batch API sends what is no {_NAMES[kind]}: {error}",
                where=self.base_url,
                hint="check --base-url and run the command again",
            ) from error

    @contextmanager
    def _map_api_errors(self) -> Iterator[None]:
        """Raise the API's errors as UserError."""
        try:
            yield
        except APIStatusError as error:
            raise self._user_error(error) from error
        except (APIConnectionError, httpx2.HTTPError) as error:
            todo = "check --base-url and run the command again"
            raise UserError("the server does not answer", where=self.base_url, hint=todo) from error
        except APIError as error:
            text = self._connection.printable(str(error))
            raise UserError(f"server error: {text}", where=self.base_url) from error

    def _user_error(self, error: APIStatusError) -> UserError:
        described = wire.parse_error(error.response.content)
        text = self._connection.printable(f"{error.status_code}: {described.message}")
        if error.status_code in {404, 405, 501}:
            return UserError(
                f"the server has no Batch API: {text}",
                where=self.base_url,
                hint="leave --submit out",
            )
        kind = failures.classify(error.status_code, described)
        if failures.is_fatal(kind, has_replies=False):
            return failures.as_user_error(
                kind, text, server=self.base_url, model=self._settings.model
            )
        return UserError(f"server error: {text}", where=self.base_url)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file, which end in a line feed: U+2028 and others are part of texts."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(bytes.strip, lines)
    if rest.strip():
        yield rest


def _answered(raw: msgspec.Raw) -> int:
    try:
        counts = wire.decode(bytes(raw), _Counts)
    except MalformedError:
        return 0
    return counts.completed + counts.failed


def _messages(errors: object) -> str:
    """Return the messages of a batch's errors, `{"data": [{"message": ...}]}`."""
    if isinstance(errors, dict):
        errors = errors.get("data") or errors
    listed = errors if isinstance(errors, list) else [errors] if errors else []
    return "; ".join(wire.server_error(error).message for error in listed)
