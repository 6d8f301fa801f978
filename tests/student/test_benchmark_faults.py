"""Rows of a benchmark that would be scored wrongly: each is handled, or left out and counted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.store import runs
from db.store.json_lines import to_line
from db.store.session import Store
from regions.errors import InvalidError
from student.asking.inference import LoadedStudent
from student.benchmarks.evaluate import NAMES, EvaluationReport, evaluate, get_benchmark
from student.benchmarks.item_records import ItemRecord, records_file
from student.benchmarks.loading import LoadedItems, load_items, with_unique_keys
from student.benchmarks.protocol import Item
from tests.student.benchmark_files import Oracle, Write, write_all_benchmarks

Rows = list[dict[str, Any]]
FILES = {
    "vcr": "val.jsonl",
    "sherlock": "val_comparison/val_comparison_answer_key.json",
    "visualcomet": "val_annots.json",
    "aokvqa": "aokvqa_v1p0_val.json",
    "snli-ve": "snli_ve_test.jsonl",
    "visual7w": "dataset_v7w_telling.json",
    "held-out": "choices.jsonl",
    "pope": "coco_pope_random.json",
}
HELD_OUT = {
    "key": "1",
    "image": "a.png",
    "regions": [{"number": 0, "box": [1, 1, 20, 20], "polygons": []}],
    "question": "What is [0]?",
    "choices": ["a", "b"],
    "right": 1,
}


@pytest.fixture
def files(tmp_path: Path, write: Write) -> Path:
    """The official files of all benchmarks, and held-out triples."""
    write_all_benchmarks(write)
    write("images/a.png", (60, 60))
    write("choices.jsonl", [HELD_OUT])
    return tmp_path


def load(folder: Path, name: str) -> LoadedItems:
    return load_items(get_benchmark(name), folder)


def change_rows(folder: Path, name: str, change: Callable[[Rows], Rows]) -> None:
    """Replace the rows of a benchmark's file."""
    file = folder / FILES[name]
    text = file.read_text("utf-8")
    if file.suffix == ".jsonl" or name == "pope":
        rows = [json.loads(line) for line in text.splitlines()]
        file.write_text("".join(map(to_line, change(rows))), "utf-8")
        return
    document = json.loads(text)
    if name == "sherlock":
        document["annotations"] = change(document["annotations"])
    elif name == "visual7w":
        document["images"][0]["qa_pairs"] = change(document["images"][0]["qa_pairs"])
    else:
        document = change(document)
    file.write_text(json.dumps(document), "utf-8")


def add_row(folder: Path, name: str, **fields: object) -> None:
    """Append a copy of the first row with other fields."""
    change_rows(folder, name, lambda rows: [*rows, rows[0] | fields])


@pytest.mark.parametrize("name", NAMES)
def test_items_that_share_an_id_are_kept_apart(files: Path, name: str) -> None:
    before = load(files, name)
    change_rows(files, name, lambda rows: rows + rows)
    after = load(files, name)
    assert len({item.key for item in after.items}) == len(after.items) == 2 * len(before.items)
    # VisualCOMET has no ids: its keys are numbered.
    assert after.repeated_keys == (0 if name == "visualcomet" else len(before.items))


def test_each_of_two_items_of_one_id_is_answered(
    files: Path, write: Write, evaluate_oracle: Callable[..., EvaluationReport]
) -> None:
    row = {"question_id": "same", "image_id": 12, "question": "What is it?"}
    rows = [
        {**row, "choices": ["good", "bad"], "correct_choice_idx": 0},
        {**row, "choices": ["bad", "good"], "correct_choice_idx": 1},
    ]
    write("aokvqa_v1p0_val.json", rows)
    report = evaluate_oracle("aokvqa", files, Oracle("good"))
    assert report.figures["accuracy"].value == 100
    assert (report.items, report.repeated_keys) == (2, 1)


@given(keys=st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)"])))
def test_keys_become_unique_and_the_first_of_each_stays(keys: list[str]) -> None:
    items = with_unique_keys([Item(key, Path("i"), (), ()) for key in keys])
    unique = [item.key for item in items]
    assert len(set(unique)) == len(keys)
    assert set(keys) <= set(unique)
    assert all(new.startswith(old) for new, old in zip(unique, keys, strict=True))


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("aokvqa", "correct_choice_idx"),
        ("vcr", "answer_label"),
        ("vcr", "rationale_label"),
        ("held-out", "right"),
    ],
)
@pytest.mark.parametrize("index", [-1, 4, 1.0, True, "1", [1]])
def test_an_index_of_no_choice_costs_its_item(
    files: Path, name: str, field: str, index: object
) -> None:
    """Python would take -1 for the last choice and true for the second."""
    add_row(files, name, **{field: index})
    loaded = load(files, name)
    assert loaded.skipped["the right choice is not one of the choices"] == 1
    assert len(loaded.items) == 1


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vcr", {"question": ["Is", [7], "glad", "?"]}),
        ("vcr", {"rationale_choices": [["It", "rains"], [[3], "smiles"]]}),
        ("held-out", {"question": "What is [1]?"}),
        ("held-out", {"choices": ["a", "as [1]"]}),
    ],
)
def test_a_reference_beyond_the_boxes_costs_its_item(
    files: Path, name: str, fields: dict[str, object]
) -> None:
    add_row(files, name, **fields)
    loaded = load(files, name)
    assert loaded.skipped["a text refers to a region that is not there"] == 1
    assert len(loaded.items) == 1


def test_a_person_beyond_the_boxes_costs_its_item(files: Path) -> None:
    metadata = files / "vcr1images" / "film" / "1.json"
    content = json.loads(metadata.read_text("utf-8"))
    metadata.write_text(json.dumps(content | {"boxes": content["boxes"][:1]}), "utf-8")
    with pytest.raises(InvalidError, match=r"no item .*: 3 x a person without a region"):
        load(files, "visualcomet")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("vcr", "vcr1images/film/1.jpg"),
        ("visualcomet", "vcr1images/film/1.jpg"),
        ("sherlock", "VG_100K/7.jpg"),
    ],
)
def test_boxes_are_scaled_to_a_resized_image_and_refused_for_another_shape(
    files: Path, write: Write, name: str, image: str
) -> None:
    """The files state 100 x 80."""
    expected = [region.box for region in load(files, name).items[0].regions]
    for size, factor in (((200, 160), 2.0), ((33, 26), 0.33), ((33, 27), 0.33)):
        write(image, size)
        boxes = [region.box for region in load(files, name).items[0].regions]
        for scaled, box in zip(boxes, expected, strict=True):
            assert scaled == pytest.approx([factor * side for side in box], rel=0.03)
    for size in ((80, 100), (100, 84), (128, 128)):
        write(image, size)
        with pytest.raises(InvalidError, match="the boxes are for an image of another shape"):
            load(files, name)
    (files / image).write_bytes(b"no image")
    with pytest.raises(InvalidError, match="the image cannot be read"):
        load(files, name)


def test_a_held_out_region_outside_its_image_costs_its_item(files: Path, write: Write) -> None:
    write("images/a.png", (10, 10))
    with pytest.raises(InvalidError, match="1 x a region lies outside its image"):
        load(files, "held-out")


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("aokvqa", {"choices": "yes"}, "the right choice is not one of the choices"),
        ("aokvqa", {"choices": ["a"], "correct_choice_idx": 0}, "fewer than two choices"),
        ("aokvqa", {"choices": ["a", None]}, "a question or a choice is not text"),
        ("aokvqa", {"question": None}, "a question or a choice is not text"),
        ("held-out", {"choices": "yes"}, "the right choice is not one of the choices"),
        ("held-out", {"regions": 2 * HELD_OUT["regions"]}, "two regions have the same number"),  # type: ignore[operator]
        ("visual7w", {"multiple_choices": "yes"}, "no distractors"),
        ("visual7w", {"answer": 3}, "a question or a choice is not text"),
        ("pope", {"text": ["Is", "it"]}, "a question or a choice is not text"),
        ("vcr", {"question": "Is he glad?"}, "not in VCR's format, or without labels"),
        ("visualcomet", {"intent": "be glad"}, "no inference, or too few candidates"),
        ("sherlock", {"candidates": []}, "an inference is missing"),
    ],
)
def test_texts_of_another_type_cost_their_item(
    files: Path, name: str, fields: dict[str, object], reason: str
) -> None:
    before = load(files, name)
    add_row(files, name, **fields)
    after = load(files, name)
    assert after.skipped[reason] == before.skipped.get(reason, 0) + 1
    assert len(after.items) >= len(before.items)


def test_a_rating_that_is_not_a_number_costs_its_item(files: Path) -> None:
    def damage(rows: Rows) -> Rows:
        candidates = [c | {"annot1": float("nan")} for c in rows[0]["candidates"]]
        return [*rows, rows[0] | {"candidates": candidates}]

    change_rows(files, "sherlock", damage)
    loaded = load(files, "sherlock")
    assert loaded.skipped == {"a rating is not a number": 1}
    assert len(loaded.items) == 1


def test_an_answer_to_another_question_of_the_same_id_is_not_used(
    files: Path, evaluate_oracle: Callable[..., EvaluationReport], sqlite_store: Store
) -> None:
    """An evaluation was interrupted, and the files were replaced."""
    (item,) = load(files, "aokvqa").items
    (question,) = item.questions
    other = replace(item, questions=(replace(question, choices=("b", "a")),))
    file = records_file(runs.folder(sqlite_store, "student-1"), "aokvqa").with_suffix(".part")
    file.parent.mkdir(parents=True, exist_ok=True)
    record = ItemRecord.of(other, [[1.0, 0.0]], {"items": 1.0, "correct": 0.0})
    file.write_text(to_line(record.to_row()), "utf-8")
    report = evaluate_oracle("aokvqa", files, Oracle("b"))
    assert report.figures["accuracy"].value == 100


@pytest.fixture
def evaluate_oracle(sqlite_store: Store) -> Callable[..., EvaluationReport]:
    """A function of a benchmark's name, its folder and an oracle."""
    with sqlite_store.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {"triples": 1})

    def call(name: str, folder: Path, oracle: Oracle) -> EvaluationReport:
        student: Any = oracle
        return evaluate(
            sqlite_store, None, name, folder, loader=lambda *_: LoadedStudent(student, None)
        )

    return call
