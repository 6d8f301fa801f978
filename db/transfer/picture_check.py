"""Decode the pictures of an import once, in threads, so that damaged ones never enter the store."""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from sqlalchemy import select

from db.formats.rows import Row, RowRejection
from db.images import image_files, locations
from db.images.image_files import Inspection
from db.parallel.prefetch import prefetch
from db.schema import Image, Source
from db.store.session import Store
from db.transfer.driver_sql import batched
from db.transfer.parsing import Chunk
from regions.errors import UserError
from regions.progress import Progress

_PREFETCH = 64
"""Pictures that are decoded ahead."""


class PictureCheck:
    """Reads every picture of an import once, and keeps the reasons against damaged ones."""

    def __init__(self, store: Store, root: str, progress: Progress) -> None:
        self._store, self._root, self._progress = store, root, progress
        self._reasons: dict[str, str] = {}
        self._known: set[str] = set()
        """Names of pictures that were decoded by this import."""

    def accept(self, chunk: Chunk) -> tuple[Chunk, dict[str, Inspection]]:
        """Return a chunk without the rows of damaged pictures, which it rejects, and inspections.

        These are of the pictures that are new or whose files have changed.
        """
        inspections = self._inspect(
            dict.fromkeys(name for row in chunk.rows for name in _image_names(row))
        )
        rows, rejections = [], []
        for row in chunk.rows:
            damaged = next((name for name in _image_names(row) if name in self._reasons), None)
            if damaged is None:
                rows.append(row)
            else:
                reason = f"{self._reasons[damaged]} ({damaged})"
                rejections.append(RowRejection(row.line, "image", reason))
        rejections += chunk.rejections
        return Chunk(chunk.lines, rows, rejections, chunk.notes), inspections

    def _inspect(self, names: Iterable[str]) -> dict[str, Inspection]:
        new = [name for name in names if name not in self._known]
        self._known.update(new)
        stored = self._stored_bytes(new)
        left = [
            name
            for name in new
            if name not in stored or stored[name] != locations.file_bytes(self._root, name)
        ]
        inspections = {}
        for done, (name, result) in enumerate(inspect_all(self._root, left), 1):
            if isinstance(result, Inspection):
                inspections[name] = result
            else:
                self._reasons[name] = result.problem
            self._progress(done, len(left))
        return inspections

    def _stored_bytes(self, names: Sequence[str]) -> dict[str, int]:
        """Return the file sizes of pictures in the store that were decoded when imported."""
        sizes: dict[str, int] = {}
        with self._store.read() as session:
            for part in batched(names):
                query = (
                    select(Image.name, Image.file_bytes)
                    .join(Source, Source.id == Image.source_id)
                    .where(
                        Source.root == self._root,
                        Image.digest.is_not(None),
                        Image.name.in_(part),
                    )
                )
                sizes |= {name: size for name, size in session.execute(query) if size is not None}
        return sizes


def inspect_all(root: str, names: Sequence[str]) -> Iterator[tuple[str, Inspection | UserError]]:
    """Read and decode pictures in threads; yield each name with its inspection, or its error."""
    calls = (partial(_inspect, root, name) for name in names)
    results = prefetch(calls, threads=os.cpu_count() or 1, limit=_PREFETCH)
    return zip(names, results, strict=True)


def _inspect(root: str, name: str) -> Inspection | UserError:
    try:
        return image_files.inspect(root, name)
    except UserError as error:
        return error


def _image_names(row: Row) -> list[str]:
    return [row.image, *(image.name for image in row.further_images())]
