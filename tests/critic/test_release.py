"""Releases: what they choose, what they promise, what their card says, how two of them differ."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from critic.releases.release import compared, promise, promised_threshold, release
from critic.settings import Selection, TrainSettings
from critic.training.ray_workers import on_ray
from critic.training.score import score
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.formats.data_card import card_by_name
from db.schema import Release, ReleaseTriple, Run, Score, Triple
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError


@pytest.fixture
def trained(demo_store: Store) -> tuple[Store, Run]:
    simulate_votes(demo_store, accuracies=[0.95, 0.9, 0.9])
    return demo_store, train(demo_store, TrainSettings(simulated=True, resamples=20))


def kept(store: Store, made: Release) -> dict[int, float]:
    with store.read() as session:
        rows = session.execute(
            select(ReleaseTriple.triple_id, ReleaseTriple.score).where(
                ReleaseTriple.release_id == made.id
            )
        )
        return {row[0]: row[1] for row in rows}


@given(
    threshold=st.floats(0, 0.6),
    top=st.integers(0, 60),
    per_image=st.integers(0, 5),
    per_kind=st.integers(0, 10),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_selection_keeps_its_limits_and_the_best(
    trained: tuple[Store, Run], threshold: float, top: int, per_image: int, per_kind: int
) -> None:
    store, run = trained
    selection = Selection(top=top, per_image=per_image, per_kind=per_kind)
    with store.write() as session:
        session.query(ReleaseTriple).delete()
        session.query(Release).delete()
    made = release(store, "r", threshold, simulated=True, selection=selection)
    found = kept(store, made)
    assert made.kept == len(found)
    assert min(found.values()) >= threshold
    with store.read() as session:
        triples = {t.id: (t.image_id, t.kind) for t in session.scalars(select(Triple))}
        every = dict(
            session.execute(
                select(Score.triple_id, Score.value).where(Score.run_id == run.id)
            ).all()
        )
    images = Counter(triples[i][0] for i in found)
    of_kind = Counter(triples[i][1] for i in found)
    assert not top or len(found) <= top
    assert not per_image or max(images.values()) <= per_image
    assert not per_kind or max(of_kind.values()) <= per_kind
    # Whatever was left out had no room: of its image, of its kind, or at all.
    for left, value in every.items():
        if left in found or value < threshold:
            continue
        full = [found[i] for i in found if per_image and triples[i][0] == triples[left][0]]
        alike = [found[i] for i in found if per_kind and triples[i][1] == triples[left][1]]
        assert (
            (len(full) == per_image and min(full, default=0) >= value)
            or (len(alike) == per_kind and min(alike, default=0) >= value)
            or (top and len(found) == top)
            or (per_image and (per_kind or top))
        )


def test_the_best_share(trained: tuple[Store, Run]) -> None:
    store, run = trained
    made = release(store, "fifth", simulated=True, selection=Selection(share=0.2))
    with store.read() as session:
        scores = sorted(session.scalars(select(Score.value).where(Score.run_id == run.id)))
    assert sorted(kept(store, made).values()) == scores[-round(0.2 * len(scores)) :]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(top=5, share=0.2), "two sizes are stated"),
        (Selection(per_image=-1), "a limit below nothing"),
        (Selection(share=1.5), "a limit below nothing"),
    ],
)
def test_limits_that_make_no_sense(
    trained: tuple[Store, Run], selection: Selection, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        release(trained[0], "r", 0.5, simulated=True, selection=selection)


def test_every_promise_that_was_asked_for_is_remembered(trained: tuple[Store, Run]) -> None:
    store, run = trained
    found = promise(store, run.name, 0.9, 0.9)
    promise(store, run.name, 0.9, 0.9)
    promise(store, run.name, 0.3, 0.8)
    with store.read() as session:
        asked = session.get_one(Run, run.id).results["promises"]
    assert [(one["target"], one["confidence"]) for one in asked] == [(0.3, 0.8), (0.9, 0.9)]
    assert asked[1] == json.loads(json.dumps(asdict(found)))


def test_where_none_qualifies_it_says_what_would_help(trained: tuple[Store, Run]) -> None:
    with pytest.raises(UserError, match=r"no threshold promises 0\.99: (about \d+ more|no number)"):
        promised_threshold(trained[0], None, 0.99, 0.95)


def test_a_card_says_how_it_was_made_and_hides_nothing(trained: tuple[Store, Run]) -> None:
    store, run = trained
    note = "# not a heading\n<script>alert(1)</script>"
    made = release(
        store,
        "pilot",
        0.4,
        simulated=True,
        note=note,
        selection=Selection(per_image=4),
    )
    text = card_by_name(store, "pilot")
    assert f"{made.kept} triples that score 0.4 or more" in text
    assert "The critic learned from simulated votes." in text
    assert "- Limited to at most 4 of one image." in text
    assert "precision without the annotators' error" in text
    assert "licence" in text
    assert run.name in text
    assert "\n# not a heading" not in text
    with pytest.raises(UserError, match="no release named 'other'"):
        card_by_name(store, "other")
    release(store, "certain", precision=0.3, confidence=0.6, simulated=True)
    assert "- certified: precision above 0.3, confidence 0.6, " in card_by_name(store, "certain")


def test_two_releases_side_by_side(trained: tuple[Store, Run]) -> None:
    store, _ = trained
    small = kept(store, release(store, "strict", 0.6, simulated=True))
    large = kept(store, release(store, "loose", 0.4, simulated=True))
    found = compared(store, "strict", "loose")
    assert found["kept by both"] == len(small)
    assert found["kept by strict only"] == 0
    assert found["kept by loose only"] == len(large) - len(small)
    assert len(found["examples"]["loose only"]) == 5


def test_the_estimate_is_of_what_was_kept(trained: tuple[Store, Run]) -> None:
    """With limits too: precision among the labelled test triples that the release holds."""
    store, _ = trained
    plain = release(store, "plain", 0.5, simulated=True).estimate["precision"]
    limited = release(
        store, "limited", 0.5, simulated=True, selection=Selection(per_image=2)
    ).estimate["precision"]
    for one in (plain, limited):
        assert one["interval"][0] <= one["value"] <= one["interval"][1]
    assert plain != limited


def test_a_cluster_scores_the_same(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.read() as session:
        before = dict(session.execute(select(Score.triple_id, Score.value)).all())
    with store.write() as session:
        session.query(Score).delete()
    assert score(store, run.name, by=on_ray(2)) == (run.name, 157)
    with store.read() as session:
        after = dict(session.execute(select(Score.triple_id, Score.value)).all())
    assert after == pytest.approx(before)


def test_by_command(trained: tuple[Store, Run], tmp_path: Path) -> None:
    store, run = trained
    url = store.engine.url.render_as_string(hide_password=False)

    def call(*words: str) -> str:
        done = CliRunner().invoke(cli, ["critic", *words, "--store", url])
        assert done.exit_code == 0, done.output
        return done.stdout

    def fails(*words: str) -> str:
        done = CliRunner().invoke(cli, ["critic", *words, "--store", url])
        assert done.exit_code == 2, done.output
        return done.stderr

    assert run.name in call("compare", "--resamples", "20")
    assert "Labelled" in call("slices", "kind", "--at", "0.5")
    assert "Threshold" in call("promise", "0.5")
    call("release", "one", "--top", "20", "--simulated")
    call("release", "two", "--threshold", "0.5", "--per-image", "3", "--simulated")
    assert "Kept by both" in call("differ", "one", "two")
    call("card", "one", "--out", str(tmp_path / "card.md"))
    assert (tmp_path / "card.md").read_text("utf-8").startswith("# `one`")
    assert "nothing says what to keep" in fails("release", "three", "--simulated")
    both = fails("release", "three", "--precision", "0.8", "--top", "5", "--simulated")
    assert "a promise beside other limits" in both
    assert "nothing that 0.8 keeps waits" in fails("next") or "batch" in call("next")
