"""Releases: limits, certified thresholds, data cards, comparison, cluster scoring, commands."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from critic.releases.compare import OnlyIn, compare_releases
from critic.releases.guarantees import certified_threshold, certify
from critic.releases.release import create_release
from critic.settings import ReleaseFilter
from critic.training.ray_workers import ray_executor
from critic.training.score import ScoringSummary, score
from db.formats.data_card import card_by_name
from db.schema import Release, ReleaseTriple, Run, Score, Triple
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError


def kept(store: Store, release: Release) -> dict[int, float]:
    with store.read() as session:
        rows = session.execute(
            select(ReleaseTriple.triple_id, ReleaseTriple.score).where(
                ReleaseTriple.release_id == release.id
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
def test_a_release_keeps_the_best_triples_within_its_limits(
    trained: tuple[Store, Run], threshold: float, top: int, per_image: int, per_kind: int
) -> None:
    store, run = trained
    limits = ReleaseFilter(top=top, per_image=per_image, per_kind=per_kind)
    with store.write() as session:
        session.query(ReleaseTriple).delete()
        session.query(Release).delete()
    release = create_release(store, "r", threshold, simulated=True, limits=limits)
    scores = kept(store, release)
    assert release.kept == len(scores)
    assert min(scores.values()) >= threshold
    with store.read() as session:
        triples = {t.id: (t.image_id, t.kind) for t in session.scalars(select(Triple))}
        every = dict(
            session.execute(
                select(Score.triple_id, Score.value).where(Score.run_id == run.id)
            ).all()
        )
    images = Counter(triples[i][0] for i in scores)
    of_kind = Counter(triples[i][1] for i in scores)
    assert not top or len(scores) <= top
    assert not per_image or max(images.values()) <= per_image
    assert not per_kind or max(of_kind.values()) <= per_kind
    # Every other triple exceeded a limit: of its image, of its kind, or in total.
    for left, value in every.items():
        if left in scores or value < threshold:
            continue
        same_image = [scores[i] for i in scores if per_image and triples[i][0] == triples[left][0]]
        same_kind = [scores[i] for i in scores if per_kind and triples[i][1] == triples[left][1]]
        assert (
            (len(same_image) == per_image and min(same_image, default=0) >= value)
            or (len(same_kind) == per_kind and min(same_kind, default=0) >= value)
            or (top and len(scores) == top)
            or (per_image and (per_kind or top))
        )


def test_a_share_keeps_the_highest_scores(trained: tuple[Store, Run]) -> None:
    store, run = trained
    release = create_release(store, "fifth", simulated=True, limits=ReleaseFilter(share=0.2))
    with store.read() as session:
        scores = sorted(session.scalars(select(Score.value).where(Score.run_id == run.id)))
    assert sorted(kept(store, release).values()) == scores[-round(0.2 * len(scores)) :]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ReleaseFilter(top=5, share=0.2), "--top and --share cannot be combined"),
        (ReleaseFilter(per_image=-1), "limits must be 1 or more"),
        (ReleaseFilter(share=1.5), "--share must be between 0 and 1"),
    ],
)
def test_contradictory_or_negative_limits_are_an_error(
    trained: tuple[Store, Run], limits: ReleaseFilter, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        create_release(trained[0], "r", 0.5, simulated=True, limits=limits)


def test_every_requested_guarantee_is_stored(trained: tuple[Store, Run]) -> None:
    store, run = trained
    guarantee = certify(store, run.name, 0.9, 0.9)
    certify(store, run.name, 0.9, 0.9)
    certify(store, run.name, 0.3, 0.8)
    with store.read() as session:
        requests = session.get_one(Run, run.id).results["guarantees"]
    assert [(request["target"], request["confidence"]) for request in requests] == [
        (0.3, 0.8),
        (0.9, 0.9),
    ]
    assert requests[1] == json.loads(json.dumps(asdict(guarantee)))


def test_the_error_says_how_many_labels_a_guarantee_needs(trained: tuple[Store, Run]) -> None:
    with pytest.raises(
        UserError,
        match=r"no threshold can be certified .* 0\.99: (label about \d+ more|no amount)",
    ):
        certified_threshold(trained[0], None, 0.99, 0.95)


def test_a_card_states_selection_quality_and_limitations(trained: tuple[Store, Run]) -> None:
    store, run = trained
    note = "# not a heading\n<script>alert(1)</script>"
    release = create_release(
        store,
        "pilot",
        0.4,
        simulated=True,
        note=note,
        limits=ReleaseFilter(per_image=4),
    )
    text = card_by_name(store, "pilot")
    assert f"{release.kept} triples with a score of at least 0.4" in text
    assert "The critic was trained on simulated votes." in text
    assert "- Limited to at most 4 triples per image." in text
    assert "Precision corrected for annotator error" in text
    assert "licence" in text
    assert run.name in text
    assert "\n# not a heading" not in text
    with pytest.raises(UserError, match="no release named 'other'"):
        card_by_name(store, "other")
    create_release(store, "certain", precision=0.3, confidence=0.6, simulated=True)
    assert "- Certified: precision above 0.3 with confidence 0.6, " in card_by_name(
        store, "certain"
    )


def test_two_releases_are_compared(trained: tuple[Store, Run]) -> None:
    store, _ = trained
    small = kept(store, create_release(store, "strict", 0.6, simulated=True))
    large = kept(store, create_release(store, "loose", 0.4, simulated=True))
    comparison = compare_releases(store, "strict", "loose")
    assert comparison.kept_by_both == len(small)
    assert comparison.only_first == OnlyIn("strict", 0, [])
    assert comparison.only_second.triples == len(large) - len(small)
    assert len(comparison.only_second.examples) == 5


def test_the_estimate_is_of_the_kept_triples(trained: tuple[Store, Run]) -> None:
    """With limits too: precision among the labelled test triples in the release."""
    store, _ = trained
    plain = create_release(store, "plain", 0.5, simulated=True).estimate["precision"]
    limited = create_release(
        store, "limited", 0.5, simulated=True, limits=ReleaseFilter(per_image=2)
    ).estimate["precision"]
    for estimate in (plain, limited):
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert plain != limited


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_scores(trained: tuple[Store, Run]) -> None:
    store, run = trained
    with store.read() as session:
        before = dict(session.execute(select(Score.triple_id, Score.value)).all())
    with store.write() as session:
        session.query(Score).delete()
    assert score(store, run.name, executor=ray_executor(2)) == ScoringSummary(run.name, 157)
    with store.read() as session:
        after = dict(session.execute(select(Score.triple_id, Score.value)).all())
    assert after == pytest.approx(before)


def test_the_release_commands(trained: tuple[Store, Run], tmp_path: Path) -> None:
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
    assert "Labelled" in call("slices", "kind", "--threshold", "0.5")
    assert "Threshold" in call("certify", "0.5")
    call("release", "one", "--top", "20", "--simulated")
    call("release", "two", "--threshold", "0.5", "--per-image", "3", "--simulated")
    assert "by both" in call("diff", "one", "two")
    call("card", "one", "--out", str(tmp_path / "card.md"))
    assert (tmp_path / "card.md").read_text("utf-8").startswith("# `one`")
    assert "nothing says which triples to keep" in fails("release", "three", "--simulated")
    both = fails("release", "three", "--precision", "0.8", "--top", "5", "--simulated")
    assert "--precision cannot be combined with --threshold or limits" in both
    assert "no unlabelled triple" in fails("label-next")
