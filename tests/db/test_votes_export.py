"""Every version of every vote, as a table."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from db.demo import project
from db.formats.votes import COLUMNS, export_votes
from db.schema import Person, Triple
from db.store.session import Store
from regions.errors import UserError


@pytest.fixture
def voted(store: Store) -> Store:
    project.create(store)
    with store.write() as session:
        person = Person(name="=ann()", role="annotator", created=0)
        session.add(person)
        session.flush()
        who = LeaseHolder(person.id)
        session.execute(update(Triple).where(Triple.id == 1).values(question="'=1+1"))
    queue = Queue(store)
    queue.submit_vote(who, "demo", 1, VoteInput("first-version", "accept", duration_ms=300))
    queue.correct(who, "first-version", VoteInput("second-version", "reject", ["trivial"], 5000))
    queue.submit_vote(who, "demo", 2, VoteInput("another-vote", "skip"))
    return store


def test_jsonl_has_every_version_in_order(voted: Store, tmp_path: Path) -> None:
    out = tmp_path / "votes.jsonl"
    assert export_votes(voted, out, batch="demo") == 3
    first, second, third = map(json.loads, out.read_text("utf-8").splitlines())
    assert tuple(first) == COLUMNS
    assert (first["decision"], first["too_fast"], first["withdrawn"] is None) == (
        "accept",
        True,
        False,
    )
    assert (second["reasons"], second["replaces"], second["too_fast"]) == (
        ["trivial"],
        first["vote"],
        False,
    )
    assert (third["decision"], third["duration_ms"], third["too_fast"]) == ("skip", None, None)
    assert first["created"].endswith("+00:00")
    assert first["at_random"] is True


def test_csv_contains_no_formula_and_keeps_every_text(voted: Store, tmp_path: Path) -> None:
    out = tmp_path / "votes.csv"
    export_votes(voted, out)
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")  # spreadsheets take it for UTF-8
    with out.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["duration_ms"] == "300"
    assert {row["person"] for row in rows} == {"'=ann()"}
    assert rows[0]["question"] == "''=1+1"
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_csv_shows_control_characters_as_codes(voted: Store, tmp_path: Path) -> None:
    with voted.write() as session:
        session.execute(update(Triple).values(rationale="a\x1b[2Jb\u202ec\x9b\nd\te"))
    export_votes(voted, out := tmp_path / "votes.csv")
    with out.open(newline="", encoding="utf-8-sig") as file:
        assert next(csv.DictReader(file))["rationale"] == "aU+001B[2JbU+202EcU+009B\nd\te"


def test_parquet_columns_have_types(voted: Store, tmp_path: Path) -> None:
    out = tmp_path / "votes.parquet"
    export_votes(voted, out)
    table = pq.read_table(out)
    assert table.column_names == list(COLUMNS)
    assert table["reasons"].to_pylist() == [[], ["trivial"], []]
    assert table["simulated"].to_pylist() == [False] * 3


def test_a_failed_export_leaves_no_file(voted: Store, tmp_path: Path) -> None:
    (folder := tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"no format for '.xlsx': end it in .csv, .jsonl, .parquet"):
        export_votes(voted, folder / "votes.xlsx")
    with pytest.raises(UserError, match="no batch named 'none'"):
        export_votes(voted, folder / "votes.csv", batch="none")
    with pytest.raises(UserError, match="no such folder"):
        export_votes(voted, folder / "none" / "votes.csv")
    assert list(folder.iterdir()) == []
    (folder / "votes.csv").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        export_votes(voted, folder / "votes.csv")
    assert (folder / "votes.csv").read_text() == "mine"
