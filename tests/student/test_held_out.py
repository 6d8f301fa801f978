"""A benchmark of a project's own held-out triples: made once, the same for every student."""

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
from student.asking.inference import Ready
from student.benchmarks.evaluate import errors, evaluate, table
from student.benchmarks.held_out_export import OTHERS, write
from student.training.corpus import corpus
from tests.student.test_benchmarks import Oracle


def rows_in(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "choices.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_each_held_out_triple_is_one_of_four_in_numbers_that_are_shown(
    released: Store, tmp_path: Path
) -> None:
    told = write(released, "all", tmp_path / "own")
    rows = rows_in(tmp_path / "own")
    with released.write() as session:
        held = corpus(session, "all", ["test"]).triples.tolist()
        triples = {str(row.id): row for row in session.scalars(select(Triple))}
        images = {row.id: image_files.read_bytes(row) for row in session.scalars(select(Image))}
    assert told["items"] == len(rows)
    assert told["items"] + sum(told["left out"].values()) == len(held)
    assert {row["key"] for row in rows} <= {str(i) for i in held}
    for row in rows:
        triple = triples[row["key"]]
        assert row["choices"][row["right"]] == triple.answer
        assert len(set(row["choices"])) == OTHERS + 1
        shown = {region["number"] for region in row["regions"]}
        assert shown == set(triple.visible_regions)
        assert set(references.mentioned(" ".join([row["question"], *row["choices"]]))) <= shown
        copied = tmp_path / "own" / "images" / row["image"]
        assert copied.read_bytes() == images[triple.image_id]
    assert len(Counter(row["right"] for row in rows)) == OTHERS + 1


def test_it_is_measured_as_any_benchmark(released: Store, tmp_path: Path) -> None:
    write(released, "all", tmp_path / "own")
    rows = rows_in(tmp_path / "own")
    with released.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {"triples": 1})
    student: Any = Oracle(rows[0]["choices"][rows[0]["right"]])
    told = evaluate(
        released, None, "held-out", tmp_path / "own", loader=lambda *_: Ready(student, None)
    )
    assert told["items"] == len(rows)
    assert told["figures"]["accuracy"]["value"] >= 100 / len(rows)
    assert errors(released, None, "held-out")["items"] == len(rows)
    assert "held-out triples accuracy" in table(released, [])[0]


def test_what_people_rejected_is_no_right_answer(released: Store, tmp_path: Path) -> None:
    simulate_votes(released, accuracies=[0.9, 0.9, 0.9])
    with released.write() as session:
        kept = set(corpus(session, "all", ["test"]).triples.tolist())
        said = majority_labels(session, simulated=True)
        right = {i for i in kept if i not in said or said[i].accept}
    assert right < kept
    write(released, "all", tmp_path / "own")
    assert {int(row["key"]) for row in rows_in(tmp_path / "own")} == right


def test_the_same_seed_writes_the_same(released: Store, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(released, "all", tmp_path / name, seed=seed)
    a, b, c = (rows_in(tmp_path / name) for name in "abc")
    assert a == b != c


def test_what_cannot_be_written_is_one_sentence_and_leaves_nothing(
    released: Store, tmp_path: Path
) -> None:
    out = tmp_path / "own"
    with pytest.raises(UserError, match="no release named 'none'"):
        write(released, "none", out)
    with released.write() as session:
        image = session.get_one(Image, int(corpus(session, "all", ["test"]).images[0]))
        image.name += ".gone"
    with pytest.raises(UserError, match=r"\.gone.* missing"):
        write(released, "all", out)
    assert list(tmp_path.glob("own*")) == []
    out.mkdir()
    (out / "mine").write_text("")
    with pytest.raises(UserError, match="not empty"):
        write(released, "all", out)


def test_by_command(released: Store, tmp_path: Path) -> None:
    url = released.engine.url.render_as_string(hide_password=False)
    asked = ["student", "hold-out", str(tmp_path / "own"), "--release", "all", "--store", url]
    told = CliRunner().invoke(cli, [*asked, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["items"] == len(rows_in(tmp_path / "own"))
