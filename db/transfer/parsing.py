"""Parse a file into chunks of rows, in worker processes if it is large."""

import gc
import gzip
import os
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import orjson

from db.formats import coco, llava, lskd, native, vcr, visual_genome
from db.formats.json_lists import JsonListReader
from db.formats.rows import ImportContext, InvalidRowError, Row, RowRejection, check_object
from regions.errors import InvalidError, UserError

_LINE_READERS = {"lskd": lskd.read, "vcr": vcr.read, "jsonl": native.read}
_LIST_READERS = {"visual-genome": visual_genome.read, "llava": llava.read}
FORMATS = ("lskd", "coco", "vcr", "visual-genome", "llava", "jsonl")

_CHUNK_ROWS = 1000
"""Rows of a chunk of a JSON list."""
_CHUNK_BYTES = 3_000_000
"""Size of a chunk of lines: some thousand rows."""
_MIN_BYTES_FOR_PROCESSES = 4_000_000
"""Size of a file from which starting worker processes saves time."""

Lines = bytes | tuple[Path, int, int]
"""Lines of a file, or where they are: the file, the first byte's offset, and their length."""


class Chunk(NamedTuple):
    """Rows of a file, to be stored in one transaction."""

    lines: int
    """Lines of the file in this chunk, by which line numbers of the next one are offset."""
    rows: list[Row]
    rejections: list[RowRejection]
    notes: Counter[str]


class ParsedChunk(NamedTuple):
    """A chunk, and how many of the file's bytes have been read with it."""

    bytes_read: int
    total_bytes: int
    chunk: Chunk


def parse_file(format_: str, file: Path, context: ImportContext) -> Iterator[ParsedChunk]:
    """Yield the rows of a file in chunks; UserError if it cannot be read."""
    if format_ in _LIST_READERS:
        yield from _parse_list(format_, file, context)
        return
    total = file.stat().st_size
    if format_ == "coco":
        yield ParsedChunk(total, total, _parse_coco(file, context))
    elif total < _MIN_BYTES_FOR_PROCESSES:
        for end, lines in _split_lines(file):
            yield ParsedChunk(end, total, _parse_lines(format_, context, lines))
    else:
        yield from _parse_in_processes(format_, file, context)


def _parse_in_processes(format_: str, file: Path, context: ImportContext) -> Iterator[ParsedChunk]:
    total, workers = file.stat().st_size, os.cpu_count() or 2
    with (
        ProcessPoolExecutor(
            max_workers=workers,
            mp_context=get_context("spawn"),
            initializer=_init_worker,
            initargs=(format_, context),
        ) as pool,
        _gc_disabled(),
    ):
        pending: deque[tuple[int, Future[Chunk]]] = deque()
        for end, lines in _split_lines(file):
            pending.append((end, pool.submit(_parse_in_worker, lines)))
            if len(pending) > workers + 1:
                done, chunk = pending.popleft()
                yield ParsedChunk(done, total, chunk.result())
        for done, chunk in pending:
            yield ParsedChunk(done, total, chunk.result())


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


def _parse_in_worker(lines: Lines) -> Chunk:
    return _parse_lines(*_worker_state[0], lines)


def _parse_lines(format_: str, context: ImportContext, lines: Lines) -> Chunk:
    """Parse lines, numbered from 1."""
    read, rows, rejections = _LINE_READERS[format_], [], []
    context.notes = Counter()
    split = _load(lines).removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(split, 1):
        if not line.strip():
            continue
        try:
            record = check_object(orjson.loads(line), "line")
            rows.append(read(record, number, context))
        except orjson.JSONDecodeError as error:
            rejections.append(RowRejection(number, "line", f"invalid JSON: {error.msg}"))
        except InvalidRowError as error:
            rejections.append(RowRejection(number, error.field, error.reason))
    return Chunk(len(split), rows, rejections, context.notes)


def _load(lines: Lines) -> bytes:
    if isinstance(lines, bytes):
        return lines
    path, start, length = lines
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _parse_list(format_: str, file: Path, context: ImportContext) -> Iterator[ParsedChunk]:
    """Parse long JSON lists, whose readers count lines through the whole file."""
    with JsonListReader(file) as lists:
        entries = _LIST_READERS[format_](lists, context)
        while part := list(islice(entries, _CHUNK_ROWS)):
            rows = [entry for entry in part if isinstance(entry, Row)]
            rejections = [entry for entry in part if isinstance(entry, RowRejection)]
            chunk = Chunk(0, rows, rejections, context.notes)
            yield ParsedChunk(lists.bytes_read, lists.total_bytes, chunk)
            context.notes = Counter()


def _parse_coco(file: Path, context: ImportContext) -> Chunk:
    try:
        entries = list(coco.read(orjson.loads(file.read_bytes()), context))
    except (orjson.JSONDecodeError, InvalidRowError) as error:
        raise InvalidError(f"not a COCO file: {error}", where=str(file)) from error
    rows = [entry for entry in entries if isinstance(entry, Row)]
    rejections = [entry for entry in entries if isinstance(entry, RowRejection)]
    return Chunk(0, rows, rejections, context.notes)


def _split_lines(path: Path) -> Iterator[tuple[int, Lines]]:
    """Yield chunks of whole lines, and the file's offset after each."""
    total = path.stat().st_size
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                with gzip.open(file) as lines:
                    while block := lines.read(_CHUNK_BYTES):
                        yield file.tell(), block + lines.readline()
                return
            start = end = 0
            while end < total:
                file.seek(start + _CHUNK_BYTES)
                file.readline()
                end = min(file.tell(), total)
                yield end, (path, start, end - start)
                start = end
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"the file cannot be read: {error}", where=str(path)) from error
