"""A release of the demo, and students of every kind on tiny models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from blip2.model import tiny as tiny_blip2
from db.schema import Triple
from db.store.session import Store
from student.models.chat import ChatStudent
from student.models.discriminative import DiscriminativeStudent
from student.models.generative import GenerativeStudent
from student.models.protocol import TrainableStudent
from student.settings import TrainSettings
from tests import synthetic, tiny
from tests.student.benchmark_files import Write

TEXTS = [
    "Regions [0] [1]. Question: Why is [0] near [1]? Answer: [0] wants to sit.",
    "Regions [0]. Question: What is [0]? Answer: [0] is a lamp. Rationale: It gives light.",
] * 8
Make = Callable[[], TrainableStudent]


def keep_all(store: Store, name: str = "all") -> None:
    """Create a release with all triples."""
    with store.write() as session:
        synthetic.add_release(session, name, session.scalars(select(Triple.id)))


@pytest.fixture
def released(demo_store: Store) -> Store:
    keep_all(demo_store)
    return demo_store


@pytest.fixture(params=["generative", "blip2", "discriminative", "llava", "qwen", "coordinates"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A function that makes the same untrained student of one kind with each call."""
    kind = str(request.param)
    if kind in {"llava", "qwen", "coordinates"}:
        folder = (tiny.llava if kind == "llava" else tiny.qwen)(tmp_path / "base")
        settings = TrainSettings(
            release="all",
            kind="chat",
            model=str(folder),
            region_input="coordinates" if kind == "coordinates" else "marks",
        )
        return lambda: ChatStudent.from_pretrained(str(folder), settings)
    tokenizer = tiny_blip2.train_tokenizer(TEXTS)
    if kind == "discriminative":
        settings = TrainSettings(release="all", kind=kind)
        return lambda: DiscriminativeStudent.from_tiny_base(
            (tiny_blip2.tiny_retrieval(tokenizer, seed=0), tokenizer), settings
        )
    settings = TrainSettings(release="all")
    if kind == "blip2":
        folder = tmp_path / "base"
        tiny_blip2.tiny_blip2(tokenizer, seed=0).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return lambda: GenerativeStudent.from_pretrained(str(folder), settings)
    return lambda: GenerativeStudent.from_tiny_base(
        (tiny_blip2.tiny_instructblip(tokenizer, seed=0), tokenizer), settings
    )


@pytest.fixture
def student(make: Make) -> TrainableStudent:
    return make()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: Any) -> None:  # noqa: ANN401 - JSON, lines of it, or an image's size
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            Pillow.new("RGB", content).save(file)
        elif name.endswith(".jsonl") or "pope" in name:
            file.write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
        else:
            file.write_text(json.dumps(content), "utf-8")

    return put
