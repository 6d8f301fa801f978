"""Files that grow row by row, and are read after a kill."""

from pathlib import Path

import pytest

from db.store import json_lines

ROWS = [{"said": "one line\u2028that a reader may take for two"}, {"said": "\x85\r[1]"}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(map(json_lines.to_line, ROWS)), "utf-8", newline="")
    return file


def test_written_rows_are_read(file: Path) -> None:
    assert json_lines.read_rows(file) == ROWS
    assert json_lines.read_rows(file.with_name("none.jsonl")) == []


def test_a_truncated_line_is_ignored_and_overwritten(file: Path) -> None:
    whole = file.read_bytes()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        kept = json_lines.read_rows(file)
        assert kept == ROWS[: whole[:end].count(b"\n")]
        assert json_lines.open_for_append(file) == kept
        with file.open("a", encoding="utf-8") as out:
            out.write(json_lines.to_line({"said": "more"}))
        assert json_lines.read_rows(file) == [*kept, {"said": "more"}]
