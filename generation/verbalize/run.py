"""Runs a describer over all images; every text is stored once, so a stopped run can be resumed.

Images are decoded in other threads, ahead of the model. Each batch of images is one transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import PIL.Image
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.images import image_files
from db.parallel.prefetch import prefetch
from db.schema import Image, Run, Verbalization
from db.store import keys, queries, runs
from db.store.results import to_json
from db.store.session import Store
from db.store.upsert import dialect_insert
from generation.tasks.context import open_questions
from generation.verbalize.protocol import Describer, DescriberInput, Target
from regions.errors import UserError
from regions.geometry import Region
from regions.progress import Progress, no_progress

_PREFETCH = 3
"""Batches that are decoded ahead of the model."""
_THREADS = 2
_MAX_VERSION = 40
"""Characters."""

Row = dict[str, Any]
"""A row of `verbalizations` without its run."""


@dataclass(slots=True)
class BatchResult:
    """The texts about a batch of images, and the images that cannot be read."""

    rows: list[Row] = field(default_factory=list)
    n_empty: int = 0
    """Targets for which the model wrote nothing."""
    unreadable: list[str] = field(default_factory=list)
    """Errors, one per image."""


@dataclass(frozen=True, slots=True)
class VerbalizeResults:
    """Results of a run, as stored in `runs.results`."""

    images: int
    texts: int
    """New texts."""
    empty_texts: int
    """Targets for which the model wrote nothing."""
    unreadable_images: int
    unreadable_example: str | None
    """The error of one of the unreadable images."""


BatchRunner = Callable[[Store, Describer, Sequence[Sequence[int]]], Iterator[BatchResult]]
"""Describes batches of image ids, in order: in this process, or on a cluster."""


def verbalize(
    store: Store,
    describer: Describer,
    *,
    run_batches: "BatchRunner | None" = None,
    progress: Progress = no_progress,
) -> Run:
    """Store a text for every target of every image that has none; the run with its results.

    UserError if the store has images and none of them can be read.
    """
    with store.write() as session:
        image_ids = session.scalars(select(Image.id).order_by(Image.id)).all()
        run_id = runs.start(
            session,
            "verbalize",
            settings={"model": describer.model, "version": describer.version},
            fingerprint=keys.fingerprint(image_ids),
        ).id
    size = describer.batch_size
    batches = [image_ids[start : start + size] for start in range(0, len(image_ids), size)]
    results = (run_batches or run_locally)(store, describer, batches)
    n_texts = n_empty = n_done = 0
    unreadable: list[str] = []
    with runs.mark_failed_on_error(store, run_id):
        for batch, result in zip(batches, results, strict=True):
            with store.write() as session:
                n_texts += _insert(session, result.rows, run_id)
            n_empty += result.n_empty
            unreadable += result.unreadable
            n_done += len(batch)
            progress(n_done, len(image_ids))
        if image_ids and len(unreadable) == len(image_ids):
            raise UserError(f"no image can be read: {unreadable[0]}")
    totals = VerbalizeResults(
        images=len(image_ids),
        texts=n_texts,
        empty_texts=n_empty,
        unreadable_images=len(unreadable),
        unreadable_example=unreadable[0] if unreadable else None,
    )
    with store.write() as session:
        runs.finish(session, run_id, to_json(totals))
        return session.get_one(Run, run_id)


def run_locally(
    store: Store, describer: Describer, batches: Sequence[Sequence[int]]
) -> Iterator[BatchResult]:
    """Describe batches in this process, decoding the images of the next ones ahead."""
    calls = (partial(prepare_batch, store, describer, batch) for batch in batches)
    for batch in prefetch(calls, threads=_THREADS, limit=_PREFETCH):
        yield describe_batch(describer, batch)


@dataclass(slots=True)
class PreparedBatch:
    """Images with pending targets, decoded, and the images that cannot be read."""

    items: list[DescriberInput] = field(default_factory=list)
    images: list[PIL.Image.Image] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def prepare_batch(store: Store, describer: Describer, image_ids: Sequence[int]) -> PreparedBatch:
    """Load those of the images that have pending targets; decode them if the describer needs it."""
    with store.read() as session:
        records = session.scalars(
            select(Image).where(Image.id.in_(image_ids)).order_by(Image.id)
        ).all()
        regions = queries.regions_by_image(session, image_ids)
        texts = queries.verbalizations_by_image(session, image_ids)
    batch = PreparedBatch()
    for record in records:
        item = _input(describer, record, regions[record.id], texts[record.id])
        if not item.pending:
            continue
        if describer.needs_image:
            try:
                batch.images.append(image_files.load(record))
            except UserError as error:
                batch.unreadable.append(str(error))
                continue
        batch.items.append(item)
    return batch


def describe_batch(describer: Describer, batch: PreparedBatch) -> BatchResult:
    """Return the describer's texts about a batch."""
    result = BatchResult(unreadable=batch.unreadable)
    if not batch.items:
        return result
    all_texts = describer.describe(batch.items, batch.images)
    for item, texts in zip(batch.items, all_texts, strict=True):
        written = {target: text for target, text in texts.items() if text}
        result.n_empty += len(item.pending) - len(written)
        result.rows += [_row(describer, item, target, text) for target, text in written.items()]
    return result


def _input(
    describer: Describer, image: Image, regions: Sequence[Region], texts: Sequence[Verbalization]
) -> DescriberInput:
    item = DescriberInput(image.id, image.width, image.height, regions, open_questions(texts))
    stored = {
        Target(
            text.kind,
            text.region_number,
            text.text if text.kind == "question" else "",
            text.version.removeprefix(describer.version).removeprefix("-"),
        )
        for text in texts
        if text.model == describer.model and text.version.startswith(describer.version)
    }
    pending = [target for target in describer.targets(item) if target not in stored]
    return replace(item, pending=pending)


def _row(describer: Describer, item: DescriberInput, target: Target, text: str) -> Row:
    version = describer.version
    if target.view:
        version = f"{version}-{target.view}"[:_MAX_VERSION]
    question, answer = (target.question, text) if target.kind == "question" else (text, "")
    return {
        "key": keys.digest(
            "verbalization", describer.model, version, item.image_id, target.region, question
        ),
        "image_id": item.image_id,
        "region_number": target.region,
        "kind": target.kind,
        "text": question,
        "answer": answer,
        "model": describer.model,
        "version": version,
    }


def _insert(session: Session, rows: Sequence[Row], run_id: int) -> int:
    """Insert texts that are not stored yet; their number."""
    if not rows:
        return 0
    statement = dialect_insert(session, Verbalization).on_conflict_do_nothing(
        index_elements=["image_id", "key"]
    )
    values = [row | {"run_id": run_id} for row in rows]
    return len(session.scalars(statement.returning(Verbalization.id), values).all())
