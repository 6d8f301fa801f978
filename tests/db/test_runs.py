"""Runs keep what they did; the split by image is decided once."""

from collections import Counter

import pytest

from db.schema import Image, Run, Source
from db.store import runs
from db.store.session import Store
from regions.errors import UserError


def add_images(store: Store, count: int, first: int = 1) -> None:
    with store.write() as session:
        if first == 1:
            session.add(Source(id=1, name="s", root="/"))
            session.flush()
        session.add_all(
            Image(id=i, source_id=1, name=f"{i}.jpg", width=1, height=1)
            for i in range(first, first + count)
        )


def test_the_parts_of_the_split_have_their_shares(store: Store) -> None:
    add_images(store, 100)
    with store.write() as session:
        parts = Counter(runs.split(session).values())
    assert parts == {"train": 60, "calibration": 15, "test": 25}


def test_new_images_do_not_change_the_split_of_others(store: Store) -> None:
    add_images(store, 10)
    with store.write() as session:
        before = runs.split(session, seed=1)
    add_images(store, 10, first=11)
    with store.write() as session:
        after = runs.split(session, seed=2)
    assert len(after) == 20
    assert before.items() <= after.items()


def test_a_few_images_still_include_test_images(store: Store) -> None:
    add_images(store, 4)
    with store.write() as session:
        assert Counter(runs.split(session).values())["test"] == 1


def test_runs_without_a_name_are_numbered_by_kind(store: Store) -> None:
    with store.write() as session:
        names = [runs.start(session, kind, settings={}).name for kind in ("critic", "critic")]
        names.append(runs.start(session, "student", settings={}).name)
    assert names == ["critic-1", "critic-2", "student-1"]


def test_the_name_of_a_run_is_unique(store: Store) -> None:
    with store.write() as session:
        runs.start(session, "critic", name="mine", settings={})
        with pytest.raises(UserError, match="'mine' already exists"):
            runs.start(session, "critic", name="mine", settings={})


def test_a_failed_run_stores_its_error_and_is_never_the_newest(store: Store) -> None:
    with store.write() as session:
        run_id = runs.start(session, "critic", settings={}).id
    with pytest.raises(ZeroDivisionError), runs.mark_failed_on_error(store, run_id):
        _ = 1 / 0
    with store.read() as session:
        run = session.get_one(Run, run_id)
        assert (run.status, run.results) == ("failed", {"error": "division by zero"})
        with pytest.raises(UserError, match="no critic has been trained yet"):
            runs.newest(session, "critic")


def test_newest_returns_the_last_finished_run(store: Store) -> None:
    with store.write() as session:
        for name in ("a", "b", "c"):
            run = runs.start(session, "critic", name=name, settings={"x": 1}, seed=5)
            if name != "c":
                runs.finish(session, run.id, {"ap": 0.5})
    with store.read() as session:
        assert runs.newest(session, "critic").name == "b"
        assert runs.newest(session, "critic", "a").results == {"ap": 0.5}
