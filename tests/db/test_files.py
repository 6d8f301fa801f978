"""Files and folders are written whole or not at all, and only what lskd wrote is replaced."""

import os
from pathlib import Path

import pytest

from db.store import runs
from db.store.files import MANIFEST, atomic_file, atomic_folder, replace_file, replace_folder
from db.store.session import Store
from regions.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    with atomic_file(out) as file:
        file.write(b"1")
        assert not out.exists()
    assert out.read_bytes() == b"1"
    with pytest.raises(UserError, match=r"already exists.*choose another name$"), atomic_file(out):
        pass
    with pytest.raises(UserError, match="or use --force"), atomic_file(out, force=False):
        pass
    with atomic_file(out, force=True) as file:
        file.write(b"2")
    assert out.read_bytes() == b"2"


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    out.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(out, force=True) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert out.read_bytes() == b"old"
    assert names(tmp_path) == ["rows.jsonl"]


def test_a_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        with atomic_file(tmp_path / "a") as file:
            file.write(b"")
        with atomic_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_lskd_wrote_can_be_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is nobody's
    for text in ("1", "2"):
        with atomic_folder(out, force=True) as folder:
            (folder / "data").mkdir()
            (folder / "data" / f"{text}.txt").write_text(text)
    assert names(out / "data") == ["2.txt"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("force", [None, False])
def test_a_folder_with_files_is_kept_without_force(tmp_path: Path, force: bool | None) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("a")
    with (
        pytest.raises(UserError, match="the folder is not empty"),
        atomic_folder(tmp_path / "out", force=force),
    ):
        pass


@pytest.mark.parametrize("manifest", [None, "not json", "17", '["other.txt"]'])
def test_a_folder_that_lskd_did_not_write_is_never_replaced(
    tmp_path: Path, manifest: str | None
) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("years of work")
    if manifest is not None:
        (out / MANIFEST).write_text(manifest)
    with (
        pytest.raises(UserError, match="did not write"),
        atomic_folder(out, force=True) as folder,
    ):
        (folder / "a").write_text("a")
    assert (out / "chapter1.tex").read_text() == "years of work"
    assert names(tmp_path) == ["thesis"]


def test_a_file_added_during_the_export_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with atomic_folder(out) as folder:
        (folder / "a").write_text("a")
    with (
        pytest.raises(UserError, match=r"did not write: late\.txt"),
        atomic_folder(out, force=True) as folder,
    ):
        (out / "late.txt").write_text("mine")
    assert (out / "late.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_an_unwritable_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no such folder"), atomic_file(tmp_path / "a" / "b"):
        pass
    with pytest.raises(UserError, match="this is a folder"), atomic_file(tmp_path):
        pass
    with pytest.raises(UserError, match="not a folder"), atomic_folder(tmp_path / "file"):
        pass
    with pytest.raises(UserError, match="cannot write this"), atomic_file(tmp_path / ("x" * 300)):
        pass


@pytest.mark.parametrize("name", ["..", "../thesis", "/tmp/thesis", "a\\b", ""])
def test_the_folder_of_a_run_is_below_the_folder_of_runs(sqlite_store: Store, name: str) -> None:
    with pytest.raises(UserError, match="not a valid run name"):
        runs.folder(sqlite_store, name)


def test_a_file_of_the_store_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    file = tmp_path / "cached.jpg"
    for content in (b"old", b"new"):
        with replace_file(file) as out:
            out.write(content)
        assert file.read_bytes() == content
    with pytest.raises(RuntimeError), replace_file(file) as out:
        out.write(b"half")
        raise RuntimeError
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_of_the_store_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    (tmp_path / "student.part").mkdir()
    (tmp_path / "student.part" / "left by a killed process").touch()
    with replace_folder(folder) as part:
        (part / "old").touch()
    with pytest.raises(RuntimeError), replace_folder(folder) as part:
        (part / "half").touch()
        raise RuntimeError
    assert [file.name for file in folder.iterdir()] == ["old"]
    with replace_folder(folder) as part:
        (part / "new").touch()
    assert [file.name for file in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]
