"""Asking a student: in one's own numbers, in a dialogue, unsure, in a file; and the baseline."""

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
from student.asking.batch_answer import answer_all
from student.asking.confidence import Confidence, calibrated
from student.asking.inference import CANNOT_TELL, Ready, ask
from student.benchmarks.evaluate import evaluate
from student.models import caption_baseline
from student.models.protocol import Ask, Scores
from student.page_data import describe
from student.settings import TrainSettings
from student.training.train import train
from tests import tiny
from tests.generation.llm_server import Script, Serve
from tests.student.conftest import Make
from tests.student.scenes import SAID, scene
from tests.student.test_benchmarks import Oracle, Write

QUICK = TrainSettings(release="all", steps=4, batch=8, base_steps=4)
write = Write


class Echo(Oracle):
    """Says what it was asked, as it was asked it."""

    asked: Ask

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        self.calls += len(asks)
        return [np.array([float(self.right in text) for text in some]) for some in choices]

    def answer(self, ask: Ask, listener: Any = None) -> Any:  # noqa: ANN401 - of the protocol
        self.asked = ask
        if listener:
            listener("[0] as")
            listener("[0] as written, [9] too")
        return type(super().answer(ask))(ask.question or "Who?", "[0] as [1], [9].", "So.", 0.1)


@pytest.fixture
def one_run(sqlite_store: Store) -> Store:
    with sqlite_store.write() as session:
        run = runs.start(session, "student", settings={})
        runs.finish(session, run.id, {})
    return sqlite_store


REGIONS = [Region(7, (5, 5, 40, 40)), Region(3, (50, 5, 90, 40))]
PICTURE = Pillow.new("RGB", (100, 80))


def asked(store: Store, echo: Echo, question: str | None, **more: Any) -> Any:  # noqa: ANN401 - an answer, and options
    student: Any = echo
    confidence = more.pop("confidence", None)
    return ask(
        store, PICTURE, REGIONS, question, loader=lambda *_: Ready(student, confidence), **more
    )


def test_it_is_asked_in_the_marks_numbers_and_answers_in_ours(one_run: Store) -> None:
    echo, heard = Echo(), list[str]()
    found = asked(one_run, echo, "Why is [3] near [7]?", listener=heard.append)
    assert echo.asked.question == "Why is [1] near [0]?"
    assert found.question == "Why is [3] near [7]?"
    assert found.answer == "[7] as [3], 9."
    assert heard == ["[7] as", "[7] as written, 9 too"]


def test_it_remembers_what_was_said(one_run: Store) -> None:
    echo = Echo()
    asked(one_run, echo, "And [3]?", turns=[("Who is [7]?", "[7] and [5].")])
    assert echo.asked.turns == (("Who is [0]?", "[0] and 5."),)


def test_it_says_when_it_cannot_tell(one_run: Store) -> None:
    confidence = Confidence(2.0, 0.0, 9, 9, 0.9)
    found = asked(one_run, Echo(right="nothing"), "Why [7]?", confidence=confidence, unsure=0.9)
    assert found.answer == CANNOT_TELL
    assert found.rationale == "[7] as [3], 9."
    assert found.confidence == pytest.approx(0.5)
    tells_nothing = Confidence(0.0, 0.0, 9, 9, 0.4)
    plain = asked(one_run, Echo(right="as"), "Why [7]?", confidence=tells_nothing)
    assert plain.confidence is None
    sure = asked(one_run, Echo(right="as"), "Why [7]?", confidence=confidence)
    assert sure.answer != CANNOT_TELL
    assert sure.confidence == pytest.approx(1 / (1 + np.exp(-2)))


def test_confidence_is_calibrated_on_what_was_rejected(make: Make) -> None:
    student = make()
    right = [scene(student, n) for n in range(4)]
    wrong = [
        scene(student, 9 + n, [(q, "Nonsense of a kind.", w) for q, _, w in SAID]) for n in range(4)
    ]
    found = calibrated(student, right, wrong)
    assert found is not None
    assert (found.right, found.wrong) == (12, 12)
    assert found.slope >= 0
    assert 0 < found.of(-1.0) < 1
    assert found.of(5.0) >= found.of(-5.0)
    assert calibrated(student, right, wrong[:1]) is None


def test_asking_about_nothing_says_what_to_do(one_run: Store) -> None:
    with pytest.raises(UserError, match=r"no region.*click one"):
        ask(one_run, PICTURE, [], "Why?")
    with pytest.raises(UserError, match=r"names region \[7\]"):
        ask(one_run, PICTURE, [Region(0, (0, 0, 9, 9))], "Why [7]?")


def test_from_a_release_to_an_answer(released: Store) -> None:
    run = train(released, QUICK)
    assert describe(run).startswith("tiny, generative · trained here on")
    with released.read() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
        regions = queries.regions_by_image(session, [image.id])[image.id]
    found = ask(released, image_files.load(image), [regions[2]], "What is [2] for?")
    assert found.question == "What is [2] for?"
    assert set(references.mentioned(found.answer + found.rationale)) <= {2}


def test_a_file_of_questions_is_answered_line_by_line(one_run: Store, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    rows: list[Any] = [
        {"image": "a.png", "regions": [[5, 5, 40, 40]], "question": "What is [0]?"},
        {"image": "b.png", "regions": [[5, 5, 40, 40]]},
        {"image": "a.png", "regions": [[5, 5, 400, 40]]},
        {"image": "a.png", "regions": [[5, 5, 40, 40]], "question": "What is [4]?"},
        "no object",
        {"image": "a.png", "regions": [[5, 5, 40, 40]]},
    ]
    file, out = tmp_path / "asked.jsonl", tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    class Stops(Echo):
        def answer(self, ask: Ask, listener: Any = None) -> Any:  # noqa: ANN401 - of the protocol
            if ask.question is None:
                raise KeyboardInterrupt
            return super().answer(ask, listener)

    def loader(student: Any) -> Any:  # noqa: ANN401 - an echo
        return lambda *_: Ready(student, None)

    with pytest.raises(KeyboardInterrupt):
        answer_all(one_run, file, out, tmp_path, loader=loader(Stops()))
    before = out.read_text("utf-8")
    out.write_text(before + '{"cut o', "utf-8")
    told = answer_all(one_run, file, out, tmp_path, loader=loader(Echo()))
    assert told["answered"] == 2
    assert sum(told["left out"].values()) == 4
    assert "the image is missing" in told["left out"]
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["line"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[0]["answer"].startswith("[0] as")
    assert "missing" in lines[1]["error"]
    assert out.read_text("utf-8").startswith(before)
    file.write_text("{}\n", "utf-8")
    with pytest.raises(UserError, match="answers to something else"):
        answer_all(one_run, file, out, tmp_path, loader=loader(Echo()))


def test_the_baseline_reads_regions_in_words(tmp_path: Path) -> None:
    prompts: list[str] = []

    def complete(prompt: str) -> str:
        prompts.append(prompt)
        return "2" if "best answer" in prompt else "It rains. Rationale: (thing 0) is wet."

    def describe(cut: Pillow.Image) -> str:
        return f"a cut of {cut.width} by {cut.height}"

    student = caption_baseline.load(tmp_path, describe, complete)
    view = student.look(PICTURE, REGIONS, ["Why is [7] near [3]?"], [7, 3])
    assert view.image.tobytes() == PICTURE.tobytes()
    question = Ask(view, view.texts[0])
    found = student.answer(question)
    assert (found.answer, found.rationale) == ("It rains.", "(thing 0) is wet.")
    assert "thing 1: a cut of 40 by 35" in prompts[0]
    assert "Why is (thing 0: a cut of 35 by 35) near (thing 1:" in prompts[0]
    (scores,) = student.rank([question], [["a", "b", "[0] c"]])
    assert scores.tolist() == [0, 0, 1]
    asked_before = len(prompts)
    again = caption_baseline.load(tmp_path, describe, complete)
    assert again.answer(question).answer == "It rains."
    assert len(prompts) == asked_before
    with pytest.raises(UserError, match="learns nothing"):
        student.fit()


def test_a_reply_that_names_no_choice_ranks_them_alike(tmp_path: Path) -> None:
    for said in ("I cannot know.", "17"):
        folder = tmp_path / said[:2]
        folder.mkdir()
        student = caption_baseline.load(folder, lambda _: "x", partial(lambda text, _: text, said))
        view = student.look(PICTURE, REGIONS, ["Why?"], [7])
        assert student.rank([Ask(view, "Why?")], [["a", "b"]])[0].tolist() == [0, 0]
        assert student.notes["replies that name no choice"] == 1


class Says(Script):
    """Answers everything alike."""

    async def _answer(self, body: dict[str, Any], key: str) -> Response:
        del body, key
        said = {"message": {"content": "1"}, "finish_reason": "stop"}
        return JSONResponse({"choices": [said], "usage": {}})


def test_the_baseline_is_asked_and_measured_as_any_student(
    sqlite_store: Store, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a captioner of transformers, and a language model behind a real server."""
    server = serve(Says())
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    captioner = tiny.blip2(tmp_path / "captioner")
    url = sqlite_store.engine.url.render_as_string(hide_password=False)
    words = ["student", "baseline", "--captioner", str(captioner), "--model", "m"]
    done = CliRunner().invoke(cli, [*words, "--base-url", server, "--store", url])
    assert done.exit_code == 0, done.output
    PICTURE.save(tmp_path / "a.png")
    asking = ["student", "ask", str(tmp_path / "a.png"), "What is [0]?", "--region", "5,5,40,40"]
    said = CliRunner().invoke(cli, [*asking, "--store", url, "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["question"] == "What is [0]?"
    (tmp_path / "val2017").mkdir()
    PICTURE.save(tmp_path / "val2017" / f"{1:012}.jpg")
    knows = {"question_id": "q", "image_id": 1, "question": "What?", "choices": ["a", "b"]}
    told = json.dumps([{**knows, "correct_choice_idx": 1}])
    (tmp_path / "aokvqa_v1p0_val.json").write_text(told, "utf-8")
    found = evaluate(sqlite_store, None, "aokvqa", tmp_path, loader=student_loader.ready)
    assert found["items"] == 1
    with sqlite_store.read() as session:
        assert "regions in words by" in describe(session.scalars(select(Run)).one())
