"""Sizes and characters of requests: each excess is one sentence, before a route sees it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from annotator.web.middleware import bodies
from annotator.web.middleware.bodies import BODY_LIMITS, UNSTORABLE, _is_storable, body_limit

Client = Callable[..., TestClient]
CHUNK = b"x" * 65_536


def endless_request(app: FastAPI, path: str, **headers: str) -> tuple[int, dict[str, str], int]:
    """Status and answer to a body that never ends, and how many bytes of it were received."""
    received = 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal received
        received += len(CHUNK)
        return {"type": "http.request", "body": CHUNK, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    named = {"host": "127.0.0.1", "x-lskd": "1", "content-type": "application/json", **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    # In a thread: where browser tests have run, this one has an event loop already.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, app(scope, receive, send)).result()
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body), received


def test_a_body_is_not_read_beyond_its_limit(
    local: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {prefix: max(1_000_000, limit // 100) for prefix, limit in BODY_LIMITS.items()}
    monkeypatch.setattr(bodies, "BODY_LIMITS", limits)
    app: FastAPI = local.app  # type: ignore[assignment]
    for path in ("/api/votes", "/login", "/api/research/imports", "/demo/", "/nowhere"):
        limit = body_limit(path)
        status, answer, received = endless_request(app, path, **{"transfer-encoding": "chunked"})
        sentence = f"the request is larger than {limit // 1_000_000:,} MB"
        assert (status, answer["error"].split(":")[0]) == (413, sentence)
        assert received <= limit + 2 * len(CHUNK)
        declared = endless_request(app, path, **{"content-length": str(limit + 1)})
        assert declared == (413, {"error": sentence}, 0)


def test_a_refused_import_leaves_nothing(
    local: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_LIMITS", {"": 10})

    def rows() -> Iterator[bytes]:
        yield b"{}" * 6

    answer = local.post("/api/research/imports", content=rows())
    assert answer.status_code == 413
    store = local.app.state.store  # type: ignore[attr-defined]
    assert {file.name.split("-")[0] for file in store.folder.iterdir()} == {"store.db"}


def test_somebody_without_access_sends_nothing(signed_in: Client) -> None:
    app: FastAPI = signed_in(None).app  # type: ignore[assignment]
    assert endless_request(app, "/api/votes")[::2] == (401, 0)


def test_files_in_forms_are_refused(local: TestClient) -> None:
    for path in ("/login", "/demo/gradio_api/component_server", "/api/votes"):
        assert local.post(path, files={"a": b"x"}).status_code == 415


# ---- characters

NUL, HALF = "a\0b", "a\ud800b"


TEXTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/api/votes", {"batch": "T", "triple": 1, "decision": "skip", "key": "12345678"}),
    ("POST", "/api/flags", {"triple": 1, "note": "T"}),
    ("PUT", "/api/me/preferences", {"keys": {"T": "x"}}),
    ("PUT", "/api/research/guidelines", {"text": "T"}),
    ("POST", "/api/research/batches", {"name": "T"}),
    ("POST", "/api/admin/invitations", {"role": "annotator", "note": "T"}),
    ("POST", "/api/ask", {"regions": [], "turns": [["T", "x"]]}),
    (
        "POST",
        "/critic/gradio_api/component_server/",
        {"data": {"name": "T"}, "fn_name": "card", "component_id": 1, "session_hash": "x"},
    ),
)


def test_text_that_cannot_be_stored_is_refused(local: TestClient) -> None:
    headers = {"content-type": "application/json"}
    for method, path, body in TEXTS:
        for text in (NUL, HALF, "\udc00\ud800"):
            content = json.dumps(body).replace("T", json.dumps(text)[1:-1])
            answer = local.request(method, path, content=content, headers=headers)
            assert (answer.status_code, answer.json()) == (422, {"error": UNSTORABLE}), path


def test_an_address_with_nul_is_refused(local: TestClient) -> None:
    for path in ("/api/next?batch=a%00b", "/api/words/a%00b", "/images/%00", "/demo/%00"):
        answer = local.get(path)
        assert (answer.status_code, answer.json()) == (422, {"error": UNSTORABLE}), path


def test_no_name_breaks_the_sign_in(local: TestClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for name, status in (("a%00b", 422), ("\0", 422), ("%ED%A0%80", 401), ("%FF", 401)):
        answer = local.post("/login", content=f"name={name}&password=x", headers=headers)
        assert answer.status_code == status, name


def test_a_malformed_document_is_answered_in_one_sentence(local: TestClient) -> None:
    headers = {"content-type": "application/json"}
    for body in (b"{", b"\xff", b'"\xed\xa0\x80"', b"[" * 100_000, b"NaN"):
        answer = local.post("/api/votes", content=body, headers=headers)
        assert answer.status_code in {400, 422}
        assert set(answer.json()) == {"error"}


json_documents = st.recursive(
    st.text(st.characters(exclude_categories=())) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(json_documents, st.booleans())
def test_a_document_is_storable_if_all_its_texts_are(document: object, escaped: bool) -> None:
    try:
        body = json.dumps(document, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair has no bytes
    texts = json.dumps(document, ensure_ascii=False).replace("\\\\", "")
    is_clean = "\\u0000" not in texts and not any("\ud800" <= c <= "\udfff" for c in texts)
    assert _is_storable(body) == is_clean


def test_text_about_escapes_is_stored(local: TestClient) -> None:
    note = r"a literal \u0000 and \ud800, 100%00, and an emoji \N{GRINNING FACE}"
    assert local.post("/api/flags", json={"triple": 1, "note": note}).status_code == 200
    pending = local.get("/api/research/adjudication").json()
    assert pending["triples"][0]["flags"] == [note]
