"""A killed process leaves nothing behind: real ones are killed, and the store is opened again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from db.backup.backup import backup
from db.schema import Person, Run, Submission
from db.store import recovery, runs
from db.store.files import replace_file, replace_folder, temporary_folder
from db.store.recovery import UPLOAD_PREFIX, recover
from db.store.session import Store
from lskd_cli import cli

ROOT = Path(__file__).parent.parent.parent

TRAINING = """
import sys
from db.store import runs
from db.store.files import replace_file, replace_folder, temporary_folder
from db.store.recovery import UPLOAD_PREFIX
from db.store.session import Store
store = Store.open(sys.argv[1])
with store.write() as session:
    run = runs.start(session, "student", settings={}, name="mine")
folder = runs.folder(store, "mine")
(store.folder / "cache").mkdir()
with (
    runs.mark_failed_on_error(store, run.id),
    replace_folder(folder / "student") as student,
    temporary_folder(store.folder, UPLOAD_PREFIX),
    replace_file(store.folder / "cache" / "1-160-upright.jpg") as thumbnail,
):
    (student / "weights").write_bytes(bytes(3_000_000))
    print("ready", flush=True)
    sys.stdin.read()
"""
RESTORING = """
import sys
from pathlib import Path
from db.backup.backup import restore
def stop(done, total):
    print("ready", flush=True)
    sys.stdin.read()
restore(Path(sys.argv[1]), sys.argv[2], stop)
"""


@contextmanager
def process(script: str, *arguments: str) -> Iterator[None]:
    """A process that stops in the middle of something, and is killed at the end of the block."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            running.send_signal(signal.SIGKILL)


def grow_old(folder: Path) -> None:
    """Let everything in a folder have been written long ago."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (0, 0))


def status(store: Store, name: str) -> tuple[str, dict[str, object]]:
    with store.read() as session:
        run = session.query(Run).filter_by(name=name).one()
        return run.status, run.results


def temporary(store: Store) -> list[str]:
    return sorted(path.name for path in recovery.temporary_paths(store.folder))


@pytest.mark.slow
def test_what_a_killed_training_left_is_cleaned(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    with process(TRAINING, url):
        grow_old(store.folder)
        assert len(temporary(store)) == 3
        assert recover(store) == []  # it is alive
        assert status(store, "mine") == ("running", {})
    lines: list[str] = []
    while len(lines) < 2:  # a server needs a moment to notice that a client is gone
        lines += recover(store)
    assert sorted(lines) == [
        "marked mine as failed: its process ended before it was done",
        "removed 3 temporary files of 3.0 MB of ended processes",
    ]
    assert status(store, "mine") == ("failed", {"error": recovery.ENDED})
    assert temporary(store) == []
    assert recover(store) == []


@pytest.mark.slow
def test_a_killed_restore_leaves_no_store_and_can_be_repeated(
    sqlite_store: Store, tmp_path: Path
) -> None:
    with sqlite_store.write() as session:
        session.add(Person(name="somebody", role="annotator", created=0))
    file = tmp_path / "a.zip"
    backup(sqlite_store, file)
    folder = tmp_path / "new"
    url = f"sqlite:///{folder}/store.db"
    with process(RESTORING, str(file), url):
        (half,) = folder.iterdir()
        assert (half / "store.db").exists()
    assert [path.name for path in folder.iterdir()] == [half.name]
    grow_old(folder)
    result = CliRunner().invoke(cli, ["restore", str(file), "--store", url])
    assert result.exit_code == 0, result.output
    assert "removed 1 temporary files" in result.stderr
    assert not half.exists()


def test_the_app_and_commands_report_what_they_clean(sqlite_store: Store) -> None:
    with sqlite_store.write() as session:
        runs.start(session, "critic", settings={}, name="a\x1b[2J")
    url = sqlite_store.engine.url.render_as_string()
    result = CliRunner().invoke(cli, ["status", "--store", url, "--json"])
    assert result.stderr == "marked a [2J as failed: its process ended before it was done\n"
    assert CliRunner().invoke(cli, ["status", "--store", url]).stderr == ""


def test_a_run_that_waits_for_a_batch_of_requests_is_not_abandoned(sqlite_store: Store) -> None:
    with sqlite_store.write() as session:
        run = runs.start(session, "generate", settings={}, name="waiting")
        submission = Submission(key="k", run_id=run.id, base_url="", requests=1, created=0)
        session.add(submission)
    assert recover(sqlite_store) == []
    with sqlite_store.write() as session:
        session.get_one(Submission, submission.id).collected = 1
    assert recover(sqlite_store) == ["marked waiting as failed: " + recovery.ENDED]


def test_a_run_that_was_taken_for_abandoned_goes_on(store: Store) -> None:
    """Between the moments when it is stored and when its lock is held."""
    with store.write() as session:
        run = runs.start(session, "critic", settings={}, name="early")
    assert len(recover(store)) == 1
    with runs.mark_failed_on_error(store, run.id):
        assert recover(store) == []
        assert status(store, "early") == ("running", {})


def test_new_files_and_what_is_not_ours_stay(sqlite_store: Store) -> None:
    folder = runs.folder(sqlite_store, "mine")
    folder.mkdir(parents=True)
    answers, other = folder / "vcr.part", sqlite_store.folder / ".notes.abcd1234"
    for file in (answers, other):
        file.write_text("kept")
    (folder / "student.part").mkdir()
    assert recover(sqlite_store) == []  # it may have been made a moment ago
    grow_old(sqlite_store.folder)
    assert recover(sqlite_store) == ["removed 1 temporary files of 0.0 MB of ended processes"]
    assert (answers.read_text(), other.read_text()) == ("kept", "kept")


def test_a_folder_whose_replacement_was_interrupted_is_put_back(sqlite_store: Store) -> None:
    old = runs.folder(sqlite_store, "mine") / ".student.abcd1234" / "old"
    old.mkdir(parents=True)
    (old / "weights").write_bytes(b"1")
    grow_old(sqlite_store.folder)
    (line,) = recover(sqlite_store)
    assert line.startswith("restored ")
    assert (old.parent.with_name("student") / "weights").read_bytes() == b"1"
    assert not old.parent.exists()


def test_finished_work_leaves_no_temporary_file(sqlite_store: Store) -> None:
    folder = runs.folder(sqlite_store, "mine")
    (sqlite_store.folder / "cache").mkdir()
    for _ in range(2):
        with replace_folder(folder / "student") as new:
            (new / "weights").write_bytes(b"1")
        with replace_file(sqlite_store.folder / "cache" / "1.jpg") as file:
            file.write(b"1")
        with temporary_folder(sqlite_store.folder, UPLOAD_PREFIX) as upload:
            assert upload.is_dir()
    assert temporary(sqlite_store) == []
