"""Benchmarks in their official formats, written by hand, and metrics on countable cases."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from db.schema import Run
from db.store import runs
from db.store.results import Estimate
from db.store.session import Store
from lskd_cli import cli
from regions import references
from regions.errors import UserError
from student.asking.inference import LoadedStudent
from student.benchmarks import paper, pope, sherlock, vcr, visualcomet
from student.benchmarks.compare import compare
from student.benchmarks.evaluate import (
    NAMES,
    EvaluationReport,
    evaluate,
    find_errors,
    get_benchmark,
)
from student.benchmarks.item_records import ItemRecord, QuestionRecord, records_file
from student.benchmarks.protocol import Item, LoadReport, Question
from student.models.protocol import Query, Scores
from student.publishing import model_card
from tests.student.benchmark_files import Oracle, Write, write_all_benchmarks

Evaluate = Callable[..., EvaluationReport]


@pytest.fixture
def evaluate_oracle(sqlite_store: Store) -> Evaluate:
    """A function of a benchmark's name, its folder and an oracle."""
    with sqlite_store.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {"triples": 1})

    def call(name: str, folder: Path, oracle: Oracle, **options: Any) -> EvaluationReport:  # noqa: ANN401 - of `evaluate`
        student: Any = oracle
        return evaluate(
            sqlite_store,
            None,
            name,
            folder,
            loader=lambda *_: LoadedStudent(student, None),
            **options,
        )

    return call


@pytest.mark.parametrize(
    ("name", "right", "figures", "skipped"),
    [
        ("vcr", "[", {"q_a": 100, "qa_r": 100, "q_ar": 100}, {"the image is missing": 1}),
        ("vcr", "is.", {"q_a": 100, "qa_r": 0, "q_ar": 0}, {"the image is missing": 1}),
        ("sherlock", "guess 2", {"comparison": 100}, {}),
        ("sherlock", "guess 0", {"comparison": -100}, {}),
        ("visualcomet", "e", {}, {}),
        ("aokvqa", "b", {"accuracy": 100}, {}),
        ("aokvqa", "a", {"accuracy": 0}, {}),
        ("snli-ve", "entail", {"accuracy": 100}, {"no gold label": 1}),
        ("visual7w", "He", {"accuracy": 100}, {}),
        ("pope", "Yes.", {"accuracy": 50, "precision": 50, "recall": 100, "yes_ratio": 100}, {}),
        ("pope", "There is not", {"accuracy": 50, "recall": 0, "yes_ratio": 0}, {}),
    ],
)
def test_figures_of_a_benchmark(
    tmp_path: Path,
    write: Write,
    evaluate_oracle: Evaluate,
    *,
    name: str,
    right: str,
    figures: dict[str, float],
    skipped: dict[str, int],
) -> None:
    write_all_benchmarks(write)
    report = evaluate_oracle(name, tmp_path, Oracle(right))
    assert report.skipped == skipped
    for figure, value in figures.items():
        assert report.figures[figure].value == pytest.approx(value, abs=1e-6)
    assert report.items >= 1


def test_every_name_is_a_benchmark_and_the_papers_figures_are_those_of_its_table() -> None:
    columns = [column for name in NAMES for column in get_benchmark(name).paper_columns]
    assert columns == list(paper.COLUMNS)
    assert paper.figure("BLIP-2 ViT-G + LSKD (paper)", "Sherlock") == 29.7
    with pytest.raises(UserError, match="no benchmark named 'mmlu'"):
        get_benchmark("mmlu")


def test_vcr_shows_the_mentioned_regions_under_their_numbers(tmp_path: Path, write: Write) -> None:
    write_all_benchmarks(write)
    (item,) = vcr.load_items(tmp_path, LoadReport())
    assert [region.number for region in item.regions] == [0, 1]
    assert item.questions[0].text == "Is [0] glad?"
    assert item.questions[1].text == "Is [0] glad? Yes, [1] is. Why?"


def test_pairwise_agreement_is_counted_as_on_the_leaderboard() -> None:
    """From -1, all wrong, to 1; pairs that a person rates equally do not count."""
    assert sherlock.pairwise_agreement([3, 2, 1], [1, 2, 3]) == -1
    assert sherlock.pairwise_agreement([1, 2, 3], [1, 2, 3]) == 1
    assert sherlock.pairwise_agreement([1, 3, 2], [1, 2, 3]) == pytest.approx(1 / 3)
    assert sherlock.pairwise_agreement([1, 2], [5, 5]) == 0
    # Equal scores: the official random numbers for the seed 1 begin .417, .720, .0001.
    assert sherlock.pairwise_agreement([0, 0, 0], [1, 2, 0]) == 1


def test_visualcomet_has_fifty_candidates_with_the_true_ones_first(
    tmp_path: Path, write: Write
) -> None:
    write_all_benchmarks(write)
    items = {item.key: item for item in visualcomet.load_items(tmp_path, LoadReport())}
    before = items["0-before"].questions[0]
    assert len(before.choices) == visualcomet.CANDIDATES
    assert before.choices[:2] == ("meet [1]", "run")
    assert before.target == 2
    assert not references.mentioned(" ".join(before.choices[2:]))
    assert before.text.startswith("[0] hugs [1]. in a street. What did [0] need")
    scores = np.linspace(0, 1, 50)
    assert visualcomet.count_item(items["0-before"], [scores])["recall"] == 0
    assert visualcomet.count_item(items["0-before"], [-scores])["recall"] == 1
    half = np.zeros(50)
    half[[0, 7]] = 1
    assert visualcomet.count_item(items["0-before"], [half])["recall"] == 0.5


@pytest.mark.parametrize(
    ("output", "is_no"),
    [
        ("No, there is no dog", True),
        ("Yes. There is no cat", False),
        ("There is not", True),
        ("Nothing like it", False),
        ("yes", False),
        ([0.2, 0.9], True),
    ],
)
def test_pope_parses_an_answer_as_the_official_script_does(output: object, *, is_no: bool) -> None:
    assert pope.parse_decision(output) == int(is_no)


def test_popes_figures_are_those_of_the_official_script() -> None:
    yes_item = Item("k", Path("i"), (), (Question("?", pope.CHOICES, 0),))
    no_item = Item("k", Path("i"), (), (Question("?", pope.CHOICES, 1),))
    rows = [(yes_item, "yes")] * 3 + [(yes_item, "no")]
    rows += [(no_item, "yes")] * 2 + [(no_item, "no")] * 4
    counts = [pope.count_item(item, [output]) for item, output in rows]
    sums = {name: np.array(sum(count[name] for count in counts)) for name in counts[0]}
    figures = pope.figures(sums)
    assert figures["precision"] == pytest.approx(60)
    assert figures["recall"] == pytest.approx(75)
    assert figures["f1"] == pytest.approx(200 / 3)
    assert figures["accuracy"] == pytest.approx(70)
    assert figures["yes_ratio"] == pytest.approx(50)


def test_intervals_are_resampled_by_image(
    tmp_path: Path, write: Write, evaluate_oracle: Evaluate
) -> None:
    write_all_benchmarks(write)
    row = {"question": "What is it?", "choices": ["a", "b"]}
    for image in range(12):
        write(f"val2017/{image:012}.jpg", (20, 20))
    rows = [
        {**row, "question_id": f"{image}-{n}", "image_id": image, "correct_choice_idx": image % 2}
        for image in range(12)
        for n in range(5)
    ]
    write("aokvqa_v1p0_val.json", rows)
    accuracy = evaluate_oracle("aokvqa", tmp_path, Oracle("b")).figures["accuracy"]
    # 12 images that are all right or all wrong: as wide as 12 coins, not as 60.
    assert accuracy.value == 50
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.high - accuracy.low > 45


def test_items_are_answered_once_after_an_interruption(
    tmp_path: Path, write: Write, evaluate_oracle: Evaluate, sqlite_store: Store
) -> None:
    write_all_benchmarks(write)
    row = {"image_id": 12, "question": "What?", "choices": ["a", "b"], "correct_choice_idx": 1}
    write("aokvqa_v1p0_val.json", [{**row, "question_id": str(n)} for n in range(40)])

    class Interrupted(Oracle):
        def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
            if self.calls > 15:
                raise KeyboardInterrupt
            return super().rank(queries, choices)

    with pytest.raises(KeyboardInterrupt):
        evaluate_oracle("aokvqa", tmp_path, Interrupted("b"))
    folder = runs.folder(sqlite_store, "student-1")
    partial_file = records_file(folder, "aokvqa").with_suffix(".part")
    with partial_file.open("a") as out:
        out.write('{"key": "cut o')
    oracle = Oracle("b")
    assert evaluate_oracle("aokvqa", tmp_path, oracle).figures["accuracy"].value == 100
    assert oracle.calls == 40 - 16
    assert not partial_file.exists()


def test_students_are_compared_and_their_errors_shown(
    tmp_path: Path, write: Write, evaluate_oracle: Evaluate, sqlite_store: Store
) -> None:
    write_all_benchmarks(write)
    for name in ("vcr", "pope"):
        evaluate_oracle(name, tmp_path, Oracle("is."))
    comparison = compare(sqlite_store, [])
    rows = {row.student: row.figures for row in comparison.rows}
    assert rows["BLIP-2 ViT-G (paper)"]["VCR Q-A"] == Estimate(56.1)
    assert rows["student-1"]["VCR Q-A"].value == 100
    assert rows["student-1"]["VCR QA-R"].value == 0
    assert rows["student-1"]["POPE recall"].value == 100
    assert "Sherlock" in comparison.columns
    assert "Sherlock" not in rows["student-1"]
    errors = find_errors(sqlite_store, None, "vcr")
    assert (errors.items, errors.wrong) == (1, 1)
    assert errors.records[0].questions[0].text == "Is [0] glad?"
    assert errors.records[0].predictions()[0] == "Yes, [1] is."
    with pytest.raises(UserError, match="has not been evaluated on sherlock"):
        find_errors(sqlite_store, None, "sherlock")
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    table = CliRunner().invoke(cli, ["student", "compare", "--store", url])
    assert "100.0 [100.0, 100.0]" in table.output
    shown = CliRunner().invoke(cli, ["student", "errors", "vcr", "--store", url])
    assert "1 of 1 items are wrong" in shown.output
    with sqlite_store.read() as session:
        card = model_card.card(session, session.scalars(select(Run)).one())
    assert "`vcr`, Q-A: 100.0 [100.0, 100.0] %" in card


def test_answers_of_a_former_version_are_read() -> None:
    row = {
        "key": "k",
        "image": "i.png",
        "regions": [[0, 1.0, 2.0, 3.0, 4.0]],
        "questions": [["Why?", ["a", "b"], 1]],
        "found": [[0.5, 0.2]],
        "counts": {"items": 1.0, "right": 0.0, "true yes": 0.0},
    }
    record = ItemRecord.from_row(row)
    assert record.questions == [QuestionRecord("Why?", ["a", "b"], 1)]
    assert record.counts == {"items": 1.0, "correct": 0.0, "true_positives": 0.0}
    assert record.predictions() == ["a"]
    assert record.is_wrong
    assert ItemRecord.from_row(record.to_row()) == record


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_the_official_files_is_refused(
    tmp_path: Path, evaluate_oracle: Evaluate, sqlite_store: Store, name: str
) -> None:
    (tmp_path / "readme.txt").write_text("else", "utf-8")
    (tmp_path / "val_comparison").mkdir()
    with pytest.raises(UserError, match=r"no .* of .* here: it (holds|is empty).*--data"):
        evaluate_oracle(name, tmp_path, Oracle())
    with sqlite_store.read() as session:
        assert "benchmarks" not in session.scalars(select(Run)).one().results


@pytest.mark.parametrize(
    ("file", "content", "name", "reason"),
    [
        ("aokvqa_v1p0_val.json", {"annotations": []}, "aokvqa", "not the files of A-OKVQA"),
        ("aokvqa_v1p0_val.json", [{"image": 1}], "aokvqa", "not the files of A-OKVQA.*image_id"),
        ("val_annots.json", [{"img": 1}], "visualcomet", "no item of VisualCOMET.*missing"),
        ("coco_pope_random.json", [{"label": "maybe"}], "pope", "unknown label 'maybe'"),
        ("snli_ve_test.jsonl", [[1]], "snli-ve", "not a JSON object.*line 1"),
    ],
)
def test_files_in_another_format_are_refused(
    tmp_path: Path,
    write: Write,
    evaluate_oracle: Evaluate,
    *,
    file: str,
    content: object,
    name: str,
    reason: str,
) -> None:
    write(file, content)
    with pytest.raises(UserError, match=reason):
        evaluate_oracle(name, tmp_path, Oracle())
