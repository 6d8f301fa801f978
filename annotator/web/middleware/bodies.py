"""Limits of what a request may send: its size, its form, and the characters of its text."""

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMITS: Mapping[str, int] = {
    "": 1_000_000,
    "/api/ask": 28_000_000,
    "/demo": 28_000_000,
    "/api/research/imports": 1_000_000_000,
}
"""Most bytes of a request's body by the beginning of its path; the longest one applies.

A picture of 20 MB is 27 MB as a data URL.
"""

_STREAMED = "/api/research/imports"
"""Written to a file by its route, which counts the bytes; see `bulk_api.save_upload`."""

_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNSTORABLE = "the request contains characters that cannot be stored"


def body_limit(path: str) -> int:
    """The limit of a path.

    >>> body_limit("/api/ask"), body_limit("/api/votes")
    (28000000, 1000000)
    """
    return BODY_LIMITS[max(filter(path.startswith, BODY_LIMITS), key=len)]


def too_large(limit: int) -> str:
    """The sentence of an answer to a larger request."""
    return f"the request is larger than {limit // 1_000_000:,} MB"


class BodyMiddleware:
    """Answers requests with too large or unstorable bodies itself, before a route sees them.

    A body is read up to its limit and no further. Plain ASGI.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with an error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await _error(422, UNSTORABLE)(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length")
        if length is None and "transfer-encoding" not in headers:
            await self.app(scope, receive, send)
            return
        limit = body_limit(scope["path"])
        if length is not None and not (length.isdecimal() and int(length) <= limit):
            await _error(413, too_large(limit))(scope, receive, send)
            return
        content_type = headers.get("content-type", "")
        if content_type.startswith("multipart/"):  # files, which no page sends
            await _error(415, "multipart forms are not supported")(scope, receive, send)
            return
        if scope["path"] == _STREAMED:
            await self.app(scope, receive, send)
            return
        body = await _read(receive, limit)
        if body is None:
            await _error(413, too_large(limit))(scope, receive, send)
        elif not _is_storable(body, is_form="urlencoded" in content_type):
            await _error(422, UNSTORABLE)(scope, receive, send)
        else:
            await self.app(scope, _replay(body, receive), send)


async def _read(receive: Receive, limit: int) -> bytes | None:
    """The body of a request; None as soon as it is larger than `limit`."""
    chunks, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client has gone
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receive the body, and then what else the client does."""
    is_sent = False

    async def receive_again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _is_storable(body: bytes, *, is_form: bool = False) -> bool:
    r"""Whether no text of a JSON document or form has a NUL character or half a surrogate pair.

    >>> _is_storable(rb'"a \u00e9 \ud83d\ude00"'), _is_storable(rb'["\u0000"]')
    (True, False)
    """
    if b"\0" in body or (is_form and b"%00" in body):
        return False
    if not _SUSPECT_ESCAPE.search(body):
        return True
    try:
        waiting: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return True  # no JSON; the route says so
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and _UNSTORABLE.search(value):
            return False
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
    return True


def _error(status: int, message: str) -> JSONResponse:
    # Closed, since the rest of the body is not read.
    return JSONResponse({"error": message}, status, {"connection": "close"})
