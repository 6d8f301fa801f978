"""Export a release as a Hugging Face dataset: Parquet files and a data card.

A row is an image with its regions and the triples kept about it, so that each image is written
once. The store's split of the images is the dataset's.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats.data_card import card_lines
from db.images.image_files import upright_file
from db.labelling.labels import Label, release_labels
from db.schema import Image, Part, Release, ReleaseTriple, Split, Triple
from db.store import queries, runs
from db.store.files import atomic_folder
from db.store.session import Store
from regions.errors import NotFoundError, UserError
from regions.progress import Progress

_IMAGES_PER_CHUNK = 32
"""Image files in memory at a time."""


@dataclass(slots=True)
class HfExport:
    """What was written: images and triples of each part, and how many triples were left out."""

    counts: dict[Part, tuple[int, int]] = field(default_factory=dict)
    skipped_triples: Counter[str] = field(default_factory=Counter)
    """Triples about images that cannot be read, by the reason."""

    @property
    def triples(self) -> int:
        """Number of triples of all parts."""
        return sum(triples for _, triples in self.counts.values())


def features() -> Any:  # noqa: ANN401 - datasets ships no types
    """Return the features of the dataset."""
    from datasets import Features, Image, List, Value

    text, number = Value("string"), Value("int32")
    return Features(
        {
            "image": Image(),
            "name": text,
            "source": text,
            "licence": text,
            "regions": List(
                {"number": number, "box": List(Value("float32"), length=4), "label": text}
            ),
            "triples": List(
                {
                    **dict.fromkeys(("question", "answer", "rationale", "kind"), text),
                    "shown": List(number),
                    "score": Value("float32"),
                    "accept": Value("float32"),
                    "accept_low": Value("float32"),
                    "accept_high": Value("float32"),
                    "votes": number,
                    "model": text,
                    "prompt_version": text,
                }
            ),
        }
    )


def export_hf(
    store: Store, release: str, out: Path, *, force: bool = False, progress: Progress
) -> HfExport:
    """Write a folder for `datasets.load_dataset`, atomically.

    Images that cannot be read are left out with their triples. UserError for an unknown release, if
    no image can be read, and for a folder that may not be replaced: without `force` any that is not
    empty, with it any that lskd did not write.
    """
    with store.write() as session:
        runs.split(session)  # also images imported after the last training
    with store.read() as session, atomic_folder(out, force=force) as folder:
        record = queries.by_name(session, Release, release)
        written = _write(session, record, folder, progress)
        (folder / "README.md").write_text(_card(session, record, written), "utf-8")
    return written


def _write(session: Session, release: Release, folder: Path, progress: Progress) -> HfExport:
    """Write a Parquet file per part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types, labels = features(), release_labels(session, release)
    (folder / "data").mkdir()
    kept = (
        select(Triple.image_id)
        .join(ReleaseTriple, ReleaseTriple.triple_id == Triple.id)
        .where(ReleaseTriple.release_id == release.id)
    )
    split = select(Image.id, Split.part).join(Split, Split.image_id == Image.id)
    by_part: dict[Part, list[int]] = {}
    for image_id, part in session.execute(split.where(Image.id.in_(kept)).order_by(Image.id)):
        by_part.setdefault(part, []).append(image_id)
    total, done = sum(map(len, by_part.values())), 0
    written = HfExport()
    for part, image_ids in by_part.items():
        images = triples = 0
        with pq.ParquetWriter(folder / "data" / f"{part}.parquet", types.arrow_schema) as writer:
            for chunk in _chunks(image_ids):
                rows = list(_rows(session, release, chunk, labels, written.skipped_triples))
                images += len(rows)
                triples += sum(len(row["triples"]) for row in rows)
                encoded = [types.encode_example(row) for row in rows]
                writer.write_table(pa.Table.from_pylist(encoded, schema=types.arrow_schema))
                done += len(chunk)
                progress(done, total)
        written.counts[part] = images, triples
    if total and not any(images for images, _ in written.counts.values()):
        raise NotFoundError(f"no image can be read: {next(iter(written.skipped_triples))}")
    return written


def _chunks(image_ids: Sequence[int]) -> Iterator[list[int]]:
    remaining = iter(image_ids)
    while chunk := list(islice(remaining, _IMAGES_PER_CHUNK)):
        yield chunk


def _rows(
    session: Session,
    release: Release,
    image_ids: list[int],
    labels: Mapping[int, Label],
    skipped: Counter[str],
) -> Iterator[dict[str, Any]]:
    """Yield a row per image; triples about unreadable images are counted in `skipped`."""
    regions = queries.regions_by_image(session, image_ids)
    kept: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in image_ids}
    query = (
        select(Triple, ReleaseTriple.score)
        .join(ReleaseTriple, ReleaseTriple.triple_id == Triple.id)
        .where(ReleaseTriple.release_id == release.id, Triple.image_id.in_(image_ids))
        .order_by(ReleaseTriple.score.desc(), Triple.id)
    )
    columns = ("question", "answer", "rationale", "kind", "model", "prompt_version")
    for triple, score in session.execute(query):
        row = {field: getattr(triple, field) for field in columns}
        row |= {"shown": triple.visible_regions, "score": score} | _label(labels.get(triple.id))
        kept[triple.image_id].append(row)
    for image in session.scalars(select(Image).where(Image.id.in_(image_ids)).order_by(Image.id)):
        try:
            content, suffix = upright_file(image)
        except UserError as error:
            skipped[str(error)] += len(kept[image.id])
            continue
        yield {
            "image": {"bytes": content, "path": Path(image.name).with_suffix(suffix).name},
            "name": image.name,
            "source": image.source.name,
            "licence": image.licence,
            "regions": [
                {"number": r.number, "box": list(r.box), "label": r.label}
                for r in regions[image.id]
            ],
            "triples": kept[image.id],
        }


def _label(label: Label | None) -> dict[str, Any]:
    """The label of a triple from votes; None where there is none."""
    if label is None:
        return dict.fromkeys(("accept", "accept_low", "accept_high", "votes"))
    return {
        "accept": label.probability,
        "accept_low": label.low,
        "accept_high": label.high,
        "votes": label.votes,
    }


# ---- the card


def _card(session: Session, release: Release, written: HfExport) -> str:
    counts, skipped = written.counts, written.skipped_triples.total()
    files = [{"split": part, "path": f"data/{part}.parquet"} for part in counts]
    head = {"license": "other", "configs": [{"config_name": "default", "data_files": files}]}
    lines = [
        "---",
        # JSON is valid YAML and escapes any text.
        *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
        "---",
        *card_lines(session, release),
        "",
        "## Files",
        "",
        "A row is an image, its regions (boxes in pixels), and the triples kept about it. Images",
        "are upright.",
        "The licence of each image is in `licence`.",
        "",
        "| part | images | triples |",
        "|---|---|---|",
        *(f"| {part} | {images:,} | {triples:,} |" for part, (images, triples) in counts.items()),
        *(["", f"Left out: {skipped:,} triples about images that cannot be read."] * (skipped > 0)),
        "",
    ]
    return "\n".join(lines)
