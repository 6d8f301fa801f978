"""Export a release or instructions to a file, atomically; importing it gives the same records."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.formats import llava, lskd, native
from db.formats.rows import TripleRow
from db.images.orientation import UPRIGHT
from db.labelling.labels import release_labels
from db.schema import Image, Instruction, Release, ReleaseTriple, Triple
from db.store import queries
from db.store.files import atomic_file
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError
from regions.progress import Progress, no_progress

FORMATS = ("lskd", "jsonl")
_CHUNK = 1_000


def export(
    store: Store,
    format_: str,
    release: str,
    out: Path,
    *,
    force: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write a release's triples, highest score first, and return their number.

    UserError for an unknown format or release, and for a file that exists, without `force`.
    """
    if format_ not in FORMATS:
        raise InvalidError(f"unknown format {format_!r}", hint=f"use one of {', '.join(FORMATS)}")
    written = 0

    def lines(session: Session, record: Release) -> Iterator[bytes]:
        nonlocal written
        for row in _rows(session, record, format_):
            yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            written += 1
            progress(written, written)

    with store.read() as session:
        record = queries.by_name(session, Release, release)
        with atomic_file(out, force=force) as file:
            file.writelines(lines(session, record))
    return written


def export_instructions(
    store: Store,
    out: Path,
    *,
    seed: int | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> int:
    """Write all instructions as a LLaVA file and return their number; UserError without any."""
    with store.read() as session:
        count = session.scalar(select(func.count()).select_from(Instruction)) or 0
        if not count:
            hint = "generate some with `lskd generate conversations`"
            raise NotFoundError("no instructions to export", hint=hint)
        with atomic_file(out, force=force) as file:
            file.writelines(llava.to_lines(session, seed=seed, progress=progress))
    return count


def _rows(session: Session, release: Release, format_: str) -> Iterator[dict[str, Any]]:
    run, labels = release.run.name, release_labels(session, release)
    kept = session.execute(
        select(Triple, Image.name, Image.orientation, ReleaseTriple.score)
        .join(ReleaseTriple, ReleaseTriple.triple_id == Triple.id)
        .join(Image, Image.id == Triple.image_id)
        .where(ReleaseTriple.release_id == release.id)
        .order_by(ReleaseTriple.score.desc(), Triple.id)
        .execution_options(yield_per=_CHUNK)
    )
    while chunk := list(islice(kept, _CHUNK)):
        regions = queries.regions_by_image(session, {triple.image_id for triple, *_ in chunk})
        for triple, image, orientation, score in chunk:
            visible = [r for r in regions[triple.image_id] if r.number in triple.visible_regions]
            if format_ == "lskd":
                row = lskd.write(image, visible, _to_row(triple), triple.id, score)
            else:
                row = native.write(
                    image, visible, _to_row(triple), run, score, label=labels.get(triple.id)
                )
            # Of other files, the pixels are upright as they are stored.
            yield row if orientation in {None, UPRIGHT} else row | {"pixels": "upright"}


def _to_row(triple: Triple) -> TripleRow:
    return TripleRow(*(getattr(triple, field) for field in TripleRow.__struct_fields__))
