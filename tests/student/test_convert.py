"""A released checkpoint becomes a student that is asked and learns on; one is published."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Blip2ForImageTextRetrieval

from blip2.model import tiny
from db.store import runs
from db.store.session import Store
from regions.errors import UserError
from student.models import registry
from student.models.discriminative import Discriminative
from student.models.generative import Generative
from student.models.protocol import Ask
from student.publishing.lavis_conversion import convert
from student.publishing.publish import publish
from tests.blip2.test_lavis_checkpoint import as_lavis
from tests.student.scenes import Same, scene, schedule
from tests.tiny import retrieval

SIZE = 150  # twelve patches of twelve, and six pixels that nobody sees


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return retrieval(tmp_path / "base")


@pytest.fixture
def released(base: Path, tmp_path: Path) -> Path:
    """As LSKD released its student: no tower, and what captions beside what matches."""
    model = Blip2ForImageTextRetrieval.from_pretrained(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    state = as_lavis(model.state_dict())
    state = {key: value for key, value in state.items() if not key.startswith("visual_encoder")}
    words = state["Qformer.bert.embeddings.word_embeddings.weight"]
    state |= {
        "Qformer.cls.predictions.decoder.weight": words,
        "Qformer.cls.predictions.bias": torch.randn(len(words)),
        "Qformer.cls.predictions.transform.dense.weight": torch.randn(96, 96),
        "Qformer.cls.predictions.transform.dense.bias": torch.randn(96),
        "Qformer.cls.predictions.transform.LayerNorm.weight": torch.randn(96),
        "Qformer.cls.predictions.transform.LayerNorm.bias": torch.randn(96),
        "temp": torch.tensor(0.05),
    }
    torch.save({"model": state, "epoch": 9}, tmp_path / "student.pth")
    return tmp_path / "student.pth"


def test_a_released_student_ranks_answers_and_learns_on(
    sqlite_store: Store, base: Path, released: Path
) -> None:
    told = convert(sqlite_store, released, str(base), "", SIZE)
    assert told["kind"] == "discriminative"
    folder = runs.folder(sqlite_store, told["run"]) / "student"
    student = registry.load(folder)
    assert isinstance(student, Discriminative)
    assert student.size == (SIZE, SIZE)
    assert float(student.network.coldness.exp()) == pytest.approx(20, rel=1e-4)
    state = torch.load(released, weights_only=True)["model"]
    torch.testing.assert_close(
        student.network.captioner.dense.weight.cpu(),
        state["Qformer.cls.predictions.transform.dense.weight"],
    )
    torch.testing.assert_close(student.network.encoder.model.query_tokens, state["query_tokens"])
    seen = scene(student, 0)
    scores = student.rank([Ask(seen.view, "Is it north?")], [["no.", "south."]])[0]
    assert scores[0] != scores[1]
    student.fit(Same([seen]), schedule(2, []))


def test_one_with_a_language_model_writes(sqlite_store: Store, tmp_path: Path) -> None:
    words = tiny.train_tokenizer(["Is it north? Answer: no. Rationale: it is south."])
    model = tiny.tiny_blip2(words, seed=0)
    model.save_pretrained(tmp_path / "base")
    words.save_pretrained(tmp_path / "base")
    learned = {
        key: value
        for key, value in model.state_dict().items()
        if key.startswith(("query_tokens", "qformer."))
    }
    state = as_lavis(learned)
    state["opt_proj.weight"] = torch.randn_like(model.language_projection.weight)
    state["opt_proj.bias"] = torch.randn_like(model.language_projection.bias)
    torch.save({"model": state}, tmp_path / "opt.pth")
    told = convert(sqlite_store, tmp_path / "opt.pth", str(tmp_path / "base"), "opt", 96)
    assert told["kind"] == "generative"
    student = registry.load(runs.folder(sqlite_store, "opt") / "student")
    assert isinstance(student, Generative)
    torch.testing.assert_close(
        student.network.model.language_projection.bias.cpu(), state["opt_proj.bias"]
    )


def test_a_checkpoint_of_another_model_makes_no_run(
    sqlite_store: Store, base: Path, released: Path, tmp_path: Path
) -> None:
    state = torch.load(released, weights_only=True)["model"]
    torch.save({"model": state | {"query_tokens": torch.zeros(1, 9, 96)}}, tmp_path / "wide.pth")
    with pytest.raises(UserError, match="use the base model that"):
        convert(sqlite_store, tmp_path / "wide.pth", str(base), "", SIZE)
    with sqlite_store.read() as session, pytest.raises(UserError, match="no student has been"):
        runs.newest(session, "student")


class Hub(BaseHTTPRequestHandler):
    """As much of the model hub as an upload needs; keeps what it is sent."""

    committed: list[dict[str, Any]] = []  # noqa: RUF012 - of the test
    refuses = False
    address = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.refuses:
            return self._answer({"error": "this token may not write"}, 403)
        if self.path.endswith("/repos/create"):
            return self._answer({"url": f"{self.address}/me/student", "id": "me/student"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            told = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._answer({"files": told})
        if "/commit/" in self.path:
            self.committed.extend(json.loads(line) for line in body.splitlines())
            where = {"commitUrl": f"{self.address}/me/student/commit/1", "commitOid": "1"}
            return self._answer({"success": True, **where})
        return self._answer({})

    def do_GET(self) -> None:
        self._answer({"id": "me/student", "sha": "0", "siblings": []})

    def _answer(self, told: dict[str, object], status: int = 200) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    Hub.committed.clear()
    Hub.address = address
    yield address
    Hub.refuses = False
    server.shutdown()


def test_a_student_is_published_with_its_card(
    sqlite_store: Store, base: Path, released: Path, tmp_path: Path, hub: str
) -> None:
    assert hub
    convert(sqlite_store, released, str(base), "ours", SIZE)
    told = publish(sqlite_store, None, tmp_path / "out", whole=False, hub="me/student")
    assert "hub" in told
    paths = {one["value"]["path"] for one in Hub.committed if one["key"] == "file"}
    assert {"README.md", "student.json", "learned.safetensors"} <= paths
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "# `ours`" in card
    with pytest.raises(UserError, match="not empty"):
        publish(sqlite_store, None, tmp_path / "out", whole=False, hub=None)
    publish(sqlite_store, None, tmp_path / "whole", whole=True, hub=None)
    assert Blip2ForImageTextRetrieval.from_pretrained(tmp_path / "whole")
    Hub.refuses = True
    with pytest.raises(UserError, match="the hub refuses"):
        publish(sqlite_store, None, tmp_path / "more", whole=False, hub="me/student")
