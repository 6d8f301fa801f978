"""Score the store's triples in chunks; each chunk is committed, so that scoring can resume."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from critic.features.examples import CHUNK_SIZE, iter_examples, run_ids
from critic.models import registry
from critic.protocol import UNREADABLE, Critic, Scores
from critic.results import Composition
from critic.thresholds.slices import composition
from db.schema import Run, Score, Triple
from db.store import runs
from db.store.results import to_json
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress

ScoredChunks = Iterator[tuple[list[int], Scores]]
"""Ids of triples with their scores, chunk by chunk."""

ScoreExecutor = Callable[[Store, int, Path], ScoredChunks]
"""Scores the unscored triples of a run: the store, the run's id, and the critic's folder."""


@dataclass(frozen=True, slots=True)
class ScoringResults:
    """What scoring adds to the results of a run."""

    scored_triples: int
    unreadable_triples: int
    """Triples without a score, since their image cannot be read; the next scoring tries again."""
    seconds_per_1000: float | None
    """None where there was nothing to score."""
    composition: Composition


@dataclass(frozen=True, slots=True)
class ScoringSummary:
    """The run whose critic scored, and how many triples it scored."""

    run: str
    newly_scored: int
    unreadable_triples: int = 0
    """Triples whose image cannot be read."""


def score(
    store: Store,
    run_name: str | None = None,
    progress: Progress = no_progress,
    *,
    executor: ScoreExecutor | None = None,
) -> ScoringSummary:
    """Score the triples that a run's critic (None: the newest) has not scored yet.

    `executor` does the work, such as a Ray cluster; None: this process.
    """
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        run_id, name = run.id, run.name
    folder = runs.folder(store, name)
    if executor is None:
        scoring = score_new(store, run_id, registry.load(folder), progress)
    else:
        scoring = store_scores(store, run_id, executor(store, run_id, folder), progress)
    with store.write() as session:
        run = session.get_one(Run, run_id)
        known = {key: value for key, value in to_json(scoring).items() if value is not None}
        run.results = run.results | known
    return ScoringSummary(name, scoring.scored_triples, scoring.unreadable_triples)


def score_new(store: Store, run_id: int, critic: Critic, progress: Progress) -> ScoringResults:
    """Score the unscored triples of a run in this process; see `store_scores`."""
    return store_scores(store, run_id, _score_here(store, run_id, critic), progress)


def unscored_triples(store: Store, run_id: int) -> list[int]:
    """Ids of the triples that a run has not scored, ordered by image."""
    with store.read() as session:
        scored = select(Score.triple_id).where(Score.run_id == run_id)
        query = select(Triple.id).where(Triple.id.not_in(scored))
        return list(session.scalars(query.order_by(Triple.image_id, Triple.id)))


def store_scores(
    store: Store, run_id: int, chunks: ScoredChunks, progress: Progress
) -> ScoringResults:
    """Store scores as they arrive; UserError for a score that is not between 0 and 1."""
    total = len(unscored_triples(store, run_id))
    done, scored, started = 0, 0, time.perf_counter()
    for ids, scores in chunks:
        rows = [
            {"run_id": run_id, "triple_id": triple_id, "value": float(score)}
            for triple_id, score in zip(ids, scores, strict=True)
            if score != UNREADABLE
        ]
        if bad := next((row for row in rows if not 0 <= row["value"] <= 1), None):
            raise UserError(
                f"the critic gives triple {bad['triple_id']} a score of {bad['value']}",
                hint="train it again, with --precision fp32 if it was another",
            )
        with store.write() as session:
            if rows:
                session.execute(insert(Score), rows)
        done += len(ids)
        scored += len(rows)
        progress(done, total)
    seconds = round((time.perf_counter() - started) / done * 1000, 4) if done else None
    with store.read() as session:
        return ScoringResults(scored, done - scored, seconds, composition(session, run_id))


def score_sources(session: Session, run_id: int) -> dict[str, int]:
    """Runs whose scores are this run's extra features, by name."""
    names = session.get_one(Run, run_id).settings.get("from_runs", "")
    return run_ids(session, registry.parse_run_names(names))


def _score_here(store: Store, run_id: int, critic: Critic) -> ScoredChunks:
    unscored = set(unscored_triples(store, run_id))
    with store.read() as session:
        sources = score_sources(session, run_id)
        for ids, chunk in iter_examples(
            session, unscored, score_sources=sources, chunk_size=CHUNK_SIZE
        ):
            yield ids, critic.score(chunk)
