"""Files of records as people have them: a JSON list, lines of JSON, or a csv with a header."""

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from db.formats.votes import FORMULA_PREFIXES
from db.reading.content import BYTE_ORDER_MARK, begins_with_list, open_content
from db.reading.json_lists import JsonListReader
from regions.errors import InvalidError

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]*)?", re.ASCII)
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Columns(NamedTuple):
    """The column that a table must have, and those that are not texts."""

    required: str
    numbers: frozenset[str]
    """Columns in which digits are a number."""
    booleans: frozenset[str]


def read_records(file: Path, columns: Columns) -> Iterator[tuple[int, object]]:
    """Yield the records of a file, numbered from 1, by its content; UserError if it has none."""
    if begins_with_list(file):
        yield from enumerate(JsonListReader(file).entries(file), 1)
        return
    with open_content(file) as opened:
        first = opened.content.readline().removeprefix(BYTE_ORDER_MARK)
        if first.lstrip().startswith(b"{"):
            lines = chain([first], opened.content)
            yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        else:
            yield from _table(first, opened.content, file, columns)


def _table(
    header: bytes, content: Iterable[bytes], file: Path, columns: Columns
) -> Iterator[tuple[int, object]]:
    """Yield the rows of a csv; the delimiter is the one of the header."""
    try:
        delimiter = max(",;\t", key=header.decode().count)
        lines = (line.decode() for line in chain([header], content))
        table = csv.DictReader(lines, delimiter=delimiter)
        if columns.required not in (table.fieldnames or ()):
            raise InvalidError(
                f"no column named {columns.required}",
                where=str(file),
                hint="name the columns in the first row",
            )
        for row in table:
            yield table.line_num, _typed(row, columns)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidError(f"not a csv in UTF-8: {error}", where=str(file)) from error


def _typed(row: dict[str | None, str | list[str] | None], columns: Columns) -> dict[str, object]:
    """Return a row of a table as JSON would have it: without empty cells, numbers as numbers."""
    typed: dict[str, object] = {}
    for column, cell in row.items():
        if column is None or not isinstance(cell, str) or not cell.strip():
            continue  # more cells than columns, or fewer
        name, text = column.strip(), cell.strip()
        if text[0] == "'" and text[1:].startswith(FORMULA_PREFIXES):
            text = text[1:]
        if name in columns.numbers and _NUMBER.fullmatch(text):
            typed[name] = float(text)
        else:
            typed[name] = _FLAGS.get(text.lower(), text) if name in columns.booleans else text
    return typed
