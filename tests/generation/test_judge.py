"""A language model judges triples; its judgements are stored, and critics can use them."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from critic.settings import TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import AnswerKey, Call, Judgement, Rejection, Triple
from db.store import keys
from db.store.session import Store
from generation.runs.parsing import reparse
from generation.runs.run import generate
from generation.settings import JudgeSettings
from generation.tasks.judge import Judge
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve
from tests.generation.test_generate import llm_settings

WITHOUT_IMAGE = JudgeSettings(side=0)


def test_each_triple_gets_a_judgement(demo_store: Store, serve: Serve) -> None:
    script = Script()
    run = generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(serve(script)))
    assert run.results["kept"] == 157
    assert run.results["rejected"] == {}
    with demo_store.read() as session:
        triples = session.scalars(select(Triple)).all()
        judgements = {j.triple_id: j for j in session.scalars(select(Judgement))}
        assert {t.id for t in triples} == set(judgements)
        for triple in triples:
            assert judgements[triple.id].value == (90 - len(triple.answer) % 80) / 100
        assert judgements[1].why == "So it is."
        assert judgements[1].prompt_version == "judge-2-0"


def test_the_judge_is_sent_the_marked_image(demo_store: Store, serve: Serve) -> None:
    script = Script()
    generate(demo_store, Judge(JudgeSettings(side=256)), llm_settings(serve(script)))
    content = script.bodies[0]["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]
    assert "answer key" not in json.dumps(script.bodies).lower()


def test_the_judge_is_not_told_the_answer_key(demo_store: Store, serve: Serve) -> None:
    script = Script()
    generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(serve(script)))
    with demo_store.read() as session:
        flaws = {flaw for flaw in session.scalars(select(AnswerKey.flaw)) if flaw}
    data = json.loads(script.bodies[0]["messages"][-1]["content"])
    assert set(data["triples"][0]) == {"number", "question", "answer", "rationale"}
    assert not flaws & set(data)


def test_a_critic_can_be_trained_on_judgements(demo_store: Store, serve: Serve) -> None:
    judged = generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(serve(Script())))
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    run = train(
        demo_store,
        TrainSettings(kind="average", from_runs=judged.name, simulated=True, resamples=20),
    )
    assert run.results["scored_triples"] == 157
    assert run.results["usd_per_1000"] > 0


def test_new_triples_are_judged_and_the_newest_judgement_counts(
    demo_store: Store, serve: Serve
) -> None:
    url = serve(Script())
    first = generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(url))
    with demo_store.write() as session:
        old = session.get_one(Triple, 1)
        new = Triple(
            key=keys.digest("new"),
            image_id=old.image_id,
            question="Is [0] new?",
            answer="Yes.",
            rationale="[0] was not there before.",
            visible_regions=old.visible_regions,
            source=old.source,
        )
        session.add(new)
    again = generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(url))
    assert again.results["calls_made"] == 1
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    # A critic uses all judgements of the judge, whichever of its runs is named.
    run = train(
        demo_store,
        TrainSettings(kind="average", from_runs=first.name, simulated=True, resamples=20),
    )
    assert run.results["scored_triples"] == 158


def test_invalid_judgements_are_rejected(demo_store: Store, serve: Serve) -> None:
    class Wrong(Script):
        def write(self, body: dict[str, object]) -> str:
            good = json.loads(super().write(body))["judgements"]
            bad = [
                {**good[0], "accept": 140},
                {**good[1], "number": 999},
                {**good[2], "accept": True},
                "nothing",
            ]
            return json.dumps({"judgements": [*bad, *good[3:]]})

    run = generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(serve(Wrong())))
    images = run.results["replies"]
    assert run.results["kept"] == 157 - 3 * images
    assert run.results["rejected"] == {"fields": 5 * images}
    with demo_store.read() as session:
        details = set(session.scalars(select(Rejection.detail)))
    assert {
        "accept is 140, which is not clearly a value from 0 to 100",
        "judges triple 999, which does not exist",
        "accept is True, which is not clearly a value from 0 to 100",
        "not an object",
    } <= details


def test_judgements_are_parsed_again_without_a_call(demo_store: Store, serve: Serve) -> None:
    script = Script()
    run = generate(demo_store, Judge(WITHOUT_IMAGE), llm_settings(serve(script)))
    with demo_store.write() as session:
        session.query(Judgement).filter(Judgement.triple_id <= 20).delete()
        calls = len(session.scalars(select(Call)).all())
    assert reparse(demo_store, Judge(WITHOUT_IMAGE), run.name).kept == 157
    assert len(script.requests) == calls


def test_parsing_again_keeps_the_prompt_version_of_the_run(
    demo_store: Store, serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "judge.md"
    settings = JudgeSettings(side=0, prompt=str(file))
    file.write_text("version: old\n\n# system\nYou judge triples.\n\n# user\n$data", "utf-8")
    run = generate(demo_store, Judge(settings), llm_settings(serve(Script())))
    with demo_store.read() as session:
        before = set(session.scalars(select(Judgement.key)))
    file.write_text("version: new\n\n# user\n$data", "utf-8")
    assert reparse(demo_store, Judge(settings), run.name).no_longer_found == 0
    with demo_store.read() as session:
        assert set(session.scalars(select(Judgement.key))) == before


def test_an_invalid_image_size_is_a_user_error() -> None:
    with pytest.raises(
        UserError, match="--side must be between 64 and 4096 pixels, or 0 for no image"
    ):
        Judge(JudgeSettings(side=5))
