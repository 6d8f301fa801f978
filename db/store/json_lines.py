"""Files of JSON lines that are appended to; a last line that a kill cut off is not a row.

Only a newline ends a row: texts may contain other characters that Unicode calls line ends.
"""

import json
from pathlib import Path
from typing import Any


def to_line(row: dict[str, Any]) -> str:
    """Return a row as a line."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the complete rows of a file; ValueError for invalid JSON."""
    return [json.loads(line) for line in _complete_lines(file).split(b"\n")[:-1]]


def open_for_append(file: Path) -> list[dict[str, Any]]:
    """Return the complete rows of a file, and truncate it after them."""
    rows = read_rows(file)
    truncate_partial_line(file)
    return rows


def truncate_partial_line(file: Path) -> None:
    """Remove a last line that is not complete."""
    complete = len(_complete_lines(file))
    if file.is_file() and complete < file.stat().st_size:
        with file.open("r+b") as content:
            content.truncate(complete)


def _complete_lines(file: Path) -> bytes:
    if not file.is_file():
        return b""
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1]
