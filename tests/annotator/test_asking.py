"""Asking a student over HTTP: one answer, or as it is written; and what is refused."""

import base64
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pillow

from annotator.web.app import build
from db.store import runs
from db.store.session import Store
from student.settings import TrainSettings
from student.training.train import train
from tests.student.conftest import keep_all

HEADERS = {"x-lskd": "1", "host": "127.0.0.1"}
REGION = {"number": 3, "box": [10, 10, 60, 60]}


def picture(mode: str, width: int, height: int) -> str:
    out = io.BytesIO()
    Pillow.new(mode, (width, height)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


FLAT = picture("1", 8000, 5001)
"""A bit for each of 40 million pixels, in 5 KB."""


@pytest.fixture
def client(demo_store: Store) -> TestClient:
    return TestClient(build(demo_store), headers=HEADERS)


@pytest.mark.parametrize(
    ("asked", "status", "what"),
    [
        ({"image": 1, "regions": [REGION]}, 404, "no student has been trained yet"),
        ({"image": 1, "regions": [REGION], "student": "none"}, 404, "no student run named"),
        ({"data": "data:image/png;base64,AAAA", "regions": [REGION]}, 404, "no student"),
    ],
)
def test_without_the_student_nothing_is_decoded(
    client: TestClient, asked: dict[str, Any], status: int, what: str
) -> None:
    answer = client.post("/api/ask", json=asked)
    assert answer.status_code == status
    assert what in answer.json()["error"]


@pytest.mark.parametrize(
    ("asked", "status", "what"),
    [
        ({"image": 1, "regions": []}, 422, "no region to ask about"),
        ({"image": 99, "regions": []}, 404, "no such image"),
        ({"image": 1, "regions": [{**REGION, "box": [9, 9, 1, 1]}]}, 422, "not a region"),
        ({"image": 1, "regions": [{**REGION, "box": "all"}]}, 422, "box"),
        ({"image": 1, "regions": [{**REGION, "polygons": [[[1, 1]]]}]}, 422, "polygons"),
        ({"data": "data:image/png;base64,AAAA", "regions": [REGION]}, 422, "not a picture"),
        ({"image": 1, "regions": [REGION], "question": "Why [9]?"}, 422, "names region [9]"),
        ({"data": FLAT, "regions": [REGION]}, 422, "smaller than 40 megapixels"),
    ],
)
def test_an_invalid_request_is_answered_in_one_sentence(
    client: TestClient, demo_store: Store, asked: dict[str, Any], status: int, what: str
) -> None:
    with demo_store.write() as session:  # a student, which is not loaded before the checks
        runs.finish(session, runs.start(session, "student", settings={}).id, {})
    answer = client.post("/api/ask", json=asked)
    assert answer.status_code == status
    assert what in answer.json()["error"]
    if what not in {"box", "polygons"}:  # those are refused before the stream begins
        lines = client.post("/api/ask", json={**asked, "stream": True}).text.splitlines()
        assert what in json.loads(lines[-1])["error"]


def test_an_answer_is_sent_whole_or_streamed(client: TestClient, demo_store: Store) -> None:
    keep_all(demo_store)
    run = train(demo_store, TrainSettings(release="all", steps=2, batch_size=8, base_steps=4))
    outline = {**REGION, "polygons": [[[10, 10], [60, 10], [35, 60]]]}
    asked = {"data": picture("RGB", 80, 80), "regions": [outline], "question": "What is [3]?"}
    asked |= {"turns": [["Who is [3]?", "A cook."]], "student": run.name}
    whole = client.post("/api/ask", json=asked).json()
    assert whole["question"] == "What is [3]?"
    assert set(whole) == {"question", "answer", "rationale", "seconds", "confidence"}
    lines = client.post("/api/ask", json={**asked, "stream": True}).text.splitlines()
    told = [json.loads(line) for line in lines]
    assert all("text" in line for line in told[:-1])
    assert told[-1]["answer"] | {"seconds": 0} == whole | {"seconds": 0}


def test_a_cross_site_request_is_refused(client: TestClient) -> None:
    answer = client.post(
        "/api/ask", json={"image": 1, "regions": [REGION]}, headers={"origin": "https://evil.org"}
    )
    assert answer.status_code == 403
