"""Tasks that write verbalizations: open questions, and texts of a vision model behind an API."""

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
from generation.runs.cost_estimate import estimate_cost
from generation.runs.parsing import reparse
from generation.runs.run import generate
from generation.settings import LLMSettings
from generation.tasks.context import load_contexts
from generation.tasks.protocol import Task
from generation.verbalize.describers.questions import Questions
from generation.verbalize.describers.vision import Vision
from generation.verbalize.settings import QuestionSettings, VisionSettings
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve


def llm_settings(url: str, **settings: Any) -> LLMSettings:  # noqa: ANN401
    given = {"concurrency": 4, "timeout": 2.0, "attempts": 12, **settings}
    return LLMSettings(model="gpt-4o", base_url=url, **given)


def verbalizations_of(store: Store, run_id: int) -> list[Verbalization]:
    with store.read() as session:
        rows = select(Verbalization).where(Verbalization.run_id == run_id)
        return list(session.scalars(rows.order_by(Verbalization.id)))


def test_questions_are_stored_without_an_answer(pictures: Store, serve: Serve) -> None:
    task = Questions(QuestionSettings(count=2))
    script = Script()
    url = serve(script)
    run = generate(pictures, task, llm_settings(url))
    assert (run.results["replies"], run.results["kept"]) == (19, 38)
    rows = verbalizations_of(pictures, run.id)
    assert {(r.kind, r.answer, r.model, r.version) for r in rows} == {
        ("question", "", "gpt-4o", "questions-2")
    }
    assert {r.region_number for r in rows} == {0, None}
    with pictures.read() as session:
        (context,) = load_contexts(session, [1])
    assert len(context.asked_questions) == 2
    assert context.answered_questions == []
    # Stored questions do not change the prompt: a second run makes no call.
    again = generate(pictures, task, llm_settings(url))
    assert (again.results["calls_made"], script.requests.total()) == (0, 19)


def test_invalid_questions_are_rejected(pictures: Store, serve: Serve) -> None:
    class Wrong(Script):
        def write(self, body: dict[str, Any]) -> str:
            del body
            questions = [
                ("Is [0] wet now?", 0),
                ("Is [0] wet now?", None),
                ("Is [99] dry now?", None),
                ("Is it dry?", 99),
                ("Does the caption say so?", None),
                (7, None),
            ]
            return json.dumps({"questions": [{"question": q, "region": n} for q, n in questions]})

    task = Questions(QuestionSettings())
    run = generate(pictures, task, llm_settings(serve(Wrong())), only=[1])
    assert run.results["kept"] == 1
    assert run.results["rejected"] == {"fields": 1, "leak": 1, "regions": 2, "repeat": 1}
    results = reparse(pictures, task, run.name)
    assert results.kept == 1
    assert results.rejected == run.results["rejected"]
    assert results.no_longer_found == 0


def test_a_vision_model_is_sent_the_marked_image(image_store: Store, serve: Serve) -> None:
    script = Script()
    run = generate(image_store, Vision(VisionSettings(side=96)), llm_settings(serve(script)))
    assert run.results["replies"] == 5
    # Five scenes, ten regions and one open question.
    assert run.results["kept"] == 5 + 10 + 1
    rows = verbalizations_of(image_store, run.id)
    answer = next(row for row in rows if row.kind == "question")
    assert (answer.text, answer.answer, answer.region_number) == ("What is [1]?", "Yes.", 1)
    by_n_regions = {}
    for body in script.bodies:
        text, attachment = body["messages"][-1]["content"]
        assert attachment["image_url"]["detail"] == "high"
        head, _, content = attachment["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        image = PIL.Image.open(io.BytesIO(base64.b64decode(content)))
        assert max(image.size) == 96
        data, _ = json.JSONDecoder().raw_decode(text["text"])
        by_n_regions[len(data.get("regions", []))] = image.convert("RGB")
    plain, marked = (len(by_n_regions[n].getcolors(100_000) or ()) for n in (0, 4))
    assert marked > plain + 100


def test_a_second_vision_run_only_answers_new_questions(image_store: Store, serve: Serve) -> None:
    script = Script()
    url = serve(script)
    generate(image_store, Vision(VisionSettings()), llm_settings(url))
    again = generate(image_store, Vision(VisionSettings()), llm_settings(url))
    assert (again.results["calls_made"], script.requests.total()) == (0, 5)
    with image_store.write() as session:
        question = {"key": "q2", "image_id": 5, "kind": "question", "text": "Is it late?"}
        session.add(Verbalization(**question, model="asker", version="1"))
    answers = generate(image_store, Vision(VisionSettings(parts="answers")), llm_settings(url))
    # Two images have open questions; the three others are skipped.
    assert answers.results["calls_made"] == 2
    assert answers.results["skipped_images"] == {"nothing to describe": 3}


def test_invalid_texts_of_a_vision_model_are_rejected(image_store: Store, serve: Serve) -> None:
    class Wrong(Script):
        def describe_image(self, data: dict[str, Any]) -> str:
            reply = {
                "scene": "x " * 1000,
                "regions": [
                    {"number": 99, "text": "no such"},
                    "nothing",
                    {"number": 0, "text": ""},
                ],
                "answers": [{"number": 5, "answer": "Yes."}],
            }
            return json.dumps(reply) if data.get("regions") else json.dumps({"regions": []})

    run = generate(image_store, Vision(VisionSettings()), llm_settings(serve(Wrong())), only=[1, 3])
    assert run.results["kept"] == 0
    # No regions are requested for the first image, which has none: its reply is empty.
    assert run.results["rejected"] == {"empty": 1, "fields": 1, "length": 1, "regions": 2}


@pytest.mark.parametrize("failure_rate", [0.3])
def test_every_call_to_an_unreliable_vision_model_is_accounted_for(
    image_store: Store, serve: Serve, failure_rate: float
) -> None:
    run = generate(
        image_store,
        Vision(VisionSettings()),
        llm_settings(serve(Script(failure_rate)), timeout=1.0),
    )
    with image_store.read() as session:
        calls = session.scalar(select(func.count()).select_from(Call))
        n_rejected = session.scalar(select(func.count(func.distinct(Rejection.call_id))))
    assert calls == 5 == run.results["replies"] + run.results["failed_calls"]
    n_described = len({row.image_id for row in verbalizations_of(image_store, run.id)})
    assert n_described + int(n_rejected or 0) >= run.results["replies"]


def test_a_missing_image_is_a_failed_call(image_store: Store, serve: Serve) -> None:
    with image_store.read() as session:
        root = Path(session.get_one(Source, 1).root)
    (root / "2.png").unlink()
    script = Script()
    run = generate(image_store, Vision(VisionSettings()), llm_settings(serve(script)))
    assert (run.results["replies"], run.results["failed_calls"]) == (4, 1)
    assert "the image is missing" in next(iter(run.results["failures"]))
    assert script.requests.total() == 4


def test_cost_estimates_include_image_tokens(image_store: Store) -> None:
    task: Task = Vision(VisionSettings())
    settings = llm_settings("http://127.0.0.1:1/v1")
    with_images = estimate_cost(image_store, task, settings)
    without = estimate_cost(image_store, Questions(QuestionSettings()), settings)
    assert with_images.prompt_tokens > 5 * (85 + 170)
    assert with_images.image_tokens_included
    assert without.image_tokens_included is None
    unknown = estimate_cost(image_store, task, replace(settings, model="mine"))
    assert unknown.image_tokens_included is False


def test_image_tokens_are_counted_by_tiles() -> None:
    """OpenAI's own examples: 1024 square is 765 tokens, 2048 x 4096 is 1105."""
    price = Price(2.5, 10.0, (85, 170), 0.5)
    assert price.image_tokens((1024, 1024)) == 765
    assert price.image_tokens((2048, 4096)) == 1105
    assert price.image_tokens((512, 512)) == 255
    assert price.image_tokens(None) == 0
    assert price.for_batches().cost(1_000_000, 0) == price.cost(1_000_000, 0) / 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vision(VisionSettings(parts="smell")), "unknown parts 'smell'"),
        (lambda: Vision(VisionSettings(side=9)), "--side must be between 64 and 4096 pixels"),
        (lambda: Questions(QuestionSettings(count=0)), "--count must be between 1 and 20"),
        (lambda: Questions(QuestionSettings(prompt="/nowhere")), "cannot read the prompt"),
    ],
)
def test_invalid_settings_of_questions_and_vision(make: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(UserError, match=message):
        make()
