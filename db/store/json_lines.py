"""Files of JSON lines that grow row by row: what a kill cut off at their end is no row.

Only a newline ends a row: texts may hold other characters that Unicode calls line ends.
"""

import json
from pathlib import Path
from typing import Any


def to_line(row: dict[str, Any]) -> str:
    """A row as it is written."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The whole rows of a file, if there is one; ValueError for a row that is no JSON."""
    return [json.loads(one) for one in _complete_lines(file).split(b"\n")[:-1]]


def open_for_append(file: Path) -> list[dict[str, Any]]:
    """The same, where more is to be written: what was cut off goes, and the next row follows."""
    found = read_rows(file)
    truncate_partial_line(file)
    return found


def truncate_partial_line(file: Path) -> None:
    """Drop what was cut off."""
    kept = len(_complete_lines(file))
    if file.is_file() and kept < file.stat().st_size:
        with file.open("r+b") as opened:
            opened.truncate(kept)


def _complete_lines(file: Path) -> bytes:
    if not file.is_file():
        return b""
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1]
