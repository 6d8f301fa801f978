"""Which triples a batch takes, in which order, and what chance has to do with it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from annotator.accounts import sessions
from annotator.crowd import gold
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from db.labelling.batches import QualityPolicy, Selection, draw_batch, make_batch, reorder
from db.schema import Batch, BatchItem, Image, Score, Source, Triple, Vote
from db.store import runs
from db.store.session import Store
from regions.errors import UserError

TRIPLES = 200


@pytest.fixture
def scored(store: Store) -> Store:
    """Two hundred triples of two sources, 150 and 50; triple n scores n / 200."""
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        session.add(Image(id=1, source_id=1, name="a.jpg", width=100, height=80))
        session.flush()
        session.add_all(
            Triple(
                id=n,
                key=f"{n}",
                image_id=1,
                question="q",
                answer="a",
                rationale="r",
                visible_regions=[],
                source="large" if n < 150 else "small",
            )
            for n in range(TRIPLES)
        )
        session.flush()
        run = runs.start(session, "critic", settings={})
        session.execute(
            insert(Score),
            [{"run_id": run.id, "triple_id": n, "value": n / TRIPLES} for n in range(TRIPLES)],
        )
        runs.finish(session, run.id, {})
    return store


def places(store: Store, name: str) -> list[tuple[int, bool]]:
    """The triples of a batch in their order, and whether chance put them there."""
    query = (
        select(BatchItem.triple_id, BatchItem.at_random)
        .join(Batch, Batch.id == BatchItem.batch_id)
        .where(Batch.name == name)
        .order_by(BatchItem.position)
    )
    with store.read() as session:
        return [(triple, at_random) for triple, at_random in session.execute(query)]


def draw(store: Store, name: str = "b", **wish: object) -> list[int]:
    draw_batch(store, name, votes_required=3, selection=Selection(**wish), seed=0)  # type: ignore[arg-type]
    return [triple for triple, _ in places(store, name)]


def test_triples_are_selected_by_score(scored: Store) -> None:
    drawn = draw(scored, score_from=0.4, score_to=0.6)
    assert sorted(drawn) == list(range(80, 121))
    assert drawn != sorted(drawn)


def test_triples_are_selected_by_source(scored: Store) -> None:
    assert sorted(draw(scored, source="small")) == list(range(150, 200))


def test_triples_of_a_batch_are_not_drawn_again_by_default(scored: Store) -> None:
    first = draw(scored, "first", size=120)
    rest = draw(scored, "rest")
    assert sorted(first + rest) == list(range(TRIPLES))
    with pytest.raises(UserError, match="no triples match for a batch"):
        draw(scored, "none")
    assert len(draw(scored, "again", votes="any", size=10)) == 10


def test_the_sample_is_the_same_size_for_each_stratum(scored: Store) -> None:
    by_source = Counter(n < 150 for n in draw(scored, "a", size=60, stratify="source"))
    assert by_source == {True: 30, False: 30}
    by_score = Counter(n // 20 for n in draw(scored, "b", votes="any", size=50, stratify="score"))
    assert by_score == dict.fromkeys(range(10), 5)


def test_a_small_stratum_is_used_up(scored: Store) -> None:
    by_source = Counter(n < 150 for n in draw(scored, size=160, stratify="source"))
    assert by_source == {True: 110, False: 50}


def test_the_most_uncertain_come_first_except_for_the_random_share(scored: Store) -> None:
    draw_batch(
        scored,
        "b",
        votes_required=1,
        selection=Selection(),
        seed=1,
        ordering="uncertain",
        random_share=0.3,
    )
    items = places(scored, "b")
    ranked = [abs(triple - TRIPLES / 2) for triple, at_random in items if not at_random]
    assert ranked == sorted(ranked)
    random_triples = [triple for triple, at_random in items if at_random]
    assert len(random_triples) == 60
    assert len([at_random for _, at_random in items[:100] if at_random]) == pytest.approx(
        30, abs=12
    )
    # Chance does not look at scores: what it drew is spread over all of them.
    assert np.mean(random_triples) == pytest.approx(TRIPLES / 2, abs=25)


@given(st.integers(0, 10_000))
def test_every_order_has_each_triple_once(seed: int) -> None:
    from db.labelling.batches import draw_order

    rng = np.random.default_rng(seed)
    urgency = {n: float(rng.random()) for n in range(0, 50, 2)}
    share = float(rng.random())
    items = draw_order(range(50), urgency, share, rng)
    assert sorted(triple for triple, _ in items) == list(range(50))
    assert sum(at_random for _, at_random in items) == round(share * 50)


def test_divided_votes_are_selected_and_the_most_divided_come_first(scored: Store) -> None:
    with scored.write() as session:
        people = [
            sessions.add_person(session, f"p{n}", "annotator", "password").id for n in range(4)
        ]
        make_batch(session, "first", [1, 2, 3], votes_required=4, rng=np.random.default_rng(0))
        votes = {1: "aaaa", 2: "aaar", 3: "aarr"}
        session.add_all(
            Vote(
                key=f"{triple}-{n}",
                triple_id=triple,
                person_id=person,
                decision="accept" if decisions[n] == "a" else "reject",
                created=0,
            )
            for triple, decisions in votes.items()
            for n, person in enumerate(people)
        )
    draw_batch(
        scored,
        "again",
        votes_required=2,
        selection=Selection(votes="split"),
        seed=0,
        ordering="disagreed",
        random_share=0.0,
    )
    assert [triple for triple, _ in places(scored, "again")] == [3, 2]


def test_reordering_keeps_triples_with_votes_or_leases_in_place(scored: Store) -> None:
    with scored.write() as session:
        person = sessions.add_person(session, "p", "annotator", "password").id
    draw_batch(
        scored,
        "b",
        votes_required=1,
        selection=Selection(),
        seed=1,
        ordering="uncertain",
        random_share=0.2,
    )
    queue, who = Queue(scored), LeaseHolder(person)
    begun = [item["triple"] for item in queue.next_items(who, "b", 4).items]
    queue.submit_vote(who, "b", begun[0], VoteInput("key-0001", "accept"))
    before = places(scored, "b")
    with scored.write() as session:
        # A critic that has learned: now it is unsure of the lowest.
        session.execute(update(Score).values(value=0.5 + Score.triple_id / (2 * TRIPLES)))
    assert reorder(scored, "b", run=None, seed=2) == TRIPLES - 4
    after = places(scored, "b")
    assert [triple for triple, _ in after[:4]] == [triple for triple, _ in before[:4]]
    ranked = [triple for triple, at_random in after[4:] if not at_random]
    assert ranked == sorted(ranked)
    assert sorted(after) == sorted(before)
    # Who has been here goes on with the new order, and is given nothing twice.
    rest: list[int] = []
    while given := queue.next_items(who, "b", 32).items:
        for item in given:
            rest.append(item["triple"])
            queue.submit_vote(
                who, "b", item["triple"], VoteInput(f"key-{item['triple']}-x", "accept")
            )
    assert sorted([begun[0], *rest]) == list(range(TRIPLES))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"policy": QualityPolicy(gold_rate=1.5)},
            r"gold rate must be between 0 and 1 \(got 1\.5\)",
        ),
        ({"policy": QualityPolicy(gold_rate=0.1)}, "no gold triples to hide"),
        ({"policy": QualityPolicy(qualification_items=2)}, "there are 1"),
        (
            {"random_share": -0.1, "ordering": "uncertain"},
            r"random share must be between 0 and 1 \(got -0\.1\)",
        ),
    ],
)
def test_a_batch_with_an_impossible_policy_is_an_error(
    scored: Store, settings: dict[str, object], message: str
) -> None:
    with scored.write() as session:
        gold.set_gold(session, 7, "reject", is_training_item=True)
    with pytest.raises(UserError, match=message):
        draw_batch(scored, "b", votes_required=3, selection=Selection(), seed=0, **settings)  # type: ignore[arg-type]
    assert places(scored, "b") == []


def test_gold_triples_are_not_drawn(scored: Store) -> None:
    with scored.write() as session:
        gold.set_gold(session, 7, "reject")
    assert 7 not in draw(scored)
