"""A store in one file: whole, from one instant, and back on either database."""

import json
import threading
import zipfile
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from sqlalchemy import insert, inspect, select, text

from db.backup.backup import backup, restore
from db.demo import project
from db.demo.simulated_annotators import simulate_votes
from db.schema import Base, Person, Triple, Vote
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError


def everything(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with store.read() as session:
        return {
            table.name: [
                tuple(map(str, row))
                for row in session.execute(select(table).order_by(*table.primary_key.columns))
            ]
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def full(store: Store) -> Store:
    project.create(store)
    simulate_votes(store, accuracies=(0.9,))
    with store.write() as session:
        run = runs.start(session, "critic", settings={"a": [1, 2.5, None]}, name="critic-x")
        runs.finish(session, run.id, {"average precision": 0.1 + 0.2, "ok": True})
    folder = runs.folder(store, "critic-x")
    folder.mkdir(parents=True)
    (folder / "weights.npz").write_bytes(b"\x00\x01")
    return store


def test_a_restored_store_has_the_same_records_and_can_be_used(full: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    counts = backup(full, file)
    assert counts["votes"] == 157
    url = f"sqlite:///{tmp_path}/new/store.db"
    assert restore(file, url).row_counts == counts
    new = Store.open(url)
    assert everything(new) == everything(full)
    assert (runs.folder(new, "critic-x") / "weights.npz").read_bytes() == b"\x00\x01"
    with new.write() as session:
        session.add(Person(name="somebody new", role="annotator", created=0))


def test_a_backup_can_be_restored_to_the_other_database(full: Store, tmp_path: Path) -> None:
    """Full is on each in turn; what it is restored into is SQLite, and then the first again."""
    backup(full, tmp_path / "a.zip")
    other = f"sqlite:///{tmp_path}/other.db"
    restore(tmp_path / "a.zip", other)
    backup(Store.open(other), tmp_path / "b.zip")
    before = everything(full)
    if full.engine.dialect.name == "postgresql":
        Base.metadata.drop_all(full.engine)
        with full.engine.begin() as connection:
            connection.execute(text("DROP TABLE alembic_version"))
        url = full.engine.url.render_as_string(hide_password=False)
    else:
        url = f"sqlite:///{tmp_path}/again.db"
    restore(tmp_path / "b.zip", url)
    back = Store.open(url)
    assert everything(back) == before
    with back.write() as session:  # the numbering goes on
        session.add(Person(name="somebody new", role="annotator", created=0))


def test_a_backup_is_one_snapshot_while_people_vote(full: Store, tmp_path: Path) -> None:
    with full.write() as session:
        person = Person(name="busy", role="annotator", created=0)
        session.add(person)
        session.flush()
        ids, who = list(session.scalars(select(Triple.id))), person.id
    stop, acknowledged = threading.Event(), list[int]()

    def work() -> None:
        for triple in ids:
            if stop.is_set():
                return
            row = {"key": f"busy-{triple}", "triple_id": triple, "person_id": who}
            with full.write() as session:
                session.execute(insert(Vote).values(**row, decision="accept", created=0))
            acknowledged.append(triple)

    voting = threading.Thread(target=work)
    voting.start()
    while len(acknowledged) < 5:
        pass
    before = set(acknowledged)
    backup(full, tmp_path / "a.zip")
    stop.set()
    voting.join()
    url = f"sqlite:///{tmp_path}/new.db"
    restore(tmp_path / "a.zip", url)
    with Store.open(url).read() as session:
        there = set(session.scalars(select(Vote.triple_id).where(Vote.person_id == who)))
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
    assert before <= there


def test_an_existing_file_or_store_is_never_overwritten(
    sqlite_store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "a.zip"
    backup(sqlite_store, file)
    with pytest.raises(UserError, match="already exists"):
        backup(sqlite_store, file)
    url = sqlite_store.engine.url.render_as_string()
    with pytest.raises(UserError, match="a store already exists"):
        restore(file, url)


@pytest.mark.parametrize("harm", ["no zip", "cut", "changed", "newer", "foreign"])
def test_an_invalid_backup_creates_no_store(sqlite_store: Store, tmp_path: Path, harm: str) -> None:
    project.create(sqlite_store)
    good, bad = tmp_path / "a.zip", tmp_path / "bad.zip"
    backup(sqlite_store, good)
    if harm == "no zip":
        bad.write_text("hello")
    elif harm == "cut":
        bad.write_bytes(good.read_bytes()[:-500])
    else:
        with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if harm == "changed" and name == "tables/triples.jsonl":
                    content = content.replace(b"the", b"teh", 1)
                if name == "manifest.json" and harm in {"newer", "foreign"}:
                    key = {"newer": "revision", "foreign": "format"}[harm]
                    content = orjson.dumps(orjson.loads(content) | {key: "9999"})
                new.writestr(name, content)
    with pytest.raises(UserError, match=r"not a backup|damaged|newer version"):
        restore(bad, f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()


def test_a_backup_that_is_stopped_leaves_no_file(full: Store, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    (folder := tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt):
        backup(full, folder / "a.zip", stop)
    assert list(folder.iterdir()) == []


def test_a_restore_that_is_stopped_leaves_no_store(sqlite_store: Store, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    project.create(sqlite_store)
    backup(sqlite_store, tmp_path / "a.zip")
    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "a.zip", f"sqlite:///{tmp_path}/new.db", stop)
    assert not (tmp_path / "new.db").exists()


def test_an_empty_store_has_no_tables(tmp_path: Path) -> None:
    store = Store.create_empty(f"sqlite:///{tmp_path}/b.db")
    assert inspect(store.engine).get_table_names() == []


def test_a_folder_keeps_the_newest_backups_and_other_files(
    sqlite_store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "nightly"
    folder.mkdir()
    old = [folder / f"lskd-2026010{day}T030000Z.zip" for day in (1, 2, 3, 4)]
    others = [folder / "lskd-notes.txt", folder / "before-upgrade.zip"]
    for file in (*old, *others):
        file.touch()
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    words = ["backup", str(folder), "--keep", "2", "--store", url, "--json"]
    printed = CliRunner().invoke(cli, words)
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout)["deleted"] == [file.name for file in old[:3]]
    new = Path(json.loads(printed.stdout)["file"])
    assert set(folder.iterdir()) == {old[3], new, *others}
    with zipfile.ZipFile(new) as archive:
        assert archive.testzip() is None
