"""Read files that are one long JSON list entry by entry, since some are larger than memory."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import ijson

from regions.errors import InvalidError, NotFoundError


class JsonListReader:
    """Opens a file, or the `.json` and `.json.gz` files of a folder, and counts the bytes read."""

    def __init__(self, path: Path) -> None:
        self.files = (
            sorted(f for f in path.iterdir() if f.name.endswith((".json", ".json.gz")))
            if path.is_dir()
            else [path]
        )
        if not self.files:
            raise NotFoundError("no .json files here", where=str(path), hint="check the path")
        self.total_bytes = sum(file.stat().st_size for file in self.files)
        self._open_files: dict[Path, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of the files as they are on disk."""
        return sum(file.tell() for file in self._open_files.values())

    def entries(self, file: Path) -> Iterator[object]:
        """Yield the entries of the list in a file; InvalidError if it is not a list, or empty."""
        raw = self._open_files[file] = self._stack.enter_context(file.open("rb"))
        content = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
        is_empty = True
        try:
            for entry in ijson.items(content, "item", use_float=True):
                is_empty = False
                yield entry
        except (ijson.JSONError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise InvalidError(f"invalid or truncated JSON: {reason}", where=str(file)) from error
        if is_empty:
            raise InvalidError("the file is not a JSON list, or it is empty", where=str(file))
