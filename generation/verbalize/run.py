"""Describes every image of the store: each text is stored once, so a stopped run goes on.

Pictures are read and decoded once, in other threads, ahead of the model. Each batch of images is
one transaction: what is stored has been described whole.
"""

from collections import Counter
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
from db.store.session import Store
from db.store.upsert import dialect_insert
from generation.tasks.context import open_questions
from generation.verbalize.protocol import Describer, Item, Place
from regions.errors import UserError
from regions.marks import draw_scaled
from regions.progress import Progress, no_progress

_AHEAD = 3
"""Batches decoded before the model asks for them."""
_THREADS = 2

Row = dict[str, Any]
"""A verbalization as the store takes it."""


@dataclass
class Done:
    """A batch of images: what was written about them, and what cannot be read."""

    rows: list[Row] = field(default_factory=list)
    described: int = 0
    silent: int = 0
    """Places about which the model wrote nothing."""
    unreadable: list[str] = field(default_factory=list)


Worked = Callable[[Store, Describer, Sequence[Sequence[int]]], Iterator[Done]]
"""Describes batches of images, in their order: here, or on a cluster."""


def verbalize(
    store: Store,
    describer: Describer,
    *,
    work: "Worked | None" = None,
    progress: Progress = no_progress,
) -> Run:
    """Let `describer` write about every image; the run's results count images and new texts.

    UserError where there is no image, or where none can be read.
    """
    with store.write() as session:
        image_ids = session.scalars(select(Image.id).order_by(Image.id)).all()
        run = runs.start(
            session,
            "verbalize",
            settings={"model": describer.model, "version": describer.version},
            fingerprint=keys.fingerprint(image_ids),
        )
        run_id = run.id
    batches = [
        image_ids[start : start + describer.batch]
        for start in range(0, len(image_ids), describer.batch)
    ]
    totals: Counter[str] = Counter()
    unreadable: Counter[str] = Counter()
    seen = 0
    with runs.mark_failed_on_error(store, run_id):
        for batch, done in zip(batches, (work or here)(store, describer, batches), strict=True):
            with store.write() as session:
                totals["texts"] += _insert(session, done.rows, run_id)
            totals += Counter({"described": done.described, "silent": done.silent})
            unreadable.update(done.unreadable)
            seen += len(batch)
            progress(seen, len(image_ids))
        if image_ids and unreadable.total() == len(image_ids):
            raise UserError(f"no picture can be read: {next(iter(unreadable))}")
        results: dict[str, Any] = {"images": len(image_ids), "texts": totals["texts"]}
        if totals["silent"]:
            results["nothing written about"] = totals["silent"]
        if unreadable:
            results["pictures that cannot be read"] = unreadable.total()
            results["for instance"] = next(iter(unreadable))
        with store.write() as session:
            runs.finish(session, run_id, results)
    with store.read() as session:
        return session.get_one(Run, run_id)


def here(store: Store, describer: Describer, batches: Sequence[Sequence[int]]) -> Iterator[Done]:
    """Describe on this machine, one batch after the other, with the next ones decoded ahead."""
    calls = (partial(prepare, store, describer, batch) for batch in batches)
    for prepared in prefetch(calls, threads=_THREADS, limit=_AHEAD):
        yield described(describer, prepared)


@dataclass
class _Prepared:
    """A batch of which the texts are known that are there, and the pictures decoded."""

    items: list[Item] = field(default_factory=list)
    pictures: list[PIL.Image.Image] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def prepare(store: Store, describer: Describer, image_ids: Sequence[int]) -> _Prepared:
    """What is left to be said about these images, with their pictures if the describer sees."""
    with store.read() as session:
        images = session.scalars(
            select(Image).where(Image.id.in_(image_ids)).order_by(Image.id)
        ).all()
        found = queries.regions_by_image(session, image_ids)
        texts = queries.verbalizations_by_image(session, image_ids)
    prepared = _Prepared()
    for image in images:
        item = _item(describer, image, found[image.id], texts[image.id])
        if not item.todo:
            continue
        if describer.sees:
            try:
                prepared.pictures.append(image_files.load(image))
            except UserError as error:
                prepared.unreadable.append(str(error))
                continue
        prepared.items.append(item)
    return prepared


def picture_of(store: Store, image_id: int, side: int) -> str:
    """A picture with all its regions marked, as an address that holds it."""
    with store.read() as session:
        image = session.get_one(Image, image_id)
        regions = queries.regions_by_image(session, [image_id])[image_id]
    return image_files.to_data_url(draw_scaled(image_files.load(image), regions, side))


def described(describer: Describer, prepared: _Prepared) -> Done:
    """What the describer writes about a batch."""
    done = Done(unreadable=prepared.unreadable, described=len(prepared.items))
    if not prepared.items:
        return done
    written = describer.describe(prepared.items, prepared.pictures)
    for item, words in zip(prepared.items, written, strict=True):
        said = {place: text for place, text in words.items() if text}
        done.silent += len(item.todo) - len(said)
        done.rows += [_row(describer, item, place, text) for place, text in said.items()]
    return done


def _item(
    describer: Describer, image: Image, regions: Sequence[Any], texts: Sequence[Verbalization]
) -> Item:
    item = Item(image.id, image.width, image.height, regions, open_questions(texts))
    said = {
        Place(
            text.kind,
            text.region_number,
            text.text if text.kind == "question" else "",
            text.version.removeprefix(describer.version).removeprefix("-"),
        )
        for text in texts
        if text.model == describer.model and text.version.startswith(describer.version)
    }
    return replace(item, todo=[place for place in describer.places(item) if place not in said])


def _row(describer: Describer, item: Item, place: Place, words: str) -> Row:
    version = f"{describer.version}-{place.view}"[:40] if place.view else describer.version
    text, answer = (place.question, words) if place.kind == "question" else (words, "")
    made_by = describer.model, version
    return {
        "key": keys.digest("verbalization", *made_by, item.image_id, place.region, text),
        "image_id": item.image_id,
        "region_number": place.region,
        "kind": place.kind,
        "text": text,
        "answer": answer,
        "model": describer.model,
        "version": version,
    }


def _insert(session: Session, rows: Sequence[Row], run_id: int) -> int:
    if not rows:
        return 0
    new = dialect_insert(session, Verbalization).on_conflict_do_nothing(
        index_elements=["image_id", "key"]
    )
    stored = [row | {"run_id": run_id} for row in rows]
    return len(session.scalars(new.returning(Verbalization.id), stored).all())
