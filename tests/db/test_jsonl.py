"""Files that grow row by row, and are read after a kill."""

from pathlib import Path

import pytest

from db import jsonl

ROWS = [{"said": "one line\u2028that a reader may take for two"}, {"said": "\x85\r[1]"}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "rows.jsonl"
    found.write_text("".join(map(jsonl.line, ROWS)), "utf-8", newline="")
    return found


def test_what_was_written_is_read(file: Path) -> None:
    assert jsonl.rows(file) == ROWS
    assert jsonl.rows(file.with_name("none.jsonl")) == []


def test_what_a_kill_cut_off_is_no_row_and_the_next_one_follows(file: Path) -> None:
    whole = file.read_bytes()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        kept = jsonl.rows(file)
        assert kept == ROWS[: whole[:end].count(b"\n")]
        assert jsonl.taken_up(file) == kept
        with file.open("a", encoding="utf-8") as out:
            out.write(jsonl.line({"said": "more"}))
        assert jsonl.rows(file) == [*kept, {"said": "more"}]
