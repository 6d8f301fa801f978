"""Images per second of a captioner: decoding ahead of the model against decoding in turn.

The model is small and random, so that decoding an image takes about as long as captioning it; on a
GPU, `LSKD_BENCH_CAPTIONER=Salesforce/blip2-opt-2.7b` measures a real one.
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
from generation.verbalize.run import describe_batch, prepare_batch, run_locally
from generation.verbalize.settings import CaptionSettings, ModelSettings

N_IMAGES, SIZE = 96, (1600, 1200)
ROUNDS = 3


def fill(store: Store, folder: Path) -> None:
    """Store images of smooth noise, as JPEG files of a photograph's size."""
    rng = np.random.default_rng(0)
    with store.write() as session:
        session.add(Source(id=1, name="s", root=str(folder)))
        session.flush()
        for n in range(N_IMAGES):
            small = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
            PIL.Image.fromarray(small).resize(SIZE).save(folder / f"{n}.jpg")
            session.add(Image(source_id=1, name=f"{n}.jpg", width=SIZE[0], height=SIZE[1]))


def captioner(folder: Path) -> ModelSettings:
    """Return the model named by the environment, or a small random one."""
    if name := os.environ.get("LSKD_BENCH_CAPTIONER"):
        return ModelSettings(name)
    tokenizer = tiny.train_tokenizer(["a photograph of something"])
    tiny.tiny_blip2(tokenizer, seed=0).save_pretrained(folder)
    size = {"height": tiny.IMAGE_SIZE, "width": tiny.IMAGE_SIZE}
    processor = Blip2Processor(BlipImageProcessorPil(size=size), tokenizer, num_query_tokens=8)
    processor.save_pretrained(folder)
    return ModelSettings(str(folder), batch_size=8)


def main() -> None:
    """Print one row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(f"sqlite:///{folder}/captioning.db")
        fill(store, Path(folder))
        model = captioner(Path(folder) / "model")
        describer = Captions(model, CaptionSettings(views="whole", max_new_tokens=4))
        ids = range(1, N_IMAGES + 1)
        size = describer.batch_size
        batches = [ids[i : i + size] for i in range(0, N_IMAGES, size)]
        describe_batch(describer, prepare_batch(store, describer, batches[0]))  # loads the weights
        in_turn, ahead = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for batch in batches:
                describe_batch(describer, prepare_batch(store, describer, batch))
            in_turn.append(time.perf_counter() - start)
            start = time.perf_counter()
            results = list(run_locally(store, describer, batches))
            ahead.append(time.perf_counter() - start)
            assert sum(len(r.rows) + r.n_empty for r in results) == N_IMAGES
        images = f"{N_IMAGES} pictures of {SIZE[0]}x{SIZE[1]}"
        speedup = sorted(t / a for t, a in zip(in_turn, ahead, strict=True))[ROUNDS // 2]
        row(
            f"a captioner on {images}, {describer.device_summary()}"
            if "LSKD_BENCH_CAPTIONER" in os.environ
            else f"a small captioner on {images}",
            f"{N_IMAGES / min(ahead):.0f} pictures/s; {speedup:.2f} times as fast as one by one",
            "faster",
        )


if __name__ == "__main__":
    main()
