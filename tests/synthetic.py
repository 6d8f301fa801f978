"""A project that shows whether a model looks at the region that a question refers to.

Images are crops of the demo's photographs with random regions. A triple about each region says in
which quarter of the image it lies. A share of the triples are false, as the answer key says; texts
alone do not show which.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
from sqlalchemy import insert
from sqlalchemy.orm import Session

from db.demo.project import PHOTOGRAPHS
from db.images.image_files import decode
from db.images.locations import PACKAGES, open_image
from db.schema import (
    AnswerKey,
    Image,
    ImageRegion,
    Release,
    ReleaseTriple,
    Source,
    Split,
    Triple,
)
from db.store import keys, runs
from db.store.session import Store
from regions.geometry import Box

ANSWERS = ("At the upper left.", "At the upper right.", "At the lower left.", "At the lower right.")
IMAGE_SIZE = 96
"""Side of a crop in pixels: the input size of the tiny models."""
_N_REGIONS = (2, 3)
"""Fewest and most regions of an image."""
_HALF_SIZE = (0.09, 0.14)
"""Smallest and largest half side of a region, as a share of the image's."""


def question(number: int) -> str:
    """Return the question about a region."""
    return f"Where is [{number}]?"


def answer(box: Box) -> str:
    """Return the correct answer about a region."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return ANSWERS[2 * (y > IMAGE_SIZE / 2) + (x > IMAGE_SIZE / 2)]


def create_project(
    store: Store, folder: Path, *, n_images: int, flaw_rate: float, seed: int = 0
) -> None:
    """Write the images to a folder and the project to the store, in one transaction.

    The last quarter of the images is the test part: crops of the last three photographs.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    photographs = _photographs()
    with store.write() as session:
        source = Source(name="planted", root=str(folder.resolve()))
        session.add(source)
        session.flush()
        for n in range(n_images):
            is_test = n >= n_images * 3 // 4
            sources = photographs[-3:] if is_test else photographs[:-3]
            name = f"{n:05}.png"
            _random_crop(sources[n % len(sources)], rng).save(folder / name)
            image = _add_image(session, source, name, flaw_rate, rng)
            session.add(Split(image_id=image.id, part="test" if is_test else "train"))


def add_release(session: Session, name: str, triples: Iterable[int]) -> None:
    """Add a release of these triples."""
    run = runs.start(session, "critic", settings={})
    record = Release(name=name, run_id=run.id, threshold=0, simulated=True, created=0)
    session.add(record)
    session.flush()
    rows = [{"release_id": record.id, "triple_id": i, "score": 1.0} for i in triples]
    session.execute(insert(ReleaseTriple), rows)


def _photographs() -> list[PIL.Image.Image]:
    files = sorted(PHOTOGRAPHS.glob("*.json"))
    names = [json.loads(file.read_text("utf-8"))["uri"] for file in files]
    photographs = [decode(open_image(PACKAGES, n.removeprefix(PACKAGES)), n) for n in names]
    for picture in photographs:
        picture.thumbnail((8 * IMAGE_SIZE, 8 * IMAGE_SIZE))
    return photographs


def _random_crop(picture: PIL.Image.Image, rng: np.random.Generator) -> PIL.Image.Image:
    side = int(rng.integers(min(picture.size) // 2, min(picture.size)))
    x, y = (int(rng.integers(0, length - side + 1)) for length in picture.size)
    return picture.crop((x, y, x + side, y + side)).resize((IMAGE_SIZE, IMAGE_SIZE))


def _add_image(
    session: Session, source: Source, name: str, flaw_rate: float, rng: np.random.Generator
) -> Image:
    image = Image(source_id=source.id, name=name, width=IMAGE_SIZE, height=IMAGE_SIZE, title=name)
    session.add(image)
    session.flush()
    quarters = rng.permutation(len(ANSWERS))[: rng.integers(_N_REGIONS[0], _N_REGIONS[1] + 1)]
    boxes = [_box(int(quarter), rng) for quarter in quarters]
    visible = list(range(len(boxes)))
    session.add_all(
        ImageRegion(image_id=image.id, number=n, x1=x1, y1=y1, x2=x2, y2=y2, label=label)
        for n, ((x1, y1, x2, y2), label) in enumerate(zip(boxes, _labels(boxes), strict=True))
    )
    session.flush()
    for number, box in enumerate(boxes):
        is_flawed = rng.random() < flaw_rate
        others = [text for text in ANSWERS if text != answer(box)]
        stated = others[rng.integers(len(others))] if is_flawed else answer(box)
        texts = [question(number), stated, f"[{number}] is marked there."]
        triple = Triple(
            key=keys.triple_key(("planted", name), texts, visible, "planted"),
            image_id=image.id,
            question=texts[0],
            answer=texts[1],
            rationale=texts[2],
            visible_regions=visible,
            source="planted",
            model="planted",
            prompt_version="1",
        )
        session.add(triple)
        session.flush()
        session.add(AnswerKey(triple_id=triple.id, flaw="wrong_answer" if is_flawed else None))
    return image


def _labels(boxes: list[Box]) -> list[str]:
    """Return the label of each region, which is where it is."""
    return [answer(box).removeprefix("At the ").removesuffix(".") for box in boxes]


def _box(quarter: int, rng: np.random.Generator) -> Box:
    """Return a random box within a quarter of the image."""
    x, y = rng.uniform(0.14, 0.42, 2) + 0.5 * np.array([quarter % 2, quarter // 2])
    half = rng.uniform(*_HALF_SIZE)
    x1, y1, x2, y2 = np.clip([x - half, y - half, x + half, y + half], 0, 1) * IMAGE_SIZE
    return float(x1), float(y1), float(x2), float(y2)
