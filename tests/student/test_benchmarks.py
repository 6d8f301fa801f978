"""Benchmarks in their official form, made by hand; their metrics on cases that can be counted."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Pillow
from sqlalchemy import select

from db.schema import Run
from db.store import runs
from db.store.session import Store
from lskd_cli import cli
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from regions.view import View, make_view
from student.asking.inference import Ready
from student.benchmarks import evaluate as measuring
from student.benchmarks import paper, pope, sherlock, vcr, visualcomet
from student.benchmarks.evaluate import NAMES, benchmark, chosen, errors, evaluate, table
from student.benchmarks.protocol import Item, Question, Reading
from student.models.protocol import Answer, Ask, Scores

Write = Callable[[str, Any], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: Any) -> None:  # noqa: ANN401 - JSON, lines of it, or a picture's size
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            Pillow.new("RGB", content).save(file)
        elif name.endswith(".jsonl") or "pope" in name:
            file.write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
        else:
            file.write_text(json.dumps(content), "utf-8")

    return put


def a_still(write: Write) -> None:
    write("vcr1images/film/1.jpg", (100, 80))
    metadata = {
        "width": 100,
        "height": 80,
        "boxes": [[10, 10, 40, 70, 0.9], [50, 10, 90, 70, 0.8], [1, 1, 9, 9, 0.7]],
        "names": ["person", "person", "dog"],
        "segms": [],
    }
    write("vcr1images/film/1.json", metadata)


def everything(write: Write) -> None:
    """All seven, two items each or more."""
    a_still(write)
    of = {"img_fn": "film/1.jpg", "metadata_fn": "film/1.json"}
    answers = [["No", "."], ["Yes", ",", [1], "is", "."], ["Maybe", "."], ["Ask", [0], "."]]
    said = {
        **of,
        "objects": ["person", "person", "dog"],
        "question": ["Is", [0], "glad", "?"],
        "answer_choices": answers,
        "rationale_choices": [["It", "rains", "."], [[0], "smiles", "."], ["So", "."], ["Eh", "."]],
        "answer_label": 1,
        "rationale_label": 1,
    }
    gone = {**said, "img_fn": "film/2.jpg", "annot_id": "val-1"}
    write("val.jsonl", [{**said, "annot_id": "val-0"}, gone])
    comet = {
        **of,
        "place": "in a street",
        "event": "1 hugs 2",
        "before": ["meet 2", "run"],
        "intent": ["be glad"],
        "after": [f"go home {n} times" for n in range(60)],
    }
    write("val_annots.json", [comet])
    write("VG_100K/7.jpg", (100, 80))
    box = [{"left": 10, "top": 10, "width": 30, "height": 30}]
    url = "https://example.org/VG_100K/7.jpg"
    shown = {"url": url, "width": 100, "height": 80}
    told = [
        {"image": shown, "region": box, "inference": f"guess {n}", "test_id": f"t{n}"}
        for n in range(3)
    ]
    write("val_comparison/val_comparison_instances.json", told)
    key = {
        "test_id_map": {f"t{n}": {"Input_iid": "i", "candidate": f"c{n}"} for n in range(3)},
        "annotations": [
            {
                "Input_iid": "i",
                "candidates": [
                    {"source_iid": f"c{n}", "annot1": n, "annot2": [0, 0, 1][n]} for n in range(3)
                ],
            }
        ],
    }
    write("val_comparison/val_comparison_answer_key.json", key)
    write("val2017/000000000012.jpg", (60, 60))
    knows = {"question_id": "q", "image_id": 12, "question": "What is it?", "choices": ["a", "b"]}
    write("aokvqa_v1p0_val.json", [{**knows, "correct_choice_idx": 1}])
    write("flickr30k-images/5.jpg", (60, 60))
    sentence = {"Flickr30K_ID": "5", "sentence2": "a dog [3]", "pairID": "p"}
    labels = [{**sentence, "gold_label": "entailment"}, {**sentence, "gold_label": "-"}]
    write("snli_ve_test.jsonl", labels)
    write("images/v7w_1.jpg", (60, 60))
    pair = {"qa_id": 6, "question": "Who?", "answer": "He.", "type": "who"}
    asked = {"filename": "v7w_1.jpg", "qa_pairs": [{**pair, "multiple_choices": ["A", "B", "C"]}]}
    write("dataset_v7w_telling.json", {"images": [{**asked, "split": s} for s in ("test", "val")]})
    write("val2014/COCO_1.jpg", (60, 60))
    there = {"question_id": 1, "image": "COCO_1.jpg", "text": "Is there a dog?", "label": "yes"}
    write("coco_pope_random.json", [there, {**there, "question_id": 2, "label": "no"}])


class Oracle:
    """Chooses what a test says is right, and looks as any student does."""

    writes, notes = True, None
    calls = 0

    def __init__(self, right: str = "") -> None:
        self.right = right

    def look(
        self,
        picture: Pillow.Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        shown: Sequence[int],
    ) -> View:
        return make_view(picture, regions, texts, visible=shown, size=(48, 48))

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        self.calls += len(asks)
        for ask, some in zip(asks, choices, strict=True):
            numbers = references.mentioned(" ".join([ask.question or "", *some]))
            assert set(numbers) <= {region.number for region in ask.view.regions}
        return [np.array([float(self.right in text) for text in some]) for some in choices]

    def answer(self, ask: Ask) -> Answer:
        return Answer(ask.question or "", self.right, "", 0.0)


@pytest.fixture
def asked(sqlite_store: Store) -> Callable[..., dict[str, Any]]:
    """Evaluates an oracle: `asked(name, folder, right)`."""
    with sqlite_store.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {"triples": 1})

    def call(name: str, folder: Path, oracle: Oracle, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - its options
        student: Any = oracle
        return evaluate(
            sqlite_store, None, name, folder, loader=lambda *_: Ready(student, None), **more
        )

    return call


@pytest.mark.parametrize(
    ("name", "right", "figures", "left_out"),
    [
        ("vcr", "[", {"Q-A": 100, "QA-R": 100, "Q-AR": 100}, {"the image is missing": 1}),
        ("vcr", "is.", {"Q-A": 100, "QA-R": 0, "Q-AR": 0}, {"the image is missing": 1}),
        ("sherlock", "guess 2", {"comparison": 100}, {}),
        ("sherlock", "guess 0", {"comparison": -100}, {}),
        ("visualcomet", "e", {}, {}),
        ("aokvqa", "b", {"accuracy": 100}, {}),
        ("aokvqa", "a", {"accuracy": 0}, {}),
        ("snli-ve", "entail", {"accuracy": 100}, {"no label that people agreed on": 1}),
        ("visual7w", "He", {"accuracy": 100}, {}),
        ("pope", "Yes.", {"accuracy": 50, "precision": 50, "recall": 100, "yes ratio": 100}, {}),
        ("pope", "There is not", {"accuracy": 50, "recall": 0, "yes ratio": 0}, {}),
    ],
)
def test_figures_of_a_benchmark(
    tmp_path: Path,
    write: Write,
    asked: Callable[..., dict[str, Any]],
    *,
    name: str,
    right: str,
    figures: dict[str, float],
    left_out: dict[str, int],
) -> None:
    everything(write)
    told = asked(name, tmp_path, Oracle(right))
    assert told["left out"] == left_out
    for figure, value in figures.items():
        assert told["figures"][figure]["value"] == pytest.approx(value, abs=1e-6)
    assert told["items"] >= 1


def test_every_name_is_a_benchmark_and_the_papers_figures_are_those_of_its_table() -> None:
    columns = [column for name in NAMES for column in benchmark(name).paper]
    assert columns == list(paper.COLUMNS)
    assert paper.figure("BLIP-2 ViT-G + LSKD (paper)", "Sherlock") == 29.7
    with pytest.raises(UserError, match="no benchmark 'mmlu'"):
        benchmark("mmlu")


def test_vcr_shows_what_is_mentioned_in_its_own_numbers(tmp_path: Path, write: Write) -> None:
    everything(write)
    (item,) = vcr.items(tmp_path, Reading())
    assert [region.number for region in item.regions] == [0, 1]
    assert item.questions[0].text == "Is [0] glad?"
    assert item.questions[1].text == "Is [0] glad? Yes, [1] is. Why?"


def test_pairs_in_order_are_counted_as_the_leaderboard_counts_them() -> None:
    """From -1, all wrong, to 1; pairs that a person finds equal do not count."""
    assert sherlock.pairwise([3, 2, 1], [1, 2, 3]) == -1
    assert sherlock.pairwise([1, 2, 3], [1, 2, 3]) == 1
    assert sherlock.pairwise([1, 3, 2], [1, 2, 3]) == pytest.approx(1 / 3)
    assert sherlock.pairwise([1, 2], [5, 5]) == 0
    # Equal scores: the official lot for the seed 1 begins .417, .720, .0001.
    assert sherlock.pairwise([0, 0, 0], [1, 2, 0]) == 1


def test_fifty_candidates_with_the_true_ones_first(tmp_path: Path, write: Write) -> None:
    everything(write)
    items = {item.key: item for item in visualcomet.items(tmp_path, Reading())}
    before = items["0-before"].questions[0]
    assert len(before.choices) == visualcomet.CANDIDATES
    assert before.choices[:2] == ("meet [1]", "run")
    assert before.truth == 2
    assert not references.mentioned(" ".join(before.choices[2:]))
    assert before.text.startswith("[0] hugs [1]. in a street. What did [0] need")
    scores = np.linspace(0, 1, 50)
    assert visualcomet.counts(items["0-before"], [scores])["recall"] == 0
    assert visualcomet.counts(items["0-before"], [-scores])["recall"] == 1
    half = np.zeros(50)
    half[[0, 7]] = 1
    assert visualcomet.counts(items["0-before"], [half])["recall"] == 0.5


@pytest.mark.parametrize(
    ("text", "no"),
    [
        ("No, there is no dog", True),
        ("Yes. There is no cat", False),
        ("There is not", True),
        ("Nothing like it", False),
        ("yes", False),
        ([0.2, 0.9], True),
    ],
)
def test_pope_reads_an_answer_as_its_script_does(text: object, *, no: bool) -> None:
    assert pope.decision(text) == int(no)


def test_popes_figures_are_those_of_its_script() -> None:
    item = Item("k", Path("i"), (), (Question("?", pope.CHOICES, 0),))
    other = Item("k", Path("i"), (), (Question("?", pope.CHOICES, 1),))
    rows = [(item, "yes")] * 3 + [(item, "no")] + [(other, "yes")] * 2 + [(other, "no")] * 4
    counts = [pope.counts(one, [said]) for one, said in rows]
    sums = {name: np.array(sum(one[name] for one in counts)) for name in counts[0]}
    found = pope.figures(sums)
    assert found["precision"] == pytest.approx(60)
    assert found["recall"] == pytest.approx(75)
    assert found["F1"] == pytest.approx(200 / 3)
    assert found["accuracy"] == pytest.approx(70)
    assert found["yes ratio"] == pytest.approx(50)


def test_intervals_are_drawn_by_image(
    tmp_path: Path, write: Write, asked: Callable[..., dict[str, Any]]
) -> None:
    everything(write)
    knows = {"question": "What is it?", "choices": ["a", "b"]}
    for image in range(12):
        write(f"val2017/{image:012}.jpg", (20, 20))
    rows = [
        {**knows, "question_id": f"{image}-{n}", "image_id": image, "correct_choice_idx": image % 2}
        for image in range(12)
        for n in range(5)
    ]
    write("aokvqa_v1p0_val.json", rows)
    told = asked("aokvqa", tmp_path, Oracle("b"))["figures"]["accuracy"]
    low, high = told["interval"]
    # 12 images that are all right or all wrong: as wide as 12 coins, not as 60.
    assert told["value"] == 50
    assert high - low > 45


def test_what_was_answered_is_not_asked_again(
    tmp_path: Path, write: Write, asked: Callable[..., dict[str, Any]], sqlite_store: Store
) -> None:
    everything(write)
    knows = {"image_id": 12, "question": "What?", "choices": ["a", "b"], "correct_choice_idx": 1}
    write("aokvqa_v1p0_val.json", [{**knows, "question_id": str(n)} for n in range(40)])

    class Stops(Oracle):
        def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
            if self.calls > 15:
                raise KeyboardInterrupt
            return super().rank(asks, choices)

    with pytest.raises(KeyboardInterrupt):
        asked("aokvqa", tmp_path, Stops("b"))
    folder = runs.folder(sqlite_store, "student-1")
    part = measuring.answers_file(folder, "aokvqa").with_suffix(".part")
    with part.open("a") as out:
        out.write('{"key": "cut o')
    rest = Oracle("b")
    assert asked("aokvqa", tmp_path, rest)["figures"]["accuracy"]["value"] == 100
    assert rest.calls == 40 - 16
    assert not part.exists()


def test_the_table_and_the_errors(
    tmp_path: Path, write: Write, asked: Callable[..., dict[str, Any]], sqlite_store: Store
) -> None:
    everything(write)
    for name in ("vcr", "pope"):
        asked(name, tmp_path, Oracle("is."))
    rows = {row["student"]: row for row in table(sqlite_store, [])}
    assert rows["BLIP-2 ViT-G (paper)"]["VCR Q-A"] == 56.1
    assert rows["student-1"]["VCR Q-A"] == 100
    assert rows["student-1"]["VCR QA-R"] == 0
    assert rows["student-1"]["POPE recall"] == 100
    assert rows["student-1"]["Sherlock"] is None
    found = errors(sqlite_store, None, "vcr")
    assert (found["items"], found["wrong"]) == (1, 1)
    assert chosen(found["rows"][0])[0] == ("Is [0] glad?", "Yes, [1] is.")
    with pytest.raises(UserError, match="was not evaluated on sherlock"):
        errors(sqlite_store, None, "sherlock")
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    said = CliRunner().invoke(cli, ["student", "compare", "--store", url])
    assert "100.0 [100.0, 100.0]" in said.output
    shown = CliRunner().invoke(cli, ["student", "errors", "vcr", "--store", url])
    assert "1 of 1 items are not wholly right" in shown.output


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_other_files_is_named(
    tmp_path: Path, asked: Callable[..., dict[str, Any]], sqlite_store: Store, name: str
) -> None:
    (tmp_path / "readme.txt").write_text("else", "utf-8")
    (tmp_path / "val_comparison").mkdir()
    with pytest.raises(UserError, match=r"no .* of .* here: it (holds|is empty).*--data"):
        asked(name, tmp_path, Oracle())
    with sqlite_store.read() as session:
        assert "benchmarks" not in session.scalars(select(Run)).one().results


@pytest.mark.parametrize(
    ("file", "content", "name", "reason"),
    [
        ("aokvqa_v1p0_val.json", {"annotations": []}, "aokvqa", "not those of A-OKVQA"),
        ("aokvqa_v1p0_val.json", [{"image": 1}], "aokvqa", "not those of A-OKVQA.*image_id"),
        ("val_annots.json", [{"img": 1}], "visualcomet", "nothing of VisualCOMET.*missing"),
        ("coco_pope_random.json", [{"label": "maybe"}], "pope", "a label 'maybe'"),
        ("snli_ve_test.jsonl", [[1]], "snli-ve", "no JSON object.*line 1"),
    ],
)
def test_files_of_another_form_are_named(
    tmp_path: Path,
    write: Write,
    asked: Callable[..., dict[str, Any]],
    *,
    file: str,
    content: object,
    name: str,
    reason: str,
) -> None:
    write(file, content)
    with pytest.raises(UserError, match=reason):
        asked(name, tmp_path, Oracle())
