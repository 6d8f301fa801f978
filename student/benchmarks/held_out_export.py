"""Export of held-out triples as a benchmark: accepted triples on test images, with four choices.

A triple is accepted if people accept it or, without votes, if the release has it. The distractors
are answers of other triples, first of the same image if those are about other regions. References
in them are renumbered to regions that are shown, so that they do not give the answer away.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from regions.errors import InvalidError, NotFoundError, UserError
from regions.geometry import Region
from student.benchmarks.held_out import FILE, IMAGES
from student.training.corpus import accepted_and_rejected, check_images_exist

DISTRACTORS = 3
_SAMPLED = 50
"""Triples of other images that are considered for an item."""
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class HeldOutExport:
    """What was written."""

    folder: str
    items: int
    images: int
    skipped: dict[str, int]
    """Number of triples that are no items, by reason."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The fields of a triple that are needed for choices."""

    id: int
    image_id: int
    question: str
    answer: str
    visible_regions: tuple[int, ...]
    mentioned: tuple[int, ...]
    """Regions that its texts refer to."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A question with its choices, in the numbers of the image."""

    triple: _Candidate
    choices: list[str]
    right: int


def export_held_out(store: Store, release_name: str, out: Path, *, seed: int = 0) -> HeldOutExport:
    """Write the benchmark's folder, whole or not at all.

    UserError if the folder exists, an image is missing, or there are too few accepted triples on
    test images.
    """
    check_replaceable(out)
    with store.write() as session:
        runs.split(session)
        session.flush()
        release = queries.by_name(session, Release, release_name)
        accepted, _ = accepted_and_rejected(session, release, "test")
        candidates = _load_candidates(session, accepted)
        check_images_exist(session, np.unique([c.image_id for c in candidates]))
    skipped: Counter[str] = Counter()
    items = list(_make_items(candidates, np.random.default_rng(seed), skipped))
    if not items:
        raise InvalidError(
            f"only {len(candidates)} triples on test images are accepted: too few for choices",
            hint="release more, with a lower threshold, or let people vote",
        )
    with atomic_folder(out) as new:
        (new / IMAGES).mkdir()
        written = _write_files(store, items, new, skipped)
    images = len({item.triple.image_id for item in written})
    return HeldOutExport(str(out), len(written), images, dict(skipped))


def _load_candidates(session: Session, ids: Sequence[int]) -> list[_Candidate]:
    candidates = []
    for start in range(0, len(ids), _CHUNK):
        chunk = Triple.id.in_(ids[start : start + _CHUNK])
        for row in session.scalars(select(Triple).where(chunk).order_by(Triple.id)):
            text = f"{row.question} {row.answer} {row.rationale}"
            candidates.append(
                _Candidate(
                    row.id,
                    row.image_id,
                    row.question,
                    row.answer,
                    tuple(row.visible_regions),
                    tuple(sorted(references.mentioned(text))),
                )
            )
    return candidates


def _make_items(
    candidates: Sequence[_Candidate], rng: np.random.Generator, skipped: Counter[str]
) -> Iterator[_Item]:
    by_image: defaultdict[int, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_image[candidate.image_id].append(candidate)
    for triple in candidates:
        same_image = by_image[triple.image_id]
        order = rng.permutation(len(same_image))
        near = [same_image[n] for n in order if _is_about_others(triple, same_image[n])]
        sampled = [candidates[n] for n in rng.integers(len(candidates), size=_SAMPLED)]
        far = (other for other in sampled if other.image_id != triple.image_id)
        choices: list[str] = []
        for other in [*near, *far]:
            text = _renumbered_answer(other, triple, rng)
            if text is not None and text not in (triple.answer, *choices):
                choices.append(text)
            if len(choices) == DISTRACTORS:
                break
        if len(choices) < DISTRACTORS:
            skipped["too few other answers"] += 1
            continue
        right = int(rng.integers(DISTRACTORS + 1))
        choices.insert(right, triple.answer)
        yield _Item(triple, choices, right)


def _is_about_others(triple: _Candidate, other: _Candidate) -> bool:
    """Whether another triple of the same image has another question about other regions."""
    return triple.question != other.question and not set(triple.mentioned) & set(other.mentioned)


def _renumbered_answer(
    other: _Candidate, triple: _Candidate, rng: np.random.Generator
) -> str | None:
    """Another triple's answer, referring to regions that `triple` shows; None if they are too few.

    >>> rng = np.random.default_rng(0)
    >>> triple = _Candidate(1, 1, "What is [4]?", "A lamp.", (4,), (4,))
    >>> other = _Candidate(2, 2, "Who is [0]?", "[0] is a cook.", (0,), (0,))
    >>> _renumbered_answer(other, triple, rng)
    '[4] is a cook.'
    """
    mentioned = references.mentioned(other.answer)
    if other.image_id == triple.image_id and set(mentioned) <= set(triple.visible_regions):
        return other.answer
    if len(mentioned) > len(triple.visible_regions):
        return None
    shown = (int(n) for n in rng.permutation(triple.visible_regions))
    return references.renumber(other.answer, dict(zip(mentioned, shown, strict=False)))


def _write_files(
    store: Store, items: Sequence[_Item], folder: Path, skipped: Counter[str]
) -> list[_Item]:
    """Copy the images, and write a row per item with the image's name and regions.

    Returns the items whose image can be read. UserError if there is none.
    """
    names: dict[int, str] = {}
    regions: dict[int, dict[int, Region]] = {}
    with store.read() as session:
        for image_id in dict.fromkeys(item.triple.image_id for item in items):
            image = session.get_one(Image, image_id)
            try:
                content, suffix = image_files.upright_file(image)
            except UserError as error:
                skipped[str(error)] += sum(item.triple.image_id == image_id for item in items)
                continue
            names[image_id] = f"{image_id}{suffix}"
            (folder / IMAGES / names[image_id]).write_bytes(content)
            rows = queries.regions_by_image(session, [image_id])[image_id]
            regions[image_id] = {region.number: region for region in rows}
    written = [item for item in items if item.triple.image_id in names]
    if not written:
        raise NotFoundError(f"no image can be read: {list(skipped)[-1]}")
    with (folder / FILE).open("w", encoding="utf-8") as out:
        for item in written:
            by_number = regions[item.triple.image_id]
            row: dict[str, Any] = {
                "key": str(item.triple.id),
                "image": names[item.triple.image_id],
                "question": item.triple.question,
                "choices": item.choices,
                "right": item.right,
                "regions": [
                    {"number": n, "box": by_number[n].box, "polygons": by_number[n].polygons}
                    for n in item.triple.visible_regions
                ],
            }
            out.write(json_lines.to_line(row))
    return written
