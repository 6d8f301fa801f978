"""Sources of images: a source is a place, and a place that has moved can be re-pointed."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.images import locations
from db.images.image_files import Header, Inspection, missing_place
from db.images.orientation import UPRIGHT
from db.images.upright import make_upright
from db.schema import Image, Source
from db.store import queries
from db.store.session import Store
from db.transfer.picture_check import inspect_all
from regions.errors import ConflictError, NotFoundError, UserError
from regions.progress import Progress, no_progress

_EXAMPLES = 3
"""Images that a message names."""
_HINT = "see `lskd sources list`"


@dataclass(frozen=True, slots=True)
class SourceItem:
    """A source, its place, and whether that exists; a remote one is assumed to."""

    name: str
    place: str
    images: int
    present: bool


@dataclass(slots=True)
class SourceCheck:
    """Images of a source by what their files at a place are."""

    source: str
    place: str
    images: int = 0
    same_digest: int = 0
    """Files with the digest of the stored image."""
    same_size: int = 0
    """Files of images without a stored digest, which have the stored size in pixels."""
    turned: int = 0
    """Images of an earlier version whose size and regions are now upright."""
    missing: int = 0
    different: int = 0
    """Files that hold another picture than the one imported."""
    damaged: int = 0
    problems: dict[str, int] = field(default_factory=dict)
    """Images by what is wrong, with the first of them."""


def source_name(session: Session, root: str, name: str) -> str:
    """Return the source for an import from a place; `name` is empty if none was given.

    Without a name it is the source of this place, or a new one named after the folder; if another
    place that still exists has that name, it gets a number. ConflictError, which names both places,
    if the given name is of another place, or if that of the folder is of one that is gone.
    """
    roots = dict(session.execute(select(Source.name, Source.root).order_by(Source.id)).all())
    if name:
        if roots.get(name, root) != root:
            raise _other_place(name, roots[name], root, "choose another --source")
        return name
    default = Path(root).stem
    if roots.get(default) == root:
        return default
    named = next((known for known, place in roots.items() if place == root), None)
    if named is not None:
        return named
    if default in roots and not locations.is_present(roots[default]):
        raise _other_place(default, roots[default], root, "give this one a name by --source")
    number = 2
    unique = default
    while unique in roots:
        unique, number = f"{default}-{number}", number + 1
    return unique


def list_sources(store: Store) -> list[SourceItem]:
    """Return every source with its place and its number of images."""
    with store.read() as session:
        counts = dict(
            session.execute(select(Image.source_id, func.count()).group_by(Image.source_id)).all()
        )
        return [
            SourceItem(s.name, s.root, counts.get(s.id, 0), locations.is_present(s.root))
            for s in session.scalars(select(Source).order_by(Source.id))
        ]


def check_source(store: Store, name: str, progress: Progress = no_progress) -> SourceCheck:
    """Decode every image of a source, and complete what earlier versions did not store.

    NotFoundError for an unknown source, and if its place does not exist.
    """
    with store.read() as session:
        source = queries.by_name(session, Source, name, hint=_HINT)
        if not locations.is_present(source.root):
            raise missing_place(source)
        place = source.root
    check, inspections = _compare(store, name, place, progress)
    with store.write() as session:
        check.turned = _complete(session, inspections)
    return check


def move_source(
    store: Store,
    name: str,
    place: str,
    *,
    allow_missing: bool = False,
    progress: Progress = no_progress,
) -> SourceCheck:
    """Re-point a source to the place to which its images have moved.

    Every image is compared by its digest, or by its size if an import did not read it.
    ConflictError if a file there is another picture or damaged, or, without `allow_missing`,
    missing; then nothing is changed.
    """
    root = locations.check(place)
    with store.read() as session:
        source = queries.by_name(session, Source, name, hint=_HINT)
        other = session.scalar(
            select(Source.name).where(Source.root == root, Source.id != source.id)
        )
        if other is not None:
            raise ConflictError(f"this place is the source {other} already", where=root)
    check, inspections = _compare(store, name, root, progress)
    if check.different or check.damaged or (check.missing and not allow_missing):
        raise _not_the_same(check)
    if check.images and check.missing == check.images:
        raise NotFoundError("none of the images is there", where=root, hint="check the place")
    with store.write() as session:
        queries.by_name(session, Source, name).root = root
        check.turned = _complete(session, inspections)
    return check


def relocate(store: Store, former_folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """Look for the sources of a restored store whose places are missing here.

    A source is re-pointed if its images, all of them and the same, are at the same place relative
    to the store's folder. Returns the new places of these sources, and of others what is wrong.
    """
    found: dict[str, str] = {}
    absent: dict[str, str] = {}
    for source in list_sources(store):
        if source.present:
            continue
        absent[source.name] = (
            f"{source.place} is missing: run `lskd sources move {source.name} NEW-PLACE`"
        )
        if not former_folder:
            continue
        relative = os.path.relpath(source.place, former_folder)
        candidate = os.path.normpath(store.folder.resolve() / relative)
        try:
            move_source(store, source.name, candidate)
        except UserError:
            continue
        del absent[source.name]
        found[source.name] = candidate
    return found, absent


def _not_the_same(check: SourceCheck) -> ConflictError:
    examples = ", ".join(list(check.problems)[:_EXAMPLES])
    hint = "nothing was changed; choose the folder with the same files"
    if check.missing and not check.different and not check.damaged:
        hint += ", or use --allow-missing"
    return ConflictError(
        f"of {check.images} images {check.different} are different, {check.damaged} damaged and"
        f" {check.missing} missing: {examples}",
        where=check.place,
        hint=hint,
    )


def _other_place(name: str, known: str, root: str, otherwise: str) -> ConflictError:
    return ConflictError(
        f"the source {name} is another place: {known}, not {root}",
        hint=f"run `lskd sources move {name} {root}` if it has moved, or {otherwise}",
    )


def _compare(
    store: Store, name: str, root: str, progress: Progress
) -> tuple[SourceCheck, dict[int, Inspection]]:
    """Compare all images of a source with the files at a place; return inspections by image id.

    These are only of images that an import or an earlier version did not read completely.
    """
    with store.read() as session:
        images = session.scalars(
            select(Image).join(Source).where(Source.name == name).order_by(Image.id)
        ).all()
    check = SourceCheck(name, root, images=len(images))
    problems: Counter[str] = Counter()
    inspections: dict[int, Inspection] = {}
    results = inspect_all(root, [image.name for image in images])
    for done, (image, (_, result)) in enumerate(zip(images, results, strict=True), 1):
        if isinstance(result, Inspection):
            problem = _add(check, image, result)
            if image.digest is None and not problem:
                inspections[image.id] = result
        else:
            problem = result.problem
            if isinstance(result, NotFoundError):
                check.missing += 1
            else:
                check.damaged += 1
        if problem:
            problems[f"{image.name}: {problem}"] += 1
        progress(done, len(images))
    check.problems = dict(problems)
    return check, inspections


def _add(check: SourceCheck, image: Image, inspection: Inspection) -> str | None:
    """Count an image; return in what its file differs, if it does."""
    header = inspection.header
    if image.digest is not None:
        if image.digest == inspection.digest:
            check.same_digest += 1
            return None
        check.different += 1
        return "another file"
    if (image.width, image.height) == _expected_size(image, header):
        check.same_size += 1
        return None
    check.different += 1
    width, height = header.size
    return f"{width}x{height} pixels instead of {image.width}x{image.height}"


def _expected_size(image: Image, header: Header) -> tuple[int, int]:
    return header.stored_size if image.orientation is None else header.size


def _complete(session: Session, inspections: dict[int, Inspection]) -> int:
    """Store digests and turn images of earlier versions upright; return how many were turned."""
    turned = 0
    for image_id, inspection in inspections.items():
        image = session.get_one(Image, image_id)
        image.digest, image.dhash = inspection.digest, inspection.dhash
        image.file_bytes = inspection.file_bytes
        session.flush()
        if image.orientation is None:
            make_upright(session.connection(), image_id, inspection.header)
            session.expire(image)
            turned += inspection.header.orientation != UPRIGHT
    return turned
