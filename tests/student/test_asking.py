"""Asking a student: numbers of regions, turns, confidence, files of questions; the baseline."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Pillow
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from annotator.jobs import student_loader
from db.images import image_files
from db.schema import Image, Run
from db.store import queries, runs
from db.store.session import Store
from lskd_cli import cli
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from student.asking.batch_answer import answer_file
from student.asking.confidence import Confidence, calibrate
from student.asking.inference import CANNOT_TELL, LoadedStudent, StudentLoader, ask
from student.benchmarks.evaluate import evaluate
from student.models import caption_baseline
from student.models.protocol import Answer, OnText, Query, Scores
from student.page_data import student_item
from student.settings import TrainSettings
from student.training.train import train
from tests import tiny
from tests.generation.llm_server import Script, Serve
from tests.student.benchmark_files import Oracle
from tests.student.conftest import Make
from tests.student.examples import TRIPLES, image_examples

QUICK = TrainSettings(release="all", steps=4, batch_size=8, base_steps=4)


class Echo(Oracle):
    """Keeps the last query, and answers with fixed texts."""

    query: Query

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        self.calls += len(queries)
        return [np.array([float(self.right in text) for text in texts]) for texts in choices]

    def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
        self.query = query
        if on_text:
            on_text("[0] as")
            on_text("[0] as written, [9] too")
        return Answer(query.question or "Who?", "[0] as [1], [9].", "So.", 0.1)


@pytest.fixture
def one_run(sqlite_store: Store) -> Store:
    with sqlite_store.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {})
    return sqlite_store


REGIONS = [Region(7, (5, 5, 40, 40)), Region(3, (50, 5, 90, 40))]
IMAGE = Pillow.new("RGB", (100, 80))


def loads(student: Any, confidence: Confidence | None = None) -> StudentLoader:  # noqa: ANN401 - an Echo
    return lambda *_: LoadedStudent(student, confidence)


def ask_echo(
    store: Store,
    echo: Echo,
    question: str,
    *,
    confidence: Confidence | None = None,
    **options: Any,  # noqa: ANN401 - of `ask`
) -> Answer:
    return ask(store, IMAGE, REGIONS, question, loader=loads(echo, confidence), **options)


def test_a_student_gets_its_own_numbers_and_the_caller_gets_theirs(one_run: Store) -> None:
    echo, texts = Echo(), list[str]()
    answer = ask_echo(one_run, echo, "Why is [3] near [7]?", on_text=texts.append)
    assert echo.query.question == "Why is [1] near [0]?"
    assert answer.question == "Why is [3] near [7]?"
    assert answer.answer == "[7] as [3], 9."
    assert texts == ["[7] as", "[7] as written, 9 too"]


def test_a_student_gets_the_earlier_turns(one_run: Store) -> None:
    echo = Echo()
    ask_echo(one_run, echo, "And [3]?", turns=[("Who is [7]?", "[7] and [5].")])
    assert echo.query.turns == (("Who is [0]?", "[0] and 5."),)


def test_a_student_abstains_below_the_minimum_confidence(one_run: Store) -> None:
    confidence = Confidence(2.0, 0.0, 9, 9, 0.9)
    abstains = ask_echo(
        one_run, Echo(right="nothing"), "Why [7]?", confidence=confidence, min_confidence=0.9
    )
    assert abstains.answer == CANNOT_TELL
    assert abstains.rationale == "[7] as [3], 9."
    assert abstains.confidence == pytest.approx(0.5)
    uninformative = Confidence(0.0, 0.0, 9, 9, 0.4)
    plain = ask_echo(one_run, Echo(right="as"), "Why [7]?", confidence=uninformative)
    assert plain.confidence is None
    sure = ask_echo(one_run, Echo(right="as"), "Why [7]?", confidence=confidence)
    assert sure.answer != CANNOT_TELL
    assert sure.confidence == pytest.approx(1 / (1 + np.exp(-2)))


def test_confidence_is_calibrated_on_accepted_and_rejected_triples(make: Make) -> None:
    student = make()
    accepted = [image_examples(student, n) for n in range(4)]
    nonsense = [(question, "Nonsense of a kind.", why) for question, _, why in TRIPLES]
    rejected = [image_examples(student, 9 + n, nonsense) for n in range(4)]
    confidence = calibrate(student, accepted, rejected)
    assert confidence is not None
    assert (confidence.n_accepted, confidence.n_rejected) == (12, 12)
    assert confidence.slope >= 0
    assert 0 < confidence.probability(-1.0) < 1
    assert confidence.probability(5.0) >= confidence.probability(-5.0)
    assert calibrate(student, accepted, rejected[:1]) is None


def test_confidence_of_a_former_version_is_read(tmp_path: Path) -> None:
    stored = {"slope": 1.5, "intercept": 0.5, "right": 7, "wrong": 8, "auroc": 0.9}
    (tmp_path / "confidence.json").write_text(json.dumps(stored), "utf-8")
    assert Confidence.load(tmp_path) == Confidence(1.5, 0.5, n_accepted=7, n_rejected=8, auroc=0.9)


def test_a_question_without_a_region_or_about_another_is_refused(one_run: Store) -> None:
    with pytest.raises(UserError, match=r"no region.*click one"):
        ask(one_run, IMAGE, [], "Why?")
    with pytest.raises(UserError, match=r"names region \[7\]"):
        ask(one_run, IMAGE, [Region(0, (0, 0, 9, 9))], "Why [7]?")


@pytest.mark.slow
def test_from_a_release_to_an_answer(released: Store) -> None:
    run = train(released, QUICK)
    item = student_item(run)
    assert (item.is_tiny, item.kind, item.release) == (True, "generative", "all")
    with released.read() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
        regions = queries.regions_by_image(session, [image.id])[image.id]
    answer = ask(released, image_files.load(image), [regions[2]], "What is [2] for?")
    assert answer.question == "What is [2] for?"
    assert set(references.mentioned(answer.answer + answer.rationale)) <= {2}


def test_a_file_of_questions_is_answered_line_by_line(one_run: Store, tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a.png")
    rows: list[Any] = [
        {"image": "a.png", "regions": [[5, 5, 40, 40]], "question": "What is [0]?"},
        {"image": "b.png", "regions": [[5, 5, 40, 40]]},
        {"image": "a.png", "regions": [[5, 5, 400, 40]]},
        {"image": "a.png", "regions": [[5, 5, 40, 40]], "question": "What is [4]?"},
        "no object",
        {"image": "a.png", "regions": [[5, 5, 40, 40]]},
    ]
    file, out = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    class Interrupted(Echo):
        def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
            if query.question is None:
                raise KeyboardInterrupt
            return super().answer(query, on_text)

    with pytest.raises(KeyboardInterrupt):
        answer_file(one_run, file, out, tmp_path, loader=loads(Interrupted()))
    before = out.read_text("utf-8")
    out.write_text(before + '{"cut o', "utf-8")
    result = answer_file(one_run, file, out, tmp_path, loader=loads(Echo()))
    assert result.answered == 2
    assert sum(result.skipped.values()) == 4
    assert "the image is missing" in result.skipped
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["line"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[0]["answer"].startswith("[0] as")
    assert "missing" in lines[1]["error"]
    assert out.read_text("utf-8").startswith(before)
    file.write_text("{}\n", "utf-8")
    with pytest.raises(UserError, match="answers to other questions"):
        answer_file(one_run, file, out, tmp_path, loader=loads(Echo()))


def test_the_baseline_replaces_references_by_captions(tmp_path: Path) -> None:
    prompts: list[str] = []

    def complete(prompt: str) -> str:
        prompts.append(prompt)
        return "2" if "best answer" in prompt else "It rains. Rationale: (thing 0) is wet."

    def caption(crop: Pillow.Image) -> str:
        return f"a cut of {crop.width} by {crop.height}"

    student = caption_baseline.load(tmp_path, caption, complete)
    view = student.make_view(IMAGE, REGIONS, ["Why is [7] near [3]?"], [7, 3])
    assert view.image.tobytes() == IMAGE.tobytes()
    query = Query(view, view.texts[0])
    answer = student.answer(query)
    assert (answer.answer, answer.rationale) == ("It rains.", "(thing 0) is wet.")
    assert "thing 1: a cut of 40 by 35" in prompts[0]
    assert "Why is (thing 0: a cut of 35 by 35) near (thing 1:" in prompts[0]
    (scores,) = student.rank([query], [["a", "b", "[0] c"]])
    assert scores.tolist() == [0, 0, 1]
    requests = len(prompts)
    reloaded = caption_baseline.load(tmp_path, caption, complete)
    assert reloaded.answer(query).answer == "It rains."
    assert len(prompts) == requests


def test_a_reply_that_names_no_choice_scores_all_alike(tmp_path: Path) -> None:
    for reply in ("I cannot know.", "17"):
        folder = tmp_path / reply[:2]
        folder.mkdir()
        complete = partial(lambda text, _: text, reply)
        student = caption_baseline.load(folder, lambda _: "x", complete)
        view = student.make_view(IMAGE, REGIONS, ["Why?"], [7])
        assert student.rank([Query(view, "Why?")], [["a", "b"]])[0].tolist() == [0, 0]
        assert student.diagnostics.unparsed_replies == 1


class RepliesOne(Script):
    """Replies "1" to everything."""

    async def _answer(self, body: dict[str, Any], key: str) -> Response:
        del body, key
        choice = {"message": {"content": "1"}, "finish_reason": "stop"}
        return JSONResponse({"choices": [choice], "usage": {}})


def test_the_baseline_is_asked_and_evaluated_as_any_student(
    sqlite_store: Store, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a captioner of transformers, and a language model behind a real server."""
    server = serve(RepliesOne())
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    captioner = tiny.blip2(tmp_path / "captioner")
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    words = ["student", "baseline", "--captioner", str(captioner), "--model", "m"]
    created = CliRunner().invoke(cli, [*words, "--base-url", server, "--store", url])
    assert created.exit_code == 0, created.output
    IMAGE.save(tmp_path / "a.png")
    words = ["student", "ask", str(tmp_path / "a.png"), "What is [0]?", "--region", "5,5,40,40"]
    asked = CliRunner().invoke(cli, [*words, "--store", url, "--json"])
    assert asked.exit_code == 0, asked.output
    assert json.loads(asked.stdout)["question"] == "What is [0]?"
    (tmp_path / "val2017").mkdir()
    IMAGE.save(tmp_path / "val2017" / f"{1:012}.jpg")
    row = {"question_id": "q", "image_id": 1, "question": "What?", "choices": ["a", "b"]}
    rows = json.dumps([{**row, "correct_choice_idx": 1}])
    (tmp_path / "aokvqa_v1p0_val.json").write_text(rows, "utf-8")
    report = evaluate(sqlite_store, None, "aokvqa", tmp_path, loader=student_loader.load_student)
    assert report.items == 1
    with sqlite_store.read() as session:
        item = student_item(session.scalars(select(Run)).one())
    assert item.captioner is not None
