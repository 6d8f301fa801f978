"""Questions about what the texts leave open, and what a vision model behind an API sees."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from sqlalchemy import func, select

from db.schema import Call, Rejection, Source, Verbalization
from db.store.session import Store
from generation.llm.pricing import Price
from generation.runs.cost_estimate import plan
from generation.runs.run import generate, read_again
from generation.settings import LLMSettings
from generation.tasks.context import briefs
from generation.tasks.protocol import Task
from generation.verbalize.describers.questions import Questions
from generation.verbalize.describers.vision import Vision
from generation.verbalize.settings import QuestionSettings, VisionSettings
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve


def asking(url: str, **settings: Any) -> LLMSettings:  # noqa: ANN401
    given = {"concurrency": 4, "timeout": 2.0, "attempts": 12, **settings}
    return LLMSettings(model="gpt-4o", base_url=url, **given)


def written(store: Store, run_id: int) -> list[Verbalization]:
    with store.read() as session:
        rows = select(Verbalization).where(Verbalization.run_id == run_id)
        return list(session.scalars(rows.order_by(Verbalization.id)))


def test_questions_are_asked_and_wait_for_an_answer(pictures: Store, serve: Serve) -> None:
    task = Questions(QuestionSettings(count=2))
    script = Script()
    url = serve(script)
    done = generate(pictures, task, asking(url))
    assert (done.results["replies"], done.results["kept verbalizations"]) == (19, 38)
    rows = written(pictures, done.id)
    assert {(r.kind, r.answer, r.model, r.version) for r in rows} == {
        ("question", "", "gpt-4o", "questions-1")
    }
    assert {r.region_number for r in rows} == {0, None}
    with pictures.read() as session:
        (brief,) = briefs(session, [1])
    assert len(brief.asked) == 2
    assert brief.questions == []
    # What was asked does not change what is asked for: a second run makes no call.
    again = generate(pictures, task, asking(url))
    assert (again.results["calls made"], script.asked.total()) == (0, 19)


def test_questions_that_are_wrong_are_kept_out(pictures: Store, serve: Serve) -> None:
    class Wrong(Script):
        def write(self, body: dict[str, Any]) -> str:
            del body
            asked = [
                ("Is [0] wet now?", 0),
                ("Is [0] wet now?", None),
                ("Is [99] dry now?", None),
                ("Is it dry?", 99),
                ("Does the caption say so?", None),
                (7, None),
            ]
            return json.dumps({"questions": [{"question": q, "region": n} for q, n in asked]})

    task = Questions(QuestionSettings())
    done = generate(pictures, task, asking(serve(Wrong())), only=[1])
    assert done.results["kept verbalizations"] == 1
    assert done.results["rejected"] == {"fields": 1, "leak": 1, "regions": 2, "repeat": 1}
    results = read_again(pictures, task, done.name)
    assert results["kept verbalizations"] == 1
    assert results["rejected"] == done.results["rejected"]
    assert results["no longer found"] == 0


def test_a_vision_model_is_sent_the_marked_picture(seen: Store, serve: Serve) -> None:
    script = Script()
    done = generate(seen, Vision(VisionSettings(side=96)), asking(serve(script)))
    assert done.results["replies"] == 5
    # Five scenes, ten regions, and the one question that was open.
    assert done.results["kept verbalizations"] == 5 + 10 + 1
    rows = written(seen, done.id)
    answer = next(row for row in rows if row.kind == "question")
    assert (answer.text, answer.answer, answer.region_number) == ("What is [1]?", "Yes.", 1)
    by_image = {}
    for body in script.bodies:
        text, picture = body["messages"][-1]["content"]
        assert picture["image_url"]["detail"] == "high"
        head, _, content = picture["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        shown = PIL.Image.open(io.BytesIO(base64.b64decode(content)))
        assert max(shown.size) == 96
        known, _ = json.JSONDecoder().raw_decode(text["text"])
        by_image[len(known.get("regions", []))] = shown.convert("RGB")
    plain, marked = (len(by_image[n].getcolors(100_000) or ()) for n in (0, 4))
    assert marked > plain + 100


def test_a_second_look_makes_no_call_and_a_new_question_makes_one(
    seen: Store, serve: Serve
) -> None:
    script = Script()
    url = serve(script)
    generate(seen, Vision(VisionSettings()), asking(url))
    again = generate(seen, Vision(VisionSettings()), asking(url))
    assert (again.results["calls made"], script.asked.total()) == (0, 5)
    with seen.write() as session:
        asked = {"key": "q2", "image_id": 5, "kind": "question", "text": "Is it late?"}
        session.add(Verbalization(**asked, model="asker", version="1"))
    only = generate(seen, Vision(VisionSettings(tell="answers")), asking(url))
    # Two pictures have open questions; the others have nothing to tell.
    assert only.results["calls made"] == 2
    assert only.results["images with nothing to tell"] == 3


def test_what_a_vision_model_gets_wrong_is_kept_out(seen: Store, serve: Serve) -> None:
    class Wrong(Script):
        def tell(self, known: dict[str, Any]) -> str:
            told = {
                "scene": "x " * 1000,
                "regions": [
                    {"number": 99, "text": "no such"},
                    "nothing",
                    {"number": 0, "text": ""},
                ],
                "answers": [{"number": 5, "answer": "Yes."}],
            }
            return json.dumps(told) if known.get("regions") else json.dumps({"regions": []})

    done = generate(seen, Vision(VisionSettings()), asking(serve(Wrong())), only=[1, 3])
    assert done.results["kept verbalizations"] == 0
    # The first picture has no region, so it is not asked for any: its reply tells nothing.
    assert done.results["rejected"] == {"empty": 1, "fields": 1, "length": 1, "regions": 2}


@pytest.mark.parametrize("trouble", [0.3])
def test_an_unreliable_vision_model(seen: Store, serve: Serve, trouble: float) -> None:
    done = generate(seen, Vision(VisionSettings()), asking(serve(Script(trouble)), timeout=1.0))
    with seen.read() as session:
        calls = session.scalar(select(func.count()).select_from(Call))
        lost = session.scalar(select(func.count(func.distinct(Rejection.call_id))))
    assert calls == 5 == done.results["replies"] + done.results["failed calls"]
    pictures = len({row.image_id for row in written(seen, done.id)})
    assert pictures + int(lost or 0) >= done.results["replies"]


def test_a_picture_that_is_missing_is_a_failed_call(seen: Store, serve: Serve) -> None:
    with seen.read() as session:
        root = Path(session.get_one(Source, 1).root)
    (root / "2.png").unlink()
    script = Script()
    done = generate(seen, Vision(VisionSettings()), asking(serve(script)))
    assert (done.results["replies"], done.results["failed calls"]) == (4, 1)
    assert "the image is missing" in next(iter(done.results["failures"]))
    assert script.asked.total() == 4


def test_the_tokens_of_pictures_are_in_the_plan(seen: Store) -> None:
    task: Task = Vision(VisionSettings())
    told = plan(seen, task, asking("http://127.0.0.1:1/v1"))
    words = plan(seen, Questions(QuestionSettings()), asking("http://127.0.0.1:1/v1"))
    assert told["prompt tokens"] > 5 * (85 + 170)
    assert "pictures" not in told
    assert "pictures" not in words
    unknown = plan(seen, task, replace(asking("http://127.0.0.1:1/v1"), model="mine"))
    assert unknown["pictures"] == "not counted: nothing says how many tokens mine takes"


def test_a_picture_is_counted_in_tiles() -> None:
    """OpenAI's own examples: 1024 square is 765 tokens, 2048 x 4096 is 1105."""
    price = Price(2.5, 10.0, (85, 170), 0.5)
    assert price.seen((1024, 1024)) == 765
    assert price.seen((2048, 4096)) == 1105
    assert price.seen((512, 512)) == 255
    assert price.seen(None) == 0
    assert price.later().of(1_000_000, 0) == price.of(1_000_000, 0) / 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Vision(VisionSettings(tell="smell")), "nothing called 'smell'"),
        (lambda: Vision(VisionSettings(side=9)), "a picture of 9 pixels"),
        (lambda: Questions(QuestionSettings(count=0)), "nothing to ask"),
        (lambda: Questions(QuestionSettings(prompt="/nowhere")), "the prompt cannot be read"),
    ],
)
def test_settings_that_make_no_sense(make: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(UserError, match=said):
        make()
