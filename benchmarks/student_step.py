"""A step of the paper's student: batches as they are drawn here, beside LAVIS's way of it.

The same weights and the same triples, of the demo: there every triple has a picture of its own,
texts are padded to 128 tokens, and all is float32. Here a drawing is seen once for all triples that
share it, texts are as long as they are, and a GPU computes in bfloat16. Without a GPU a small tower
is measured; with one ViT-g and BLIP-2's Q-Former, with random weights.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from random_blip2 import large, made, peak, seconds
from sqlalchemy import select
from table import row
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import Blip2ForImageTextRetrieval, Blip2QFormerConfig, Blip2VisionConfig

from blip2.model import tiny
from db.demo import project
from db.schema import Triple
from db.store.session import Store
from student.models.discriminative import Discriminative
from student.models.protocol import Scene
from student.settings import TrainSettings
from student.training.batches import StoreLessons
from student.training.corpus import corpus
from tests import synthetic

PADDED, ROUNDS = 128, 3
SETTINGS = TrainSettings(release="all", kind="discriminative", batch=32, piece=999, model="random")


class AsReleased(Discriminative):
    """Texts are padded to a fixed length, and keys and values made for each text anew."""

    def __init__(self, *made: Any) -> None:  # noqa: ANN401 - as any of its kind
        super().__init__(*made)
        network: Any = self.network
        network.in_halves = lambda work, *texts: work(*texts)
        encoder: Any = self.network.encoder
        read, recite = encoder.read, encoder.recite
        encoder.read = lambda seen, ids, mask, of: read(seen[of], ids, mask)
        encoder.recite = lambda seen, ids, mask, of: recite(seen[of], ids, mask)

    def _ids(self, texts: Sequence[str]) -> Tensor:
        ids = super()._ids(texts)[:, :PADDED]
        return torch.nn.functional.pad(ids, (0, PADDED - ids.shape[1]))


def small(words: int) -> Blip2ForImageTextRetrieval:
    """A tower of twelve layers at the paper's size."""
    vision = Blip2VisionConfig(
        hidden_size=384,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=480,
        patch_size=16,
        initializer_range=0.02,
    )
    qformer = Blip2QFormerConfig(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=4,
        encoder_hidden_size=384,
        vocab_size=words,
        use_qformer_text_input=True,
    )
    return made(vision, qformer)


def batches(store: Store, student: Discriminative, count: int) -> list[list[Scene]]:
    """Batches of the demo as a training draws them."""
    with store.write() as session:
        learn = corpus(session, "all", ["train"])
    lessons = StoreLessons(store, student, learn, SETTINGS)
    return [scenes for scenes, _ in lessons.batches(0, count)]


def alone(scenes: Sequence[Scene]) -> list[Scene]:
    """A picture for each triple."""
    return [replace(one, lessons=(lesson,)) for one in scenes for lesson in one.lessons]


def step(student: Discriminative, scenes: Sequence[Scene]) -> Callable[[], None]:
    """One step: forwards, backwards, and the optimizer."""
    learning = [weight for weight in student.network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5)

    def work() -> None:
        student.network.train()
        optimizer.zero_grad()
        student.losses(student.network, scenes, 0).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return work


def measure(
    store: Store, name: str, model: Callable[[int], Blip2ForImageTextRetrieval], limit: str
) -> None:
    """Both ways side by side; the median ratio."""
    with store.read() as session:
        texts = [f"{t.question} {t.answer} {t.rationale}" for t in session.scalars(select(Triple))]
    words = tiny.train_tokenizer(texts)
    ours = Discriminative(model(len(words)), words, SETTINGS)
    released = AsReleased(ours.network.encoder.model, words, replace(SETTINGS, precision="fp32"))
    drawn = batches(store, ours, ROUNDS)
    seconds(step(ours, drawn[0]))
    pairs, gains = [], []
    for scenes in drawn:
        triples = sum(len(one.lessons) for one in scenes)
        slow, fast = seconds(step(released, alone(scenes))), seconds(step(ours, scenes))
        gains.append(slow / fast)
        pairs.append((triples / slow, triples / fast))
    rates = sorted(pair[1] for pair in pairs)
    pictures = sum(len(scenes) for scenes in drawn) / sum(
        len(one.lessons) for scenes in drawn for one in scenes
    )
    said = (
        f"{rates[ROUNDS // 2]:.1f} triples/s; {sorted(gains)[ROUNDS // 2]:.1f} times as fast as"
        f" LAVIS's way; {pictures:.2f} pictures a triple"
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        with FlopCounterMode(display=False) as counter:
            step(ours, drawn[0])()
        fastest = min(seconds(step(ours, drawn[0])) for _ in range(3))
        share = counter.get_total_flops() / fastest / peak()
        gib = torch.cuda.max_memory_allocated() / 2**30
        said += f"; {share:.2f} of the matrix peak, {gib:.1f} GiB"
    row(name, said, limit)


def main() -> None:
    """Print the rows; that of a GPU where there is one."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(f"sqlite:///{Path(folder) / 'store.db'}")
        project.create(store)
        with store.write() as session:
            synthetic.release(session, "all", session.scalars(select(Triple.id)))
        if torch.cuda.is_available():
            measure(store, "a student's step, ViT-g on a GPU", large, "5 times")
        else:
            measure(store, "a student's step, small tower on two cores", small, "2 times")
        store.close()


if __name__ == "__main__":
    main()
