"""One file into the store: resumable by chunk, and changing nothing the second time.

Lines are read and checked in other processes, written in this one. Each chunk is a transaction, so
a stopped import leaves whole chunks, and the same command completes it. With `strict` the file is
one transaction and the first bad row ends it.
"""

import gc
import gzip
import hashlib
import os
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.formats import coco, llava, lskd, native, vcr, visual_genome
from db.formats.json_lists import JsonListReader
from db.formats.rows import ImportContext, InvalidRow, Row, RowRejection
from db.images import locations
from db.schema import RejectedRow, Run
from db.store import runs
from db.store.session import Store
from db.transfer.store_writer import StoreWriter
from regions.errors import UserError
from regions.progress import Progress, no_progress

_LINE_READERS = {"lskd": lskd.read, "vcr": vcr.read, "jsonl": native.read}
_LIST_READERS = {"visual-genome": visual_genome.read, "llava": llava.read}
FORMATS = ("lskd", "coco", "vcr", "visual-genome", "llava", "jsonl")

_ENTRIES = 1000
"""Rows of a list written in one transaction."""

_PIECE = 3_000_000
"""Bytes read together, and written in one transaction: some thousand rows."""
_WORTH_PROCESSES = 4_000_000
"""Bytes from which on other processes pay for their start."""

Piece = bytes | tuple[Path, int, int]
"""Lines, or the file that has them, the place of the first byte and how many there are."""

Part = tuple[int, list[Row], list[RowRejection], Counter[str]]
"""How many lines were read, what they say, and rows and notes for the report."""


@dataclass
class ImportReport:
    """What an import did: rows seen, records that were new, and why rows were kept out."""

    run: str
    lines: int = 0
    rows: int = 0
    new: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For a table or JSON."""
        return {
            "run": self.run,
            "rows": self.rows,
            **{f"new {name}": self.new[name] for name in ("images", "regions", "triples")},
            **{f"new {name}": n for name, n in self.new.items() if n and name not in _ALWAYS},
            "rejected rows": self.rejected.total(),
            **{f"  {reason}": n for reason, n in self.rejected.most_common()},
            **{f"  note: {note}": n for note, n in self.notes.most_common()},
        }


_ALWAYS = {"images", "regions", "triples"}


def import_file(
    store: Store,
    format_: str,
    file: Path,
    images: Path | str,
    *,
    source: str = "",
    strict: bool = False,
    accept_means: str | None = None,
    progress: Progress = no_progress,
) -> ImportReport:
    """Import `file`; UserError where it cannot be read, or, with `strict`, at its first bad row."""
    check_arguments(format_, file, images, accept_means)
    root = locations.check(str(images))
    source = source or Path(root).stem
    reading = ImportContext(root, source, accept_means)
    fingerprint = _fingerprint(format_, file)
    settings = {"format": format_, "file": str(file), "source": source, "strict": strict}
    with store.write() as session:
        run = runs.start(session, "import", settings=settings, fingerprint=fingerprint)
        run_id, report = run.id, ImportReport(run.name)
    with _undo_on_error(store, run_id, report, strict=strict), ExitStack() as stack:
        whole = stack.enter_context(store.write()) if strict else None
        writer: StoreWriter | None = None
        for done, total, part in _parts(format_, file, reading):
            with ExitStack() as chunk:
                session = whole or chunk.enter_context(store.write())
                writer = writer or StoreWriter(session, source, reading.images, run_id)
                _write(session, writer, part, report, strict=strict)
            progress(done, total)
        report.new = writer.new if writer else Counter()
        stack.close()
        with store.write() as session:
            _finish(session, run_id, report)
    return report


def check_arguments(format_: str, file: Path, images: Path | str, accept_means: str | None) -> None:
    """UserError for what is wrong before a store is needed."""
    if format_ not in FORMATS:
        raise UserError(f"unknown format {format_!r}", hint=f"use one of {', '.join(FORMATS)}")
    if not file.is_file() and not (format_ == "visual-genome" and file.is_dir()):
        raise UserError("no such file", where=str(file), hint="check the path")
    locations.check(str(images))
    if accept_means not in {None, "0", "1"}:
        raise UserError(f"accept cannot mean {accept_means!r}", hint="--accept-means takes 1 or 0")


@contextmanager
def _undo_on_error(
    store: Store, run_id: int, report: ImportReport, *, strict: bool
) -> Iterator[None]:
    """If the block raises: a run that wrote nothing never was, another one failed."""
    try:
        with runs.mark_failed_on_error(store, run_id):
            yield
    except BaseException:
        if strict or not report.rows:
            with store.write() as session:
                session.execute(delete(Run).where(Run.id == run_id))
        raise


def _write(
    session: Session, writer: StoreWriter, part: Part, report: ImportReport, *, strict: bool
) -> None:
    lines, rows, found, notes = part
    found = sorted([*found, *writer.write(session, rows)])
    rejected = [row._replace(line=row.line + report.lines) for row in found]
    if strict and rejected:
        line, name, reason = rejected[0]
        raise UserError(
            f"{name}: {reason}", where=f"line {line}", hint="mend it, or import without --strict"
        )
    writer.reject(session, rejected)
    report.lines += lines
    report.rows += len(rows) + len(part[2])
    report.rejected.update(f"{row.field}: {row.reason}"[:120] for row in rejected)
    report.notes.update(notes)


def _finish(session: Session, run_id: int, report: ImportReport) -> None:
    """Keep the run, unless the same file was imported before and brought nothing new."""
    run = session.get_one(Run, run_id)
    before = session.scalar(
        select(Run).where(
            Run.kind == "import",
            Run.status == "done",
            Run.fingerprint == run.fingerprint,
        )
    )
    if before is not None and not report.new.total():
        session.execute(delete(RejectedRow).where(RejectedRow.run_id == run_id))
        session.delete(run)
        report.run = before.name
        return
    runs.finish(session, run_id, report.as_dict())


def _parts(format_: str, file: Path, reading: ImportContext) -> Iterator[tuple[int, int, Part]]:
    """What the file says, in pieces: bytes read, bytes in all, and rows good and bad."""
    if format_ in _LIST_READERS:
        yield from _listed(format_, file, reading)
        return
    total = file.stat().st_size
    if format_ == "coco":
        yield total, total, _coco(file, reading)
        return
    if total < _WORTH_PROCESSES:
        for at, piece in _pieces(file):
            yield at, total, _read_piece(format_, reading, piece)
        return
    with (
        ProcessPoolExecutor(
            max_workers=os.cpu_count(),
            mp_context=get_context("spawn"),
            initializer=_keep,
            initargs=(format_, reading),
        ) as pool,
        _without_gc(),
    ):
        waiting: deque[tuple[int, Future[Part]]] = deque()
        for at, piece in _pieces(file):
            waiting.append((at, pool.submit(_read_kept, piece)))
            if len(waiting) > (os.cpu_count() or 2) + 1:
                done, part = waiting.popleft()
                yield done, total, part.result()
        for done, part in waiting:
            yield done, total, part.result()


@contextmanager
def _without_gc() -> Iterator[None]:
    """Rows form no cycles, and looking for them takes four times as long as unpacking them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_kept: list[tuple[str, ImportContext]] = []
"""In a reading process: what it reads with, so that image sizes are looked up once."""


def _keep(format_: str, reading: ImportContext) -> None:
    gc.disable()
    _kept.append((format_, reading))


def _read_kept(piece: Piece) -> Part:
    format_, reading = _kept[0]
    return _read_piece(format_, reading, piece)


def _read_piece(format_: str, reading: ImportContext, piece: Piece) -> Part:
    """The lines of a piece, numbered from 1."""
    read, rows, rejected = _LINE_READERS[format_], [], []
    reading.notes = Counter()
    lines = _content(piece).removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(read(_object(line), number, reading))
        except orjson.JSONDecodeError as error:
            rejected.append(RowRejection(number, "line", f"no JSON: {error.msg}"))
        except InvalidRow as bad:
            rejected.append(RowRejection(number, bad.field, bad.reason))
    return len(lines), rows, rejected, reading.notes


def _content(piece: Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    file, start, length = piece
    with file.open("rb") as raw:
        raw.seek(start)
        return raw.read(length)


def _object(line: bytes) -> dict[str, Any]:
    record = orjson.loads(line)
    if not isinstance(record, dict):
        raise InvalidRow("line", f"no JSON object: {line.strip()!r:.60}")
    return record


def _listed(format_: str, file: Path, reading: ImportContext) -> Iterator[tuple[int, int, Part]]:
    """The entries of long JSON lists; their lines are counted by whoever reads them."""
    with JsonListReader(file) as documents:
        found = _LIST_READERS[format_](documents, reading)
        while some := list(islice(found, _ENTRIES)):
            rows = [row for row in some if isinstance(row, Row)]
            rejected = [row for row in some if isinstance(row, RowRejection)]
            yield documents.read, documents.total, (0, rows, rejected, reading.notes)
            reading.notes = Counter()


def _coco(file: Path, reading: ImportContext) -> Part:
    try:
        found = list(coco.read(orjson.loads(file.read_bytes()), reading))
    except (orjson.JSONDecodeError, InvalidRow) as error:
        raise UserError(f"no COCO file: {error}", where=str(file)) from error
    rows = [row for row in found if isinstance(row, Row)]
    # Its "lines" count lists inside the file, so that none of them goes before another part.
    return 0, rows, [row for row in found if isinstance(row, RowRejection)], reading.notes


def _pieces(file: Path) -> Iterator[tuple[int, Piece]]:
    """Whole lines, some thousand at a time, and where the file stands behind them."""
    total = file.stat().st_size
    try:
        with file.open("rb") as raw:
            if file.suffix == ".gz":
                with gzip.open(raw) as lines:
                    while block := lines.read(_PIECE):
                        yield raw.tell(), block + lines.readline()
                return
            start = end = 0
            while end < total:
                raw.seek(start + _PIECE)
                raw.readline()
                end = min(raw.tell(), total)
                yield end, (file, start, end - start)
                start = end
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"the file cannot be read: {error}", where=str(file)) from error


def _fingerprint(format_: str, file: Path) -> str:
    total = hashlib.sha256()
    for one in JsonListReader(file).files if file.is_dir() else [file]:
        with one.open("rb") as raw:
            total.update(hashlib.file_digest(raw, "sha256").digest())
    return format_[:8] + total.hexdigest()[:32]
