"""A project whose questions have one answer a region: whether a model looks where it is pointed.

Cuts of the demo's photographs, each with regions that are drawn at random; of each region a triple
says in which quarter of the picture it lies. A share of them says it wrongly, which the key knows.
Texts alone say nothing of which is right.
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
SIDE = 96
"""Of a cut, in pixels: what a tiny model sees."""
_REGIONS = (2, 3)
_HALF = (0.09, 0.14)
"""From a region's middle to its edges, as a share of the side."""


def question(number: int) -> str:
    """What is asked of a region."""
    return f"Where is [{number}]?"


def answer(box: Box) -> str:
    """What is true of a region of a cut."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return ANSWERS[2 * (y > SIDE / 2) + (x > SIDE / 2)]


def create(store: Store, folder: Path, *, images: int, wrong: float, seed: int = 0) -> None:
    """Write the cuts into a folder, and the project into the store, in one transaction.

    Cuts of the last three photographs come last, a quarter of all, and are the test's.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    photographs = _photographs()
    with store.write() as session:
        source = Source(name="planted", root=str(folder.resolve()))
        session.add(source)
        session.flush()
        for n in range(images):
            late = n >= images * 3 // 4
            own = photographs[-3:] if late else photographs[:-3]
            name = f"{n:05}.png"
            _cut(own[n % len(own)], rng).save(folder / name)
            image = _add(session, source, name, wrong, rng)
            session.add(Split(image_id=image.id, part="test" if late else "train"))


def release(session: Session, name: str, triples: Iterable[int]) -> None:
    """A release of these triples, as if a critic had chosen them."""
    run = runs.start(session, "critic", settings={})
    made = Release(name=name, run_id=run.id, threshold=0, simulated=True, created=0)
    session.add(made)
    session.flush()
    rows = [{"release_id": made.id, "triple_id": i, "score": 1.0} for i in triples]
    session.execute(insert(ReleaseTriple), rows)


def _photographs() -> list[PIL.Image.Image]:
    files = sorted(PHOTOGRAPHS.glob("*.json"))
    names = [json.loads(file.read_text("utf-8"))["uri"] for file in files]
    found = [decode(open_image(PACKAGES, n.removeprefix(PACKAGES)), n) for n in names]
    for picture in found:
        picture.thumbnail((8 * SIDE, 8 * SIDE))
    return found


def _cut(picture: PIL.Image.Image, rng: np.random.Generator) -> PIL.Image.Image:
    side = int(rng.integers(min(picture.size) // 2, min(picture.size)))
    x, y = (int(rng.integers(0, length - side + 1)) for length in picture.size)
    return picture.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))


def _add(
    session: Session, source: Source, name: str, wrong: float, rng: np.random.Generator
) -> Image:
    image = Image(source_id=source.id, name=name, width=SIDE, height=SIDE, title=name)
    session.add(image)
    session.flush()
    quarters = rng.permutation(len(ANSWERS))[: rng.integers(_REGIONS[0], _REGIONS[1] + 1)]
    boxes = [_box(int(quarter), rng) for quarter in quarters]
    shown = list(range(len(boxes)))
    session.add_all(
        ImageRegion(image_id=image.id, number=n, x1=x1, y1=y1, x2=x2, y2=y2, label=label)
        for n, ((x1, y1, x2, y2), label) in enumerate(zip(boxes, _labels(boxes), strict=True))
    )
    session.flush()
    for number, box in enumerate(boxes):
        flawed = rng.random() < wrong
        others = [text for text in ANSWERS if text != answer(box)]
        said = others[rng.integers(len(others))] if flawed else answer(box)
        texts = [question(number), said, f"[{number}] is marked there."]
        triple = Triple(
            key=keys.triple_key(("planted", name), texts, shown, "planted"),
            image_id=image.id,
            question=texts[0],
            answer=texts[1],
            rationale=texts[2],
            visible_regions=shown,
            source="planted",
            model="planted",
            prompt_version="1",
        )
        session.add(triple)
        session.flush()
        session.add(AnswerKey(triple_id=triple.id, flaw="wrong_answer" if flawed else None))
    return image


def _labels(boxes: list[Box]) -> list[str]:
    """What is known of each region: where it is."""
    return [answer(box).removeprefix("At the ").removesuffix(".") for box in boxes]


def _box(quarter: int, rng: np.random.Generator) -> Box:
    """A region within a quarter of the picture."""
    x, y = rng.uniform(0.14, 0.42, 2) + 0.5 * np.array([quarter % 2, quarter // 2])
    half = rng.uniform(*_HALF)
    x1, y1, x2, y2 = np.clip([x - half, y - half, x + half, y + half], 0, 1) * SIDE
    return float(x1), float(y1), float(x2), float(y2)
