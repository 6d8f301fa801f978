"""Parse a file into chunks of rows, in worker processes if it is large.

A file may be compressed. Records are one per line, or the entries of one JSON list.
"""

import gc
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from db.formats import coco, gold_rows, llava, lskd, native, vcr, visual_genome, vote_rows
from db.formats.gold_rows import GoldRow
from db.formats.rows import ImportContext, Row, RowRejection
from db.formats.vote_rows import TripleVote
from db.reading.content import begins_with_list, open_content
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.reading.json_lists import JsonListReader
from regions.errors import InvalidError


class RecordFormat(NamedTuple):
    """A format of independent records: how they are decoded, and what row each is."""

    decoder: RecordDecoder[Any]
    read: Callable[[Any, int, ImportContext], Row]


_RECORD_FORMATS = {
    "lskd": RecordFormat(lskd.DECODER, lskd.read),
    "vcr": RecordFormat(vcr.DECODER, vcr.read),
    "llava": RecordFormat(llava.DECODER, llava.read),
    "jsonl": RecordFormat(native.DECODER, native.read),
}
FORMATS = ("lskd", "coco", "vcr", "visual-genome", "llava", "jsonl", "votes", "gold")
WITHOUT_IMAGES = frozenset({"votes", "gold"})
"""Formats about triples that are stored already."""

_CHUNK_ROWS = 1000
"""Rows of a chunk of a JSON list."""
_CHUNK_BYTES = 3_000_000
"""Size of a chunk of lines: some thousand rows."""
_MIN_BYTES_FOR_PROCESSES = 4_000_000
"""Size of a file from which starting worker processes saves time."""

Lines = bytes | tuple[Path, int, int]
"""Lines of a file, or where they are: the file, the first byte's offset, and their length."""


class Chunk(msgspec.Struct, array_like=True):
    """Rows of a file, to be stored in one transaction."""

    lines: int
    """Lines of the file in this chunk, by which line numbers of the next one are offset."""
    rows: list[Row]
    rejections: list[RowRejection]
    notes: dict[str, int]
    votes: list[TripleVote] = []
    """Instead of rows, in files of votes."""
    gold: list[GoldRow] = []
    """Instead of rows, in files of gold."""


class ParsedChunk(NamedTuple):
    """A chunk, and how many of the file's bytes have been read with it."""

    bytes_read: int
    total_bytes: int
    chunk: Chunk


def parse_file(format_: str, file: Path, context: ImportContext) -> Iterator[ParsedChunk]:
    """Yield the rows of a file in chunks; UserError if it cannot be read."""
    total = file.stat().st_size
    if format_ in WITHOUT_IMAGES:
        yield from _parse_judgements(format_, file, context)
    elif format_ == "coco":
        yield ParsedChunk(total, total, _parse_coco(file, context))
    elif format_ == "visual-genome":
        lists = JsonListReader(file, visual_genome.of_interest)
        yield from _in_chunks(visual_genome.read(lists, context), lists, context)
    elif begins_with_list(file):
        lists = JsonListReader(file)
        entries = _read_entries(_RECORD_FORMATS[format_], lists.entries(file), context)
        yield from _in_chunks(entries, lists, context)
    elif total < _MIN_BYTES_FOR_PROCESSES:
        for end, lines in _split_lines(file):
            yield ParsedChunk(end, total, _parse_lines(format_, context, lines))
    else:
        yield from _parse_in_processes(format_, file, context)


def _parse_in_processes(format_: str, file: Path, context: ImportContext) -> Iterator[ParsedChunk]:
    total, workers = file.stat().st_size, os.cpu_count() or 2
    # Not `fork`, since the app has threads. Modules are imported once, for all workers.
    processes = get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    with (
        ProcessPoolExecutor(
            max_workers=workers,
            mp_context=processes,
            initializer=_init_worker,
            initargs=(format_, context),
        ) as pool,
        _gc_disabled(),
    ):
        pending: deque[tuple[int, Future[bytes]]] = deque()
        decode = msgspec.msgpack.Decoder(Chunk).decode
        for end, lines in _split_lines(file):
            pending.append((end, pool.submit(_parse_in_worker, lines)))
            if len(pending) > workers + 1:
                done, chunk = pending.popleft()
                yield ParsedChunk(done, total, decode(chunk.result()))
        for done, chunk in pending:
            yield ParsedChunk(done, total, decode(chunk.result()))


@contextmanager
def _gc_disabled() -> Iterator[None]:
    """Rows form no reference cycles, and collecting takes four times as long as unpickling them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_worker_state: list[tuple[str, ImportContext]] = []
"""In a worker process: the format, and the context, which caches image sizes."""


def _init_worker(format_: str, context: ImportContext) -> None:
    gc.disable()
    _worker_state.append((format_, context))


def _parse_in_worker(lines: Lines) -> bytes:
    """Return a chunk as MessagePack, which takes a fifth of the time of pickling it."""
    return msgspec.msgpack.encode(_parse_lines(*_worker_state[0], lines))


def _parse_lines(format_: str, context: ImportContext, lines: Lines) -> Chunk:
    """Parse lines, numbered from 1."""
    (decoder, read), rows, rejections = _RECORD_FORMATS[format_], [], []
    context.notes = Counter()
    split = _load(lines).removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(split, 1):
        try:
            row = read(decoder.decode(line, context.notes), number, context)
            rows.append(context.place(row))
        except InvalidRowError as error:
            if line.strip():
                rejections.append(RowRejection(number, error.field, error.reason))
    return Chunk(len(split), rows, rejections, context.notes)


def _load(lines: Lines) -> bytes:
    if isinstance(lines, bytes):
        return lines
    path, start, length = lines
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _read_entries(
    record_format: RecordFormat, entries: Iterable[object], context: ImportContext
) -> Iterator[Row | RowRejection]:
    """Yield the rows of the entries of a list, numbered from 1."""
    decoder, read = record_format
    for number, entry in enumerate(entries, 1):
        try:
            yield read(decoder.convert(entry, context.notes), number, context)
        except InvalidRowError as error:
            yield RowRejection(number, error.field, error.reason)


def _in_chunks(
    entries: Iterator[Row | RowRejection], lists: JsonListReader, context: ImportContext
) -> Iterator[ParsedChunk]:
    """Yield what was read in chunks; its lines are already numbered through the whole file."""
    while part := list(islice(entries, _CHUNK_ROWS)):
        yield ParsedChunk(lists.bytes_read, lists.total_bytes, _chunk(part, context))
        context.notes = Counter()


def _chunk(entries: Iterable[Row | RowRejection], context: ImportContext) -> Chunk:
    rows, rejections = [], []
    for entry in entries:
        if isinstance(entry, Row):
            rows.append(context.place(entry))
        else:
            rejections.append(entry)
    return Chunk(0, rows, rejections, context.notes)


def _parse_judgements(format_: str, file: Path, context: ImportContext) -> Iterator[ParsedChunk]:
    """Parse a file of votes or gold."""
    total = file.stat().st_size
    read = vote_rows.read if format_ == "votes" else gold_rows.read
    entries = iter(read(file, context))
    while part := list(islice(entries, _CHUNK_ROWS)):
        chunk = Chunk(
            0,
            [],
            [entry for entry in part if isinstance(entry, RowRejection)],
            context.notes,
            [entry for entry in part if isinstance(entry, TripleVote)],
            [entry for entry in part if isinstance(entry, GoldRow)],
        )
        yield ParsedChunk(total, total, chunk)
        context.notes = Counter()


def _parse_coco(file: Path, context: ImportContext) -> Chunk:
    try:
        with open_content(file) as content:
            return _chunk(list(coco.read(content.content.read(), context)), context)
    except InvalidRowError as error:
        raise InvalidError(f"not a COCO file: {error}", where=str(file)) from error


def _split_lines(path: Path) -> Iterator[tuple[int, Lines]]:
    """Yield chunks of whole lines, and the file's offset after each."""
    total = path.stat().st_size
    with open_content(path) as file:
        content = file.content
        if file.is_compressed:
            while block := content.read(_CHUNK_BYTES):
                yield file.bytes_read, block + content.readline()
            return
        start = end = 0
        while end < total:
            content.seek(start + _CHUNK_BYTES)
            content.readline()
            end = min(content.tell(), total)
            yield end, (path, start, end - start)
            start = end
