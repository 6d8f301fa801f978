"""A release of the demo, and students of every kind on tiny models."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from blip2.model import tiny as tiny_blip2
from db.schema import Triple
from db.store.session import Store
from student.models.chat import Chat
from student.models.discriminative import Discriminative
from student.models.generative import Generative
from student.models.protocol import Trainable
from student.settings import TrainSettings
from tests import synthetic, tiny

TEXTS = [
    "Regions [0] [1]. Question: Why is [0] near [1]? Answer: [0] wants to sit.",
    "Regions [0]. Question: What is [0]? Answer: [0] is a lamp. Rationale: It gives light.",
] * 8
Make = Callable[[], Trainable]


def keep_all(store: Store, name: str = "all") -> None:
    """A release that keeps every triple."""
    with store.write() as session:
        synthetic.release(session, name, session.scalars(select(Triple.id)))


@pytest.fixture
def released(demo_store: Store) -> Store:
    keep_all(demo_store)
    return demo_store


@pytest.fixture(params=["generative", "blip2", "discriminative", "llava", "qwen", "coordinates"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the same student of one kind again and again."""
    kind = str(request.param)
    if kind in {"llava", "qwen", "coordinates"}:
        folder = (tiny.llava if kind == "llava" else tiny.qwen)(tmp_path / "base")
        told = "coordinates" if kind == "coordinates" else "marks"
        settings = TrainSettings(release="all", kind="chat", model=str(folder), told=told)
        return lambda: Chat.named(str(folder), settings)
    words = tiny_blip2.train_tokenizer(TEXTS)
    if kind == "discriminative":
        settings = TrainSettings(release="all", kind=kind)
        model = tiny_blip2.tiny_retrieval
        return lambda: Discriminative.made((model(words, seed=0), words), settings)
    settings = TrainSettings(release="all")
    if kind == "blip2":
        folder = tmp_path / "base"
        tiny_blip2.tiny_blip2(words, seed=0).save_pretrained(folder)
        words.save_pretrained(folder)
        return lambda: Generative.named(str(folder), settings)
    return lambda: Generative.made((tiny_blip2.tiny_instructblip(words, seed=0), words), settings)


@pytest.fixture
def student(make: Make) -> Trainable:
    return make()
