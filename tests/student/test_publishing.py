"""Conversion of released checkpoints to students, and publishing of a student."""

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
from student.models.discriminative import DiscriminativeStudent
from student.models.generative import GenerativeStudent
from student.models.protocol import Query
from student.publishing.lavis_conversion import convert
from student.publishing.publish import publish
from student.training.trainer import fit
from tests.blip2.test_lavis_checkpoint import as_lavis
from tests.student.examples import FixedBatches, fit_config, image_examples
from tests.tiny import retrieval

SIZE = 150  # twelve patches of twelve pixels, and six pixels in no patch


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return retrieval(tmp_path / "base")


@pytest.fixture
def released(base: Path, tmp_path: Path) -> Path:
    """Like the student that LSKD released: no vision tower, with a language-modelling head."""
    model = Blip2ForImageTextRetrieval.from_pretrained(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    state = as_lavis(model.state_dict())
    state = {key: value for key, value in state.items() if not key.startswith("visual_encoder")}
    embeddings = state["Qformer.bert.embeddings.word_embeddings.weight"]
    state |= {
        "Qformer.cls.predictions.decoder.weight": embeddings,
        "Qformer.cls.predictions.bias": torch.randn(len(embeddings)),
        "Qformer.cls.predictions.transform.dense.weight": torch.randn(96, 96),
        "Qformer.cls.predictions.transform.dense.bias": torch.randn(96),
        "Qformer.cls.predictions.transform.LayerNorm.weight": torch.randn(96),
        "Qformer.cls.predictions.transform.LayerNorm.bias": torch.randn(96),
        "temp": torch.tensor(0.05),
    }
    torch.save({"model": state, "epoch": 9}, tmp_path / "student.pth")
    return tmp_path / "student.pth"


def test_a_converted_student_ranks_answers_and_is_trained_further(
    sqlite_store: Store, base: Path, released: Path
) -> None:
    result = convert(sqlite_store, released, str(base), "", SIZE)
    assert result.kind == "discriminative"
    folder = runs.folder(sqlite_store, result.run) / "student"
    student = registry.load(folder)
    assert isinstance(student, DiscriminativeStudent)
    assert student.image_size == (SIZE, SIZE)
    assert float(student.network.logit_scale.exp()) == pytest.approx(20, rel=1e-4)
    state = torch.load(released, weights_only=True)["model"]
    torch.testing.assert_close(
        student.network.lm_head.dense.weight.cpu(),
        state["Qformer.cls.predictions.transform.dense.weight"],
    )
    torch.testing.assert_close(student.network.encoder.model.query_tokens, state["query_tokens"])
    group = image_examples(student, 0)
    scores = student.rank([Query(group.view, "Is it north?")], [["no.", "south."]])[0]
    assert scores[0] != scores[1]
    fit(student, FixedBatches([group]), fit_config(2, []))


def test_a_checkpoint_with_a_language_model_becomes_a_generative_student(
    sqlite_store: Store, tmp_path: Path
) -> None:
    tokenizer = tiny.train_tokenizer(["Is it north? Answer: no. Rationale: it is south."])
    model = tiny.tiny_blip2(tokenizer, seed=0)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    trainable = {
        key: value
        for key, value in model.state_dict().items()
        if key.startswith(("query_tokens", "qformer."))
    }
    state = as_lavis(trainable)
    state["opt_proj.weight"] = torch.randn_like(model.language_projection.weight)
    state["opt_proj.bias"] = torch.randn_like(model.language_projection.bias)
    torch.save({"model": state}, tmp_path / "opt.pth")
    result = convert(sqlite_store, tmp_path / "opt.pth", str(tmp_path / "base"), "opt", 96)
    assert result.kind == "generative"
    student = registry.load(runs.folder(sqlite_store, "opt") / "student")
    assert isinstance(student, GenerativeStudent)
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
    """As much of the model hub as an upload needs; records commits."""

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
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self._answer({"files": modes})
        if "/commit/" in self.path:
            self.committed.extend(json.loads(line) for line in body.splitlines())
            commit = {"commitUrl": f"{self.address}/me/student/commit/1", "commitOid": "1"}
            return self._answer({"success": True, **commit})
        return self._answer({})

    def do_GET(self) -> None:
        self._answer({"id": "me/student", "sha": "0", "siblings": []})

    def _answer(self, body: dict[str, object], status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


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


def test_a_student_is_published_with_its_model_card(
    sqlite_store: Store, base: Path, released: Path, tmp_path: Path, hub: str
) -> None:
    assert hub
    convert(sqlite_store, released, str(base), "ours", SIZE)
    result = publish(sqlite_store, None, tmp_path / "out", merged=False, hub="me/student")
    assert result.hub is not None
    paths = {entry["value"]["path"] for entry in Hub.committed if entry["key"] == "file"}
    assert {"README.md", "student.json", "learned.safetensors"} <= paths
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "# `ours`" in card
    with pytest.raises(UserError, match="not empty"):
        publish(sqlite_store, None, tmp_path / "out", merged=False, hub=None)
    publish(sqlite_store, None, tmp_path / "merged", merged=True, hub=None)
    assert Blip2ForImageTextRetrieval.from_pretrained(tmp_path / "merged")
    Hub.refuses = True
    with pytest.raises(UserError, match="the hub refused"):
        publish(sqlite_store, None, tmp_path / "more", merged=False, hub="me/student")
