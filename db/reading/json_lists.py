"""Read files that are one long JSON list entry by entry, since some are larger than memory."""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from db.reading.content import ContentFile, begins_with_list, open_content
from db.reading.decoding import tolerant_decoder
from regions.errors import InvalidError, NotFoundError

_BLOCK_BYTES = 1_000_000
_MAX_ENTRY_CHARACTERS = 500_000_000
_PEEKED_ENTRIES = 10
"""Entries that decide whether a file of a folder is read; some may be invalid."""
_SPACE = re.compile(r"[ \t\r\n]*")
_LONGEST_TOKEN = 16
"""Characters of a number, constant or escape; an error so near to the end may be one cut off."""


class JsonListReader:
    """Reads one file, or the `.json` and `.json.gz` files of a folder, and counts the bytes read.

    In a folder, files that are not lists, or have no entry `of_interest` at first, are `skipped`.
    """

    def __init__(
        self, path: Path, of_interest: Callable[[object], bool] = lambda _entry: True
    ) -> None:
        self._open_files: dict[Path, ContentFile] = {}
        self.files = [path]
        self.skipped: list[str] = []
        """Names of files and folders in a folder that are not read."""
        if path.is_dir():
            files = sorted(path.iterdir())
            self.files = [file for file in files if _is_json(file) and _is_list(file, of_interest)]
            self.skipped = [file.name for file in files if file not in self.files]
            if not self.files:
                raise NotFoundError("no .json files here", where=str(path), hint="check the path")
        self.total_bytes = sum(file.stat().st_size for file in self.files)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of the files as they are on disk."""
        return sum(file.bytes_read for file in self._open_files.values())

    def entries(self, file: Path) -> Iterator[object]:
        """Yield the entries of the list in a file; InvalidError if it is not a list, or empty."""
        with open_content(file) as content:
            self._open_files[file] = content
            yield from _entries(content, file)


def _is_json(file: Path) -> bool:
    is_hidden = file.name.startswith(".")
    return file.is_file() and file.name.endswith((".json", ".json.gz")) and not is_hidden


def _is_list(file: Path, of_interest: Callable[[object], bool]) -> bool:
    if not begins_with_list(file):
        return False
    with open_content(file) as content:
        return any(map(of_interest, islice(_entries(content, file), _PEEKED_ENTRIES)))


def _entries(content: ContentFile, file: Path) -> Iterator[object]:
    try:
        yield from _ListScanner(content).entries()
    except ValueError as error:  # of JSON or UTF-8
        reason = str(error).splitlines()[0][:200]
        raise InvalidError(f"invalid or truncated JSON: {reason}", where=str(file)) from error
    except RecursionError as error:
        raise InvalidError("an entry is nested too deeply", where=str(file)) from error


class _ListScanner:
    """Parses a JSON list value by value; keeps the text from the present position on."""

    def __init__(self, content: ContentFile) -> None:
        self._read = content.content.read
        self._decode = getincrementaldecoder("utf-8-sig")().decode
        self._text, self._position, self._ended = "", 0, False

    def entries(self) -> Iterator[object]:
        """Yield the entries; ValueError if this is not a list, or an empty one."""
        self._skip("[", "the file is not a JSON list, or it is empty")
        if self._next_character() == "]":
            raise ValueError("the list is empty")
        while True:
            yield self._value()
            if self._next_character() == "]":
                break
            self._skip(",", "the list is not complete")
        self._position += 1
        if self._next_character():
            raise ValueError("text after the end of the list")

    def _skip(self, character: str, problem: str) -> None:
        if self._next_character() != character:
            raise ValueError(problem)
        self._position += 1

    def _next_character(self) -> str:
        """Return the next character after white space; an empty string at the end."""
        while True:
            match = _SPACE.match(self._text, self._position)
            assert match is not None
            self._position = match.end()
            if self._position < len(self._text):
                return self._text[self._position]
            if self._ended:
                return ""
            self._read_more()

    def _value(self) -> object:
        self._next_character()
        while True:
            try:
                value, end = tolerant_decoder.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if self._ended or not self._is_cut_off(error):
                    raise
            else:
                if end < len(self._text) or self._ended:  # else a number may go on
                    self._position = end
                    return value
            self._read_more()

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        """Whether an error may be due to text that has not been read yet."""
        if len(self._text) - self._position > _MAX_ENTRY_CHARACTERS:
            return False
        is_at_end = error.pos >= len(self._text) - _LONGEST_TOKEN
        return is_at_end or error.msg.startswith("Unterminated string")

    def _read_more(self) -> None:
        """Read as much again as is kept, so that a long entry is parsed few times."""
        self._text, self._position = self._text[self._position :], 0
        block = self._read(max(_BLOCK_BYTES, len(self._text)))
        self._text += self._decode(block, final=not block)
        self._ended = not block
