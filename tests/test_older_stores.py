"""Stores that older versions wrote still open, and everything in them still works.

`tests/stores` holds a store of the first release, and a store and a backup of the last version
before names were standardised. All three hold the demo project with simulated votes, tiny critics
and students of a few thousand parameters, releases, and (but for the first) generation runs,
labellings, batches, gold, a study and a benchmark's answers.
"""

import json
import tarfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from critic.results import CriticResults
from critic.settings import ModelConfig, TrainSettings
from db.images import image_files
from db.schema import Batch, Image, Release, Retraining, Run
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from student import page_data

STORES = Path(__file__).parent / "stores"
LAST = "before_standard_names"


PRECISION = {
    "first": {"value": 0.72, "low": 0.583333, "high": 1.0},
    "last": {"value": 0.730769, "low": 0.583333, "high": 0.9},
}
"""Of critic-1 at a threshold of 0.4, as the older versions stored it."""


def unpack(name: str, folder: Path) -> str:
    with tarfile.open(STORES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return f"sqlite:///{folder}/store.db"


def run(url: str, *words: str) -> Any:  # noqa: ANN401 - JSON
    result = CliRunner().invoke(cli, [*words, "--store", url, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module", params=["first_release", LAST, "restored"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param != "restored":
        return unpack(request.param, folder)
    url = f"sqlite:///{folder}/store.db"
    run(url, "restore", str(STORES / f"{LAST}_backup.zip"))
    return url


def is_first(url: str) -> bool:
    return "first_release" in url


def test_an_older_store_opens_and_shows_its_status(url: str) -> None:
    assert run(url, "status")["images"] == 12


@pytest.mark.slow
def test_a_critic_of_an_older_store_scores_and_shows_its_results(url: str) -> None:
    (metrics,) = run(url, "critic", "evaluate", "--run", "critic-1", "--threshold", "0.4")
    assert metrics["precision"] == PRECISION["first" if is_first(url) else "last"]
    for name in ["critic-1"] if is_first(url) else ["critic-1", "looks", "itm", "both"]:
        assert run(url, "critic", "score", "--run", name)["run"] == name
    assert run(url, "critic", "compare")
    assert run(url, "critic", "slices", "kind", "--run", "critic-1", "--at", "0.4")


def test_a_release_of_an_older_store_is_described_compared_and_exported(
    url: str, tmp_path: Path
) -> None:
    card = CliRunner().invoke(cli, ["critic", "card", "pilot", "--store", url])
    assert card.exit_code == 0, card.output
    assert "precision" in card.stdout
    out = tmp_path / "pilot.jsonl"
    assert run(url, "export", "lskd", "--release", "pilot", "--out", str(out))
    assert len(out.read_text().splitlines()) > 100
    if not is_first(url):
        assert run(url, "critic", "differ", "pilot", "best")


def test_a_student_of_an_older_store_answers_and_shows_its_benchmarks(
    url: str, tmp_path: Path
) -> None:
    photograph = tmp_path / "photograph.png"
    store = Store.open(url)
    with store.read() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
        image_files.load(image).save(photograph)
    store.close()
    for name in ["student-1"] if is_first(url) else ["student-1", "matcher"]:
        answer = run(
            url,
            *("student", "ask", str(photograph), "What is [0]?", "--run", name),
            *("--region", "10,10,100,100"),
        )
        assert "answer" in answer
        out = tmp_path / f"published-{name}"
        assert run(url, "student", "publish", str(out), "--run", name)["files"] > 3
        assert "Held-out loss" in (out / "README.md").read_text("utf-8")
    figures = {row["student"]: row["figures"] for row in run(url, "student", "compare")}
    if is_first(url):
        assert figures["student-1"] == {}
        return
    assert figures["student-1"]["held-out triples accuracy"]["low"] == 12.5
    errors = run(url, "student", "errors", "held-out", "--run", "student-1")
    assert (errors["items"], errors["wrong"]) == (23, 17)
    assert errors["records"][0]["questions"][0]["choices"]


def test_the_demo_page_shows_students_and_how_they_learned(url: str) -> None:
    store = Store.open(url)
    students = page_data.overview(store).students
    assert "student-1" in [student.name for student in students]
    assert {student.release for student in students} == {"pilot"}
    curves = {curve.name: curve for curve in page_data.learning_curves(store)}
    if not is_first(url):
        assert [step for step, _ in curves["student-1"].held_out_loss] == [3]
        assert curves["student-1"].evaluations[0].samples[0].reference
        assert page_data.error_page(store, "student-1", "held-out", 0).rows[0].questions
    store.close()


@pytest.mark.slow
def test_training_continues_in_an_older_store(url: str) -> None:
    trained = run(url, "critic", "train", "--simulated", "--resamples", "20", "--name", "new")
    assert trained["labelled_triples"] > 150
    learned = run(
        url,
        *("student", "train", "--release", "pilot", "--steps", "2", "--base-steps", "2"),
        *("--name", "newer"),
    )
    assert learned["run"] == "newer"


def test_generation_and_labels_of_an_older_store_are_read(url: str) -> None:
    if is_first(url):
        pytest.skip("the first release did not generate")
    made = run(url, "labels", "make", "--simulated")
    assert made["run"]
    store = Store.open(url)
    with store.read() as session:
        names = {name for (name,) in session.execute(select(Run.name))}
        assert {"generate-1", "generate-2", "generate-3", "generate-4"} <= names
        newest = runs.newest(session, "critic")
        assert newest.status == "done"
    store.close()


def test_keys_of_stored_documents_are_identifiers(url: str) -> None:
    store = Store.open(url)
    with store.read() as session:
        documents = [
            *(d for run in session.scalars(select(Run)) for d in (run.settings, run.results)),
            *(d for r in session.scalars(select(Release)) for d in (r.estimate, r.selection)),
            *session.scalars(select(Batch.selection)),
            *session.scalars(select(Retraining.settings)),
        ]
        critics = session.scalars(select(Run).where(Run.kind == "critic")).all()
    store.close()
    assert [key for document in documents for key in document if not key.isidentifier()] == []
    # Old runs have the keys of a new one.
    known = {field.name for field in fields(CriticResults)}
    assert [key for critic in critics for key in critic.results if key not in known] == []
    settings = {field.name for kind in (TrainSettings, ModelConfig) for field in fields(kind)}
    assert [key for critic in critics for key in critic.settings if key not in settings] == []
