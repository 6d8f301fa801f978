"""A benchmark of a project's own: right triples on test images, with four answers each.

Right is what people accept, and where they said nothing, what a release kept.

Any student is measured on the same items: those trained here, and the baseline. The three others
are answers of other triples, of the same image first where those are about other regions; what they
point at is shown, so that brackets give nothing away.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.images import image_files
from db.schema import Image, Release, Triple
from db.store import json_lines, queries, runs
from db.store.files import atomic_folder, check_replaceable
from db.store.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from student.asking.confidence import sides
from student.benchmarks.held_out import FILE, IMAGES
from student.training.corpus import check_pictures

OTHERS = 3
"""Wrong answers beside the right one."""
_TRIES = 50
"""Triples of other images that are looked at for an item."""
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class _Held:
    """As much of a triple as is needed to choose from."""

    id: int
    image_id: int
    question: str
    answer: str
    shown: tuple[int, ...]
    about: tuple[int, ...]
    """Regions that its texts mention."""


def write(store: Store, release: str, out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Write the folder whole or not at all; how many items, and what was left out.

    UserError for a folder that is there, a missing image, and a release without test images.
    """
    check_replaceable(out)
    with store.write() as session:
        runs.split(session)
        session.flush()
        right, _ = sides(session, queries.by_name(session, Release, release), "test")
        found = _read(session, right)
        check_pictures(session, np.unique([one.image_id for one in found]))
    left_out: Counter[str] = Counter()
    rows = list(_items(found, np.random.default_rng(seed), left_out))
    if not rows:
        raise UserError(
            f"{len(found)} triples on test images are right: too few to choose from",
            hint="release more, with a lower threshold, or let people vote",
        )
    with atomic_folder(out) as folder:
        (folder / IMAGES).mkdir()
        _put(store, rows, folder)
    images = len({row["image"] for row in rows})
    return {"folder": str(out), "items": len(rows), "images": images, "left out": dict(left_out)}


def _read(session: Session, ids: Sequence[int]) -> list[_Held]:
    found = []
    for start in range(0, len(ids), _CHUNK):
        some = select(Triple).where(Triple.id.in_(ids[start : start + _CHUNK])).order_by(Triple.id)
        for row in session.scalars(some):
            texts = f"{row.question} {row.answer} {row.rationale}"
            about = tuple(sorted(references.mentioned(texts)))
            shown = tuple(row.visible_regions)
            found.append(_Held(row.id, row.image_id, row.question, row.answer, shown, about))
    return found


def _items(
    held: Sequence[_Held], rng: np.random.Generator, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Rows of the file, `image` still by its id."""
    by_image: defaultdict[int, list[_Held]] = defaultdict(list)
    for one in held:
        by_image[one.image_id].append(one)
    for one in held:
        alike = by_image[one.image_id]
        near = [alike[n] for n in rng.permutation(len(alike)) if _differs(one, alike[n])]
        far = [held[n] for n in rng.integers(len(held), size=_TRIES)]
        others: list[str] = []
        for other in [*near, *(other for other in far if other.image_id != one.image_id)]:
            text = _shown(other, one, rng)
            if text is not None and text not in (one.answer, *others):
                others.append(text)
            if len(others) == OTHERS:
                break
        if len(others) < OTHERS:
            left_out["too few other answers"] += 1
            continue
        right = int(rng.integers(OTHERS + 1))
        others.insert(right, one.answer)
        yield {
            "key": str(one.id),
            "image": one.image_id,
            "shown": one.shown,
            "question": one.question,
            "choices": others,
            "right": right,
        }


def _differs(one: _Held, other: _Held) -> bool:
    """Whether what is said of the same image is about something else."""
    return one.question != other.question and not set(one.about) & set(other.about)


def _shown(other: _Held, one: _Held, rng: np.random.Generator) -> str | None:
    """Another triple's answer in numbers that are shown here; None where there are too few."""
    pointed = references.mentioned(other.answer)
    if other.image_id == one.image_id and set(pointed) <= set(one.shown):
        return other.answer
    if len(pointed) > len(one.shown):
        return None
    drawn = (int(n) for n in rng.permutation(one.shown))
    return references.renumber(other.answer, dict(zip(pointed, drawn, strict=False)))


def _put(store: Store, rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """The images, and the rows with their names and regions."""
    names: dict[int, str] = {}
    regions: dict[int, dict[int, Region]] = {}
    with store.read() as session:
        for image_id in dict.fromkeys(row["image"] for row in rows):
            image = session.get_one(Image, image_id)
            names[image_id] = f"{image_id}{PurePosixPath(image.name).suffix}"
            (folder / IMAGES / names[image_id]).write_bytes(image_files.read_bytes(image))
            found = queries.regions_by_image(session, [image_id])[image_id]
            regions[image_id] = {region.number: region for region in found}
    with (folder / FILE).open("w", encoding="utf-8") as out:
        for row in rows:
            known, shown = regions[row["image"]], row.pop("shown")
            row["regions"] = [
                {"number": n, "box": known[n].box, "polygons": known[n].polygons} for n in shown
            ]
            row["image"] = names[row["image"]]
            out.write(json_lines.to_line(row))
