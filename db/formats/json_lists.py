"""Files that are one long JSON list: read entry by entry, since some are larger than memory."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import ijson

from regions.errors import UserError


class JsonListReader:
    """The file, or the `.json` and `.json.gz` files of a folder, opened; how far they are read."""

    def __init__(self, path: Path) -> None:
        self.files = (
            sorted(f for f in path.iterdir() if f.name.endswith((".json", ".json.gz")))
            if path.is_dir()
            else [path]
        )
        if not self.files:
            raise UserError("no .json files here", where=str(path), hint="check the path")
        self.total = sum(file.stat().st_size for file in self.files)
        self._raw: dict[Path, BinaryIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def read(self) -> int:
        """Bytes read so far."""
        return sum(raw.tell() for raw in self._raw.values())

    def entries(self, file: Path) -> Iterator[object]:
        """The entries of the list in a file; UserError where it holds none."""
        raw = self._raw[file] = self._stack.enter_context(file.open("rb"))
        content = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
        nothing = True
        try:
            for entry in ijson.items(content, "item", use_float=True):
                nothing = False
                yield entry
        except (ijson.JSONError, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"no JSON, or it breaks off: {reason}", where=str(file)) from error
        if nothing:
            raise UserError("the file holds no list, or an empty one", where=str(file))
