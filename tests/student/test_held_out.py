"""The benchmark of held-out triples: exported once, the same for every student."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from db.demo.simulated_annotators import simulate_votes
from db.images import image_files
from db.labelling.labels import majority_labels
from db.schema import Image, Triple
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions import references
from regions.errors import UserError
from student.asking.inference import LoadedStudent
from student.benchmarks.compare import compare
from student.benchmarks.evaluate import evaluate, find_errors
from student.benchmarks.held_out_export import DISTRACTORS, export_held_out
from student.training.corpus import load_corpus
from tests.student.benchmark_files import Oracle


def rows_in(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "choices.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_each_item_has_four_choices_about_regions_that_are_shown(
    released: Store, tmp_path: Path
) -> None:
    result = export_held_out(released, "all", tmp_path / "own")
    rows = rows_in(tmp_path / "own")
    with released.write() as session:
        held_out = load_corpus(session, "all", ["test"]).triple_ids.tolist()
        triples = {str(row.id): row for row in session.scalars(select(Triple))}
        images = {
            row.id: image_files.upright_file(row)[0] for row in session.scalars(select(Image))
        }
    assert result.items == len(rows)
    assert result.items + sum(result.skipped.values()) == len(held_out)
    assert {row["key"] for row in rows} <= {str(i) for i in held_out}
    for row in rows:
        triple = triples[row["key"]]
        assert row["choices"][row["right"]] == triple.answer
        assert len(set(row["choices"])) == DISTRACTORS + 1
        shown = {region["number"] for region in row["regions"]}
        assert shown == set(triple.visible_regions)
        assert set(references.mentioned(" ".join([row["question"], *row["choices"]]))) <= shown
        copied = tmp_path / "own" / "images" / row["image"]
        assert copied.read_bytes() == images[triple.image_id]
    assert len(Counter(row["right"] for row in rows)) == DISTRACTORS + 1


@pytest.mark.slow
def test_a_student_is_evaluated_on_held_out_triples(released: Store, tmp_path: Path) -> None:
    export_held_out(released, "all", tmp_path / "own")
    rows = rows_in(tmp_path / "own")
    with released.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {"triples": 1})
    student: Any = Oracle(rows[0]["choices"][rows[0]["right"]])
    report = evaluate(
        released, None, "held-out", tmp_path / "own", loader=lambda *_: LoadedStudent(student, None)
    )
    assert report.items == len(rows)
    accuracy = report.figures["accuracy"].value
    assert accuracy is not None
    assert accuracy >= 100 / len(rows)
    assert find_errors(released, None, "held-out").items == len(rows)
    assert "held-out triples accuracy" in compare(released, []).columns


def test_triples_that_people_rejected_are_no_items(released: Store, tmp_path: Path) -> None:
    simulate_votes(released, accuracies=[0.9, 0.9, 0.9])
    with released.write() as session:
        in_release = set(load_corpus(session, "all", ["test"]).triple_ids.tolist())
        labels = majority_labels(session, simulated=True)
        accepted = {i for i in in_release if i not in labels or labels[i].accept}
    assert accepted < in_release
    export_held_out(released, "all", tmp_path / "own")
    assert {int(row["key"]) for row in rows_in(tmp_path / "own")} == accepted


def test_the_same_seed_exports_the_same_items(released: Store, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        export_held_out(released, "all", tmp_path / name, seed=seed)
    a, b, c = (rows_in(tmp_path / name) for name in "abc")
    assert a == b != c


def test_an_image_that_cannot_be_read_costs_its_items(released: Store, tmp_path: Path) -> None:
    before = export_held_out(released, "all", tmp_path / "before")
    with released.write() as session:
        image_id = int(load_corpus(session, "all", ["test"]).image_ids[0])
        session.get_one(Image, image_id).name += ".gone"
    after = export_held_out(released, "all", tmp_path / "after")
    lost = [row for row in rows_in(tmp_path / "before") if row["image"].startswith(f"{image_id}.")]
    assert after.items == before.items - len(lost)
    (reason,) = after.skipped.keys() - before.skipped.keys()
    assert ".gone" in reason
    assert after.skipped[reason] == len(lost)


def test_a_failed_export_leaves_no_folder(released: Store, tmp_path: Path) -> None:
    out = tmp_path / "own"
    with pytest.raises(UserError, match="no release named 'none'"):
        export_held_out(released, "none", out)
    assert list(tmp_path.glob("own*")) == []
    out.mkdir()
    (out / "mine").write_text("")
    with pytest.raises(UserError, match="not empty"):
        export_held_out(released, "all", out)


def test_export_by_command(released: Store, tmp_path: Path) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    words = ["student", "hold-out", str(tmp_path / "own"), "--release", "all", "--store", url]
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["items"] == len(rows_in(tmp_path / "own"))
