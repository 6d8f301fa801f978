"""Import a file into the store; importing it again changes nothing.

Rows are stored in chunks, each a transaction, so that a stopped import leaves whole chunks and the
same command completes it. With `strict` the file is one transaction, and the first invalid row ends
it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.formats.rows import Frame, ImportContext
from db.images import locations
from db.images.image_files import Inspection
from db.images.locations import NO_PICTURES
from db.schema import RejectedRow, Run
from db.store import runs
from db.store.results import to_json
from db.store.session import Store
from db.transfer.gold_import import GoldWriter
from db.transfer.parsing import FORMATS, WITHOUT_IMAGES, Chunk, parse_file
from db.transfer.picture_check import PictureCheck
from db.transfer.sources import source_name
from db.transfer.store_writer import StoreWriter, reject
from db.transfer.vote_import import VoteWriter
from regions.errors import InvalidError, NotFoundError
from regions.progress import Progress, no_progress

_MAX_REASON_CHARACTERS = 120


@dataclass(slots=True)
class ImportReport:
    """The result of an import."""

    run: str
    rows: int = 0
    new: dict[str, int] = field(default_factory=dict)
    """New records by kind."""
    rejected_rows: int = 0
    rejection_reasons: dict[str, int] = field(default_factory=dict)
    """Rejected rows by field and reason, most frequent first."""
    notes: dict[str, int] = field(default_factory=dict)
    """What was dropped from accepted rows, most frequent first."""

    @property
    def is_failure(self) -> bool:
        """Whether every row was rejected."""
        return self.rejected_rows >= self.rows


def import_file(
    store: Store,
    format_: str,
    file: Path,
    images: Path | str = NO_PICTURES,
    *,
    source: str = "",
    strict: bool = False,
    accept_means: str | None = None,
    boxes: Frame = "stored",
    trust_pictures: bool = False,
    progress: Progress = no_progress,
    picture_progress: Progress = no_progress,
) -> ImportReport:
    """Import `file`; UserError if it cannot be read, or, with `strict`, at its first invalid row.

    Rows that do not say it have their boxes in the stored or the upright pixels, as `boxes` says.
    Every picture is decoded, unless `trust_pictures` is set. `progress` counts bytes of the file,
    `picture_progress` the pictures of each part of it. Without pictures, rows must state the sizes
    of their images, and the default of `source` is the name of the file.
    """
    check_arguments(format_, file, images, accept_means)
    root = locations.check(str(images))
    if root == NO_PICTURES:
        source = source or file.name.partition(".")[0]
    fingerprint = _fingerprint(format_, file)
    with store.write() as session:
        source = source_name(session, root, source)
        context = ImportContext(root, source, accept_means, file.name, boxes)
        settings = {"format": format_, "file": str(file), "source": source, "strict": strict}
        run = runs.start(session, "import", settings=settings, fingerprint=fingerprint)
        writer = _Import(run.id, run.name, format_, strict=strict)
    trust_pictures |= root == NO_PICTURES
    check = None if trust_pictures else PictureCheck(store, root, picture_progress)
    with writer.undo_on_error(store), ExitStack() as stack:
        transaction = stack.enter_context(store.write()) if strict else None
        for parsed in parse_file(format_, file, context):
            # Before the transaction, since decoding takes long and others wait for the lock.
            chunk, inspections = check.accept(parsed.chunk) if check else (parsed.chunk, {})
            with ExitStack() as chunk_stack:
                session = transaction or chunk_stack.enter_context(store.write())
                writer.write(session, context, chunk, inspections)
            progress(parsed.bytes_read, parsed.total_bytes)
        if writer.is_empty:
            raise InvalidError("the file has no rows", where=str(file), hint="check the file")
        stack.close()
        with store.write() as session:
            return writer.finish(session)


def check_arguments(format_: str, file: Path, images: Path | str, accept_means: str | None) -> None:
    """UserError for arguments that are invalid whatever the store holds."""
    if format_ not in FORMATS:
        raise InvalidError(f"unknown format {format_!r}", hint=f"use one of {', '.join(FORMATS)}")
    if not file.is_file() and not (format_ == "visual-genome" and file.is_dir()):
        raise NotFoundError("no such file", where=str(file), hint="check the path")
    if not images and format_ not in WITHOUT_IMAGES:
        raise InvalidError(
            "the images are not named",
            hint="use --images DIR, or --images none: for texts and boxes without pictures",
        )
    locations.check(str(images or NO_PICTURES))
    if accept_means not in {None, "0", "1"}:
        raise InvalidError(f"--accept-means must be 1 or 0 (got {accept_means!r})")


class _Import:
    """A run that stores chunks, and counts for its report."""

    def __init__(self, run_id: int, run_name: str, format_: str, *, strict: bool) -> None:
        self._run_id, self._run_name, self._strict = run_id, run_name, strict
        self._format = format_
        self._writer: StoreWriter | None = None
        self._votes, self._gold = VoteWriter(), GoldWriter()
        self._lines = self._rows = 0
        self._reasons: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()

    @property
    def is_empty(self) -> bool:
        """Whether the file has had neither rows nor rejections so far."""
        return not self._rows

    @contextmanager
    def undo_on_error(self, store: Store) -> Iterator[None]:
        """If the block raises, mark the run failed; delete it if it has stored nothing."""
        try:
            with runs.mark_failed_on_error(store, self._run_id):
                yield
        except BaseException:
            if self._strict or not self._rows:
                with store.write() as session:
                    session.execute(delete(Run).where(Run.id == self._run_id))
            raise

    def write(
        self,
        session: Session,
        context: ImportContext,
        chunk: Chunk,
        inspections: Mapping[str, Inspection],
    ) -> None:
        """Store the rows of a chunk, and the reasons for which others are rejected."""
        if self._writer is None and chunk.rows:
            self._writer = StoreWriter(session, context.source, context.images, self._run_id)
        conflicts = self._votes.write(session, chunk.votes)
        conflicts += self._gold.write(session, chunk.gold)
        if self._writer is not None:
            conflicts += self._writer.write(session, chunk.rows, inspections)
        rejections = [
            structs.replace(rejection, line=rejection.line + self._lines)
            for rejection in sorted([*chunk.rejections, *conflicts])
        ]
        if self._strict and rejections:
            first = rejections[0]
            raise InvalidError(
                f"{first.field}: {first.reason}",
                where=f"line {first.line}",
                hint="fix it, or import without --strict",
            )
        reject(session, self._run_id, rejections)
        self._lines += chunk.lines
        self._rows += len(chunk.rows) + len(chunk.votes) + len(chunk.gold)
        self._rows += len(chunk.rejections)
        self._reasons.update(
            f"{rejection.field}: {rejection.reason}"[:_MAX_REASON_CHARACTERS]
            for rejection in rejections
        )
        self._notes.update(chunk.notes)

    def _new_counts(self) -> dict[str, int]:
        if self._writer is not None:
            return self._writer.new_counts()
        return (self._gold if self._format == "gold" else self._votes).new_counts()

    def _writer_notes(self) -> dict[str, int]:
        return self._writer.notes() if self._writer else {}

    def finish(self, session: Session) -> ImportReport:
        """Mark the run done, or delete it if the same file was imported before and adds nothing."""
        report = ImportReport(
            self._run_name,
            rows=self._rows,
            new=self._new_counts(),
            rejected_rows=self._reasons.total(),
            rejection_reasons=dict(self._reasons.most_common()),
            notes=dict((self._notes + Counter(self._writer_notes())).most_common()),
        )
        run = session.get_one(Run, self._run_id)
        earlier = session.scalar(
            select(Run).where(
                Run.kind == "import",
                Run.status == "done",
                Run.fingerprint == run.fingerprint,
            )
        )
        if earlier is not None and not any(report.new.values()):
            session.execute(delete(RejectedRow).where(RejectedRow.run_id == self._run_id))
            session.delete(run)
            report.run = earlier.name
        else:
            runs.finish(session, self._run_id, to_json(report))
        return report


def _fingerprint(format_: str, path: Path) -> str:
    combined = hashlib.sha256()
    for file in sorted(path.glob("*.json*")) if path.is_dir() else [path]:
        with file.open("rb") as content:
            combined.update(hashlib.file_digest(content, "sha256").digest())
    return format_[:8] + combined.hexdigest()[:32]
