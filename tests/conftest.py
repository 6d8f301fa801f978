"""What every test may ask for: a real store on SQLite and, where a server answers, PostgreSQL."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import create_engine, make_url, text

from db.demo import project
from db.store.session import Store
from tests.generation.llm_server import Serve, serving

POSTGRES = os.environ.get("LSKD_TEST_POSTGRES", "")
"""A server's URL whose user may create databases; .ci/run starts one and sets this."""

hypothesis.settings.register_profile("lskd", deadline=None)
hypothesis.settings.load_profile("lskd")  # tests measure no time


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several workers each takes a file at a time: long ones first, so that all end together."""
    if hasattr(config, "workerinput"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        long = {item.path for item in slow if not item.get_closest_marker("postgres")}
        items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each thing that is missing, and how to get it, instead of one per test."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def empty_store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store without records, to be copied: migrating a new one takes longer."""
    file = tmp_path_factory.mktemp("empty") / "store.db"
    Store.create(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def demo_store_file(empty_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with the demo project, to be copied."""
    file = tmp_path_factory.mktemp("demo") / "store.db"
    with copy_of(empty_store_file, file.parent) as store:
        project.create(store)
    return file


@pytest.fixture
def sqlite_store(empty_store_file: Path, tmp_path: Path) -> Iterator[Store]:
    with copy_of(empty_store_file, tmp_path) as store:
        yield store


@contextmanager
def copy_of(file: Path, folder: Path) -> Iterator[Store]:
    """A copy of a store and of all that lies beside it: runs, critics, students."""
    shutil.copytree(file.parent, folder, dirs_exist_ok=True)
    with closing(Store.open(f"sqlite:///{folder}/store.db")) as store:
        yield store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """Makes databases with an empty store in each, all after one pattern; they are URLs."""
    if not POSTGRES and os.environ.get("LSKD_TEST_ALL"):
        pytest.fail("no PostgreSQL, and LSKD_TEST_ALL says that nothing may be skipped")
    if not POSTGRES:
        pytest.skip("no PostgreSQL: set LSKD_TEST_POSTGRES to a server's URL")
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")

    @contextmanager
    def database(pattern: str = "template1") -> Iterator[str]:
        name = f"lskd_test_{uuid.uuid4().hex}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {pattern}"))
        yield make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))

    with database() as pattern:
        Store.create(pattern).close()
        yield lambda: database(str(make_url(pattern).database))
    admin.dispose()


ON_POSTGRES = (pytest.mark.postgres, pytest.mark.slow)
"""`make check` runs what needs a store on SQLite alone."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=ON_POSTGRES)])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_store")
        return
    monkeypatch.setenv("LSKD_FOLDER", str(tmp_path))
    with request.getfixturevalue("postgres")() as url:
        made = Store.open(url)
        yield made
        made.close()


@pytest.fixture
def demo_store(demo_store_file: Path, tmp_path: Path) -> Iterator[Store]:
    with copy_of(demo_store_file, tmp_path) as store:
        yield store


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a language model's server that does what a script says: `serve(Script())`."""
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(serving(script))
