"""Open files that may be compressed with gzip, whatever their names say."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from regions.errors import InvalidError, UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class ContentFile:
    """A file opened for reading: `content` is decompressed, `bytes_read` counts bytes on disk."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        start = self._raw.read(2)
        self._raw.seek(0)
        if start in _UTF_16_MARKS:
            self._raw.close()
            raise InvalidError(
                "the file is UTF-16 text", where=str(path), hint="save it as UTF-8, and try again"
            )
        self.is_compressed = start == _GZIP_MAGIC
        self.content: gzip.GzipFile | BufferedReader = self._raw
        if self.is_compressed:
            self.content = gzip.GzipFile(fileobj=self._raw)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of the file as it is on disk."""
        return 0 if self._raw.closed else self._raw.tell()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()


@contextmanager
def open_content(path: Path) -> Iterator[ContentFile]:
    """Open a file for the duration of a block; UserError if it cannot be read or is damaged."""
    try:
        file = ContentFile(path)
        try:
            yield file
        finally:
            file.close()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"the file cannot be read: {error}", where=str(path)) from error


def begins_with_list(path: Path) -> bool:
    """Whether the first character of a file, after white space, opens a JSON list."""
    with open_content(path) as file:
        start = file.content.read(64).removeprefix(BYTE_ORDER_MARK)
        while start and not start.strip():
            start = file.content.read(64)
        return start.lstrip().startswith(b"[")
