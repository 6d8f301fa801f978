"""Pictures a second of a captioner: decoded ahead of the model, against one step after the other.

The model is small and random, so that reading pictures takes about as long as looking at them; on a
GPU `LSKD_BENCH_CAPTIONER=Salesforce/blip2-opt-2.7b` measures a real one.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
from table import row
from transformers import Blip2Processor, BlipImageProcessorPil

from blip2.model import tiny
from db.schema import Image, Source
from db.store.session import Store
from generation.verbalize.describers.captions import Captions
from generation.verbalize.run import described, here, prepare
from generation.verbalize.settings import CaptionSettings, ModelSettings

PICTURES, SIZE = 96, (1600, 1200)
ROUNDS = 3


def fill(store: Store, folder: Path) -> None:
    """Photographs' like: smooth noise, as JPEG."""
    rng = np.random.default_rng(0)
    with store.write() as session:
        session.add(Source(id=1, name="s", root=str(folder)))
        session.flush()
        for n in range(PICTURES):
            small = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
            PIL.Image.fromarray(small).resize(SIZE).save(folder / f"{n}.jpg")
            session.add(Image(source_id=1, name=f"{n}.jpg", width=SIZE[0], height=SIZE[1]))


def captioner(folder: Path) -> ModelSettings:
    """The model that is named, or a small one from a config."""
    if name := os.environ.get("LSKD_BENCH_CAPTIONER"):
        return ModelSettings(name)
    words = tiny.train_tokenizer(["a photograph of something"])
    tiny.tiny_blip2(words, seed=0).save_pretrained(folder)
    size = {"height": tiny.IMAGE_SIZE, "width": tiny.IMAGE_SIZE}
    Blip2Processor(BlipImageProcessorPil(size=size), words, num_query_tokens=8).save_pretrained(
        folder
    )
    return ModelSettings(str(folder), batch_size=8)


def main() -> None:
    """Print one row."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(f"sqlite:///{folder}/looking.db")
        fill(store, Path(folder))
        model = captioner(Path(folder) / "model")
        describer = Captions(model, CaptionSettings(views="whole", longest=4))
        ids = range(1, PICTURES + 1)
        batches = [ids[i : i + describer.batch] for i in range(0, PICTURES, describer.batch)]
        described(describer, prepare(store, describer, batches[0]))  # the weights are loaded
        plain, ahead = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for batch in batches:
                described(describer, prepare(store, describer, batch))
            plain.append(time.perf_counter() - start)
            start = time.perf_counter()
            assert sum(done.described for done in here(store, describer, batches)) == PICTURES
            ahead.append(time.perf_counter() - start)
        gain = sorted(p / a for p, a in zip(plain, ahead, strict=True))[ROUNDS // 2]
        row(
            f"a captioner on {PICTURES} pictures of {SIZE[0]}x{SIZE[1]}, {describer.stated()}"
            if "LSKD_BENCH_CAPTIONER" in os.environ
            else f"a small captioner on {PICTURES} pictures of {SIZE[0]}x{SIZE[1]}",
            f"{PICTURES / min(ahead):.0f} pictures/s; {gain:.2f} times as fast as one by one",
            "faster",
        )


if __name__ == "__main__":
    main()
