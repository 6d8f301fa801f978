"""Describes every image of the store: each text is stored once, so a stopped run goes on."""

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db import keys, records, runs
from db.schema import Image, Run, Verbalization
from db.session import Store
from generation.verbalize.protocol import Describer

_CHUNK = 500


def verbalize(
    store: Store, describer: Describer, *, progress: Callable[[int, int], None] = lambda *_: None
) -> Run:
    """Let `describer` write about every image; the run's results count images and new texts."""
    with store.write() as session:
        image_ids = session.scalars(select(Image.id).order_by(Image.id)).all()
        run = runs.start(
            session,
            "verbalize",
            settings={"model": describer.model, "version": describer.version},
            fingerprint=keys.fingerprint(image_ids),
        )
        run_id = run.id
    new = 0
    with runs.failing(store, run_id):
        for start in range(0, len(image_ids), _CHUNK):
            with store.write() as session:
                new += _chunk(session, describer, image_ids[start : start + _CHUNK])
            progress(min(start + _CHUNK, len(image_ids)), len(image_ids))
        with store.write() as session:
            runs.finish(session, run_id, {"images": len(image_ids), "texts": new})
    with store.read() as session:
        return session.get_one(Run, run_id)


def _chunk(session: Session, describer: Describer, image_ids: Sequence[int]) -> int:
    found = records.regions_of(session, image_ids)
    images = session.scalars(select(Image).where(Image.id.in_(image_ids)).order_by(Image.id))
    made_by = describer.model, describer.version
    rows = [
        {
            "key": keys.digest("verbalization", *made_by, image.id, text.region, text.text),
            "image_id": image.id,
            "region_number": text.region,
            "kind": text.kind,
            "text": text.text,
            "answer": text.answer,
            "model": describer.model,
            "version": describer.version,
        }
        for image in images
        for text in describer.describe(image, found[image.id])
    ]
    if not rows:
        return 0
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insert = dialect.insert(Verbalization).on_conflict_do_nothing(
        index_elements=["image_id", "key"]
    )
    return len(session.scalars(insert.returning(Verbalization.id), rows).all())
