"""Near-duplicates: images whose perceptual hashes differ in few bits, grouped for the split."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.schema import Image, Part, Source, Split
from db.store.session import Store
from regions.errors import InvalidError

_BITS = 64
MAX_DISTANCE = 15
DEFAULT_DISTANCE = 4
_ORDER: tuple[Part, ...] = ("train", "calibration", "test")
"""A group whose images are in several parts goes to the first of these that it has."""


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images that look alike."""

    images: list[str]
    """As SOURCE/NAME, by id."""
    largest_distance: int
    """Most bits in which the hashes of two of them differ."""


@dataclass(frozen=True, slots=True)
class DuplicateReport:
    """Groups of near-duplicates, and what was done about them."""

    compared: int
    """Images with a hash."""
    not_compared: int
    """Images that were imported without being decoded."""
    groups: list[DuplicateGroup]
    moved_to_another_part: int | None = None
    """Images whose part of the split changed; None if the split was left alone."""


def find_duplicates(
    store: Store, *, distance: int = DEFAULT_DISTANCE, same_part: bool = False
) -> DuplicateReport:
    """Group images whose hashes differ in at most `distance` bits, also through other images.

    With `same_part`, the images of a group are kept in one part of the split from now on. A group
    in several parts goes to train if it has images there, which models have seen, else to
    calibration.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise InvalidError(f"--distance must be from 0 to {MAX_DISTANCE} (got {distance})")
    with store.read() as session:
        rows = session.execute(
            select(Image.id, Image.dhash, Source.name, Image.name)
            .join(Source, Source.id == Image.source_id)
            .order_by(Image.id)
        ).all()
    hashes = {image_id: int(dhash, 16) for image_id, dhash, *_ in rows if dhash is not None}
    names = {image_id: f"{source}/{name}" for image_id, _, source, name in rows}
    groups = list(_groups(hashes, distance))
    moved = None
    if same_part:
        with store.write() as session:
            moved = _keep_together(session, groups)
    return DuplicateReport(
        compared=len(hashes),
        not_compared=len(rows) - len(hashes),
        groups=[
            DuplicateGroup([names[i] for i in group], _largest_distance(hashes, group))
            for group in groups
        ],
        moved_to_another_part=moved,
    )


def _groups(hashes: dict[int, int], distance: int) -> Iterator[list[int]]:
    """Yield the connected components of two and more images, each sorted."""
    parent = {image_id: image_id for image_id in hashes}

    def root(image_id: int) -> int:
        while parent[image_id] != image_id:
            parent[image_id] = parent[parent[image_id]]
            image_id = parent[image_id]
        return image_id

    for a, b in _pairs(hashes, distance):
        parent[max(root(a), root(b))] = min(root(a), root(b))
    members: defaultdict[int, list[int]] = defaultdict(list)
    for image_id in sorted(hashes):
        members[root(image_id)].append(image_id)
    yield from (group for group in members.values() if len(group) > 1)


def _pairs(hashes: dict[int, int], distance: int) -> Iterator[tuple[int, int]]:
    """Yield pairs within the distance, each hash once.

    Of `distance` + 1 bands of bits, two such hashes agree in at least one (the pigeonhole
    principle), so that only hashes with an equal band are compared.
    """
    of_hash: dict[int, int] = {}
    for image_id, value in hashes.items():
        if value in of_hash:
            yield of_hash[value], image_id
        else:
            of_hash[value] = image_id
    edges = [_BITS * n // (distance + 1) for n in range(distance + 2)]
    for start, end in pairwise(edges):
        bands: defaultdict[int, list[int]] = defaultdict(list)
        for value in of_hash:
            bands[value >> start & (1 << end - start) - 1].append(value)
        for values in bands.values():
            for a, b in combinations(values, 2):
                if (a ^ b).bit_count() <= distance:
                    yield of_hash[a], of_hash[b]


def _largest_distance(hashes: dict[int, int], group: Sequence[int]) -> int:
    values = sorted({hashes[image_id] for image_id in group})
    return max(((a ^ b).bit_count() for a, b in combinations(values, 2)), default=0)


def _keep_together(session: Session, groups: Sequence[Sequence[int]]) -> int:
    """Store the groups and move images between parts; return how many were moved."""
    moved = 0
    for group in groups:
        session.execute(update(Image).where(Image.id.in_(group)).values(duplicate_group=group[0]))
        splits = session.scalars(select(Split).where(Split.image_id.in_(group))).all()
        part = min((split.part for split in splits), key=_ORDER.index, default=None)
        for split in splits:
            if part is not None and split.part != part:
                split.part, moved = part, moved + 1
    return moved
