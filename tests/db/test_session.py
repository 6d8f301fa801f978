"""The promises of the store: durable, all or nothing, and honest about what it cannot open."""

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, func, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError, InternalError

from db.schema import Base, Image, Person, Run, Source, Triple
from db.store import engine as engine_module
from db.store import migrate
from db.store.session import Store
from regions.errors import UserError


def names(store: Store) -> list[str]:
    with store.read() as session:
        return list(session.scalars(select(Source.name).order_by(Source.name)))


def test_a_transaction_that_raises_changes_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="halfway"), store.write() as session:
        session.add(Source(name="lost", root="/"))
        session.flush()
        raise RuntimeError("halfway")
    assert names(store) == []


def test_two_writers_wait_for_each_other_and_both_succeed(store: Store) -> None:
    with store.write() as session:
        session.add(Source(name="s", root="0"))

    def count_up() -> None:
        for _ in range(25):
            with store.write() as session:
                source = session.scalars(select(Source).with_for_update()).one()
                source.root = str(int(source.root) + 1)

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert session.scalars(select(Source.root)).one() == "100"


def test_a_reader_sees_one_snapshot_while_others_write(sqlite_store: Store) -> None:
    with sqlite_store.read() as session:
        before = session.scalar(select(func.count()).select_from(Source))
        with sqlite_store.write() as other:
            other.add(Source(name="new", root="/"))
        assert session.scalar(select(func.count()).select_from(Source)) == before
    assert names(sqlite_store) == ["new"]


def test_sqlite_is_durable_and_checks_foreign_keys(sqlite_store: Store) -> None:
    with sqlite_store.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    full = 2
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_an_image_without_a_source_violates_a_constraint(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as session:
        session.add(Image(source_id=99, name="a.jpg", width=1, height=1))


def test_the_migrations_create_the_tables_of_the_schema(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_oldest_store_is_upgraded_with_its_rows(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    with create_engine(f"sqlite:///{file}").begin() as connection:
        migrate.upgrade(connection, "0001")
        for row in (
            "sources (name, root) VALUES ('kept', '/')",
            (
                "images (source_id, name, width, height, title, author, licence, origin)"
                " VALUES (1, 'a', 1, 1, '', '', '', '')"
            ),
            (
                "runs (kind, name, status, settings, seed, fingerprint, simulated, results,"
                " started) VALUES ('import', 'import-1', 'done', '{}', 0, '', false, '{}', 0)"
            ),
            (
                "triples (key, image_id, question, answer, rationale, shown, kind, source, model,"
                " prompt_version, run_id) VALUES ('k', 1, 'q', 'a', 'r', '[]', '', 's', 'm', '', 1)"
            ),
        ):
            connection.execute(text("INSERT INTO " + row))
    store = Store.open(str(file))
    assert names(store) == ["kept"]
    with store.read() as session:
        assert session.scalars(select(Triple.run_id)).all() == [1]
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
    with pytest.raises(IntegrityError), store.write() as session:
        session.execute(text("DELETE FROM runs"))
    with store.write() as session:  # a kind that the oldest store did not know
        session.add(Run(kind="labels", name="labels-1", status="done", settings={}, started=0))


def test_creating_a_store_twice_keeps_its_records(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a/b/store.db"
    with Store.create(url).write() as session:
        session.add(Source(name="kept", root="/"))
    assert names(Store.create(url)) == ["kept"]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("nowhere/store.db", "no store here"),
        ("mysql://host/db", "no support for mysql"),
        ("sqlite://", "a SQLite store needs a file"),
        ("postgresql+psycopg://127.0.0.1:1/none", "the store cannot be read"),
        ("ftp://?:", "not a store's URL|no support"),
    ],
)
def test_a_store_that_cannot_be_opened_says_why(url: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        Store.open(url)


def test_a_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("shopping list " * 100)
    with pytest.raises(UserError, match="not a database"):
        Store.open(str(file))
    assert file.read_text().startswith("shopping list")


def test_a_database_of_another_program_is_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (words TEXT)"))
    for opened in (Store.open, Store.create):
        with pytest.raises(UserError, match="not an LSKD store"):
            opened(str(file))
    assert inspect(engine).get_table_names() == ["notes"]


def test_a_store_of_a_newer_version_is_not_changed(sqlite_store: Store) -> None:
    with sqlite_store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match=r"newer version \(9999\).*update"):
        Store.open(sqlite_store.engine.url.render_as_string())


def test_a_password_is_not_shown_in_a_message() -> None:
    with pytest.raises(UserError) as caught:
        Store.open("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


def test_an_unknown_role_violates_a_constraint(store: Store) -> None:
    with pytest.raises(IntegrityError, match="role_known"), store.write() as session:
        session.add(Person(name="x", role="king", created=0))


def test_a_job_that_raises_in_a_group_commit_does_not_affect_the_others(store: Store) -> None:
    outcomes: dict[int, str] = {}
    together = threading.Barrier(8)

    def work(number: int) -> None:
        def job(connection: Connection) -> None:
            connection.execute(insert(Source).values(name=f"s{number}", root="/"))
            if number % 4 == 0:
                raise ValueError(f"no {number}")

        together.wait()
        try:
            store.group_commit(job)
        except ValueError as error:
            outcomes[number] = str(error)
        else:
            outcomes[number] = "kept"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {n: f"no {n}" if n % 4 == 0 else "kept" for n in range(8)}
    assert names(store) == [f"s{n}" for n in range(8) if n % 4]


def test_deadlocked_jobs_are_both_committed(store: Store) -> None:
    """On PostgreSQL a deadlock, of which one is run again; SQLite has one writer at a time."""
    with store.write() as session:
        session.add_all([Source(name="a", root="0"), Source(name="b", root="0")])
    half_way = threading.Barrier(2)

    def work(first: str, second: str) -> None:
        met = False

        def job(connection: Connection) -> None:
            nonlocal met
            connection.execute(update(Source).where(Source.name == first).values(root="1"))
            if not met and store.engine.dialect.name == "postgresql":
                met = True
                half_way.wait(10)
            connection.execute(
                update(Source).where(Source.name == second).values(name=f"{second}{first}")
            )

        store.group_commit(job)

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == ["ab", "ba"]


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_a_reader_cannot_write_on_postgresql(store: Store) -> None:
    with pytest.raises(InternalError, match="read-only"), store.read() as session:
        session.execute(insert(Source).values(name="s", root="/"))


@pytest.mark.postgres
@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_connections_survive_a_restart_of_the_server(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(store)
    with create_engine(store.engine.url).connect() as other:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        condition = "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        other.execute(text(f"{others} {condition}"))
    monkeypatch.setattr(engine_module, "_STALE_SECONDS", 0.0)
    assert names(store) == []
