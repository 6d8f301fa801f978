"""A language model judges triples; what it says is stored, and a critic may average it."""

import json

import pytest
from sqlalchemy import select

from critic.settings import TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import AnswerKey, Call, Judgement, Rejection, Triple
from db.store import keys
from db.store.session import Store
from generation.runs.run import generate, read_again
from generation.settings import JudgeSettings
from generation.tasks.judge import Judge
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve
from tests.generation.test_generate import asking

BY_WORDS = JudgeSettings(side=0)


def test_each_triple_gets_a_judgement(demo_store: Store, serve: Serve) -> None:
    script = Script()
    done = generate(demo_store, Judge(BY_WORDS), asking(serve(script)))
    assert done.results["kept judgements"] == 157
    assert done.results["rejected"] == {}
    with demo_store.read() as session:
        triples = session.scalars(select(Triple)).all()
        said = {j.triple_id: j for j in session.scalars(select(Judgement))}
        assert {t.id for t in triples} == set(said)
        for triple in triples:
            assert said[triple.id].value == (90 - len(triple.answer) % 80) / 100
        assert said[1].why == "So it is."
        assert said[1].prompt_version == "judge-1-0"


def test_it_sees_the_numbered_picture(demo_store: Store, serve: Serve) -> None:
    script = Script()
    generate(demo_store, Judge(JudgeSettings(side=256)), asking(serve(script)))
    content = script.bodies[0]["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"]
    assert "answer key" not in json.dumps(script.bodies).lower()


def test_it_never_hears_what_is_known_to_be_wrong(demo_store: Store, serve: Serve) -> None:
    script = Script()
    generate(demo_store, Judge(BY_WORDS), asking(serve(script)))
    with demo_store.read() as session:
        flaws = {flaw for flaw in session.scalars(select(AnswerKey.flaw)) if flaw}
    asked = json.loads(script.bodies[0]["messages"][-1]["content"])
    assert set(asked["triples"][0]) == {"number", "question", "answer", "rationale"}
    assert not flaws & set(asked)


def test_a_judge_is_a_critic(demo_store: Store, serve: Serve) -> None:
    judged = generate(demo_store, Judge(BY_WORDS), asking(serve(Script())))
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    run = train(
        demo_store,
        TrainSettings(kind="average", of=judged.name, simulated=True, resamples=20),
    )
    assert run.results["scored"] == 157
    assert run.results["dollars per 1,000 triples"] > 0


def test_more_triples_are_judged_and_the_last_word_counts(demo_store: Store, serve: Serve) -> None:
    url = serve(Script())
    first = generate(demo_store, Judge(BY_WORDS), asking(url))
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
    again = generate(demo_store, Judge(BY_WORDS), asking(url))
    assert again.results["calls made"] == 1
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    # Whichever of the judge's runs is named, all of its judgements count.
    run = train(
        demo_store,
        TrainSettings(kind="average", of=first.name, simulated=True, resamples=20),
    )
    assert run.results["scored"] == 158


def test_what_it_says_wrongly_is_counted(demo_store: Store, serve: Serve) -> None:
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

    done = generate(demo_store, Judge(BY_WORDS), asking(serve(Wrong())))
    images = done.results["replies"]
    assert done.results["kept judgements"] == 157 - 3 * images
    assert done.results["rejected"] == {"fields": 5 * images}
    with demo_store.read() as session:
        details = set(session.scalars(select(Rejection.detail)))
    assert {"accepts by 140", "judges triple 999", "accepts by True", "no object"} <= details


def test_replies_can_be_read_again_without_a_call(demo_store: Store, serve: Serve) -> None:
    script = Script()
    done = generate(demo_store, Judge(BY_WORDS), asking(serve(script)))
    with demo_store.write() as session:
        session.query(Judgement).filter(Judgement.triple_id <= 20).delete()
        calls = len(session.scalars(select(Call)).all())
    told = read_again(demo_store, Judge(BY_WORDS), done.name)
    assert told["kept judgements"] == 157
    assert len(script.asked) == calls


def test_a_picture_of_no_size() -> None:
    with pytest.raises(UserError, match="a picture of 5 pixels"):
        Judge(JudgeSettings(side=5))
