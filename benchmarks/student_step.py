"""Speed of a training step of the paper's student, compared with LAVIS's way.

With the same weights and the same triples of the demo: LAVIS encodes an image for each triple, pads
texts to 128 tokens, and computes in float32. Here triples with the same drawing share a pass of it,
texts are padded to the longest, and a GPU computes in bfloat16. Without a GPU a small tower is
measured; with one ViT-g and BLIP-2's Q-Former, with random weights.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from random_blip2 import large_retrieval_model, make_retrieval_model, peak_flops, time_call
from sqlalchemy import select
from table import row
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import Blip2ForImageTextRetrieval, Blip2QFormerConfig, Blip2VisionConfig

from blip2.model import tiny
from db.demo import project
from db.schema import Triple
from db.store.session import Store
from student.models.discriminative import DiscriminativeStudent
from student.models.protocol import ImageExamples
from student.settings import TrainSettings
from student.training.batches import BatchLoader
from student.training.corpus import load_corpus
from tests import synthetic

PADDED, ROUNDS = 128, 3
SETTINGS = TrainSettings(
    release="all", kind="discriminative", batch_size=32, micro_batch_size=999, model="random"
)


class AsReleased(DiscriminativeStudent):
    """Pads texts to a fixed length, and computes an image's keys and values for each text."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - of a `DiscriminativeStudent`
        super().__init__(*arguments)
        network: Any = self.network
        network.by_length = lambda function, *texts: function(*texts)
        encoder: Any = network.encoder
        fuse, causal_forward = encoder.fuse, encoder.causal_forward
        encoder.fuse = lambda embeds, ids, mask, index: fuse(embeds[index], ids, mask)
        encoder.causal_forward = lambda embeds, ids, mask, index: causal_forward(
            embeds[index], ids, mask
        )

    def _token_ids(self, texts: Sequence[str]) -> Tensor:
        ids = super()._token_ids(texts)[:, :PADDED]
        return torch.nn.functional.pad(ids, (0, PADDED - ids.shape[1]))


def small(vocabulary_size: int) -> Blip2ForImageTextRetrieval:
    """A model with a tower of twelve layers, at the paper's image size."""
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
        vocab_size=vocabulary_size,
        use_qformer_text_input=True,
    )
    return make_retrieval_model(vision, qformer)


def make_batches(
    store: Store, student: DiscriminativeStudent, count: int
) -> list[list[ImageExamples]]:
    """Batches of the demo, as in training."""
    with store.write() as session:
        corpus = load_corpus(session, "all", ["train"])
    loader = BatchLoader(store, student, corpus, SETTINGS)
    return [batch for batch, _ in loader.batches(0, count)]


def one_image_per_triple(batch: Sequence[ImageExamples]) -> list[ImageExamples]:
    """The same examples, each with an image of its own."""
    return [replace(group, examples=(example,)) for group in batch for example in group.examples]


def training_step(
    student: DiscriminativeStudent, batch: Sequence[ImageExamples]
) -> Callable[[], None]:
    """A function that takes one step: forward, backward, optimizer."""
    trainable = [weight for weight in student.network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-5)

    def take_step() -> None:
        student.network.train()
        optimizer.zero_grad()
        student.example_losses(student.network, batch, 0).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return take_step


def measure(
    store: Store, name: str, make_model: Callable[[int], Blip2ForImageTextRetrieval], limit: str
) -> None:
    """Print the median speed, and the median ratio of the two ways."""
    with store.read() as session:
        texts = [f"{t.question} {t.answer} {t.rationale}" for t in session.scalars(select(Triple))]
    tokenizer = tiny.train_tokenizer(texts)
    student = DiscriminativeStudent(make_model(len(tokenizer)), tokenizer, SETTINGS)
    as_released = AsReleased(
        student.network.encoder.model, tokenizer, replace(SETTINGS, precision="fp32")
    )
    batches = make_batches(store, student, ROUNDS)
    time_call(training_step(student, batches[0]))
    rates, ratios = [], []
    for batch in batches:
        triples = sum(len(group.examples) for group in batch)
        slow = time_call(training_step(as_released, one_image_per_triple(batch)))
        fast = time_call(training_step(student, batch))
        ratios.append(slow / fast)
        rates.append(triples / fast)
    images = sum(len(batch) for batch in batches)
    images_per_triple = images / sum(len(group.examples) for batch in batches for group in batch)
    measured = (
        f"{sorted(rates)[ROUNDS // 2]:.1f} triples/s; {sorted(ratios)[ROUNDS // 2]:.1f} times as"
        f" fast as LAVIS's way; {images_per_triple:.2f} images per triple"
    )
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        with FlopCounterMode(display=False) as counter:
            training_step(student, batches[0])()
        fastest = min(time_call(training_step(student, batches[0])) for _ in range(3))
        share = counter.get_total_flops() / fastest / peak_flops()
        gib = torch.cuda.max_memory_allocated() / 2**30
        measured += f"; {share:.2f} of the matrix peak, {gib:.1f} GiB"
    row(name, measured, limit)


def main() -> None:
    """Print the row of the GPU, or of the CPU if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(f"sqlite:///{Path(folder) / 'store.db'}")
        project.create(store)
        with store.write() as session:
            synthetic.add_release(session, "all", session.scalars(select(Triple.id)))
        if torch.cuda.is_available():
            measure(
                store,
                "a training step of the student, ViT-g on a GPU",
                large_retrieval_model,
                "5 times",
            )
        else:
            measure(
                store, "a training step of the student, small tower on two cores", small, "2 times"
            )
        store.close()


if __name__ == "__main__":
    main()
