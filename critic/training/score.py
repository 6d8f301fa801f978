"""Scoring the store's triples in chunks, each stored as it is done: a stopped run goes on."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from critic.features.examples import CHUNK, examples, sources
from critic.models import registry
from critic.models.protocol import Critic, Scores
from critic.thresholds.slices import composition
from db.schema import Run, Score, Triple
from db.store import runs
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress

Scored = Iterator[tuple[list[int], Scores]]
"""Triples and their scores, as they come."""

Scoring = Callable[[Store, int, Path], Scored]
"""Scores what a run has not: the store, the run, and the folder of its critic."""


def score(
    store: Store,
    run_name: str | None = None,
    progress: Progress = no_progress,
    *,
    by: Scoring | None = None,
) -> tuple[str, int]:
    """Score what the critic of a run (None: the newest) has not; the run's name and how many.

    `by` is who does it, such as a cluster; None: this process.
    """
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        run_id, name = run.id, run.name
    folder = runs.folder(store, name)
    if by is None:
        told = score_new(store, run_id, registry.load(folder), progress)
    else:
        told = written(store, run_id, by(store, run_id, folder), progress)
    with store.write() as session:
        run = session.get_one(Run, run_id)
        run.results = run.results | told
    return name, int(told["scored"])


def score_new(store: Store, run_id: int, critic: Critic, progress: Progress) -> dict[str, Any]:
    """Score every triple that this run has not scored yet: how many, how fast, and of which kinds.

    UserError, naming the triple, where a score is no number.
    """
    return written(store, run_id, _scored(store, run_id, critic), progress)


def waiting(store: Store, run_id: int) -> list[int]:
    """The triples that a run has not scored, image by image."""
    with store.read() as session:
        known = select(Score.triple_id).where(Score.run_id == run_id)
        query = select(Triple.id).where(Triple.id.not_in(known))
        return list(session.scalars(query.order_by(Triple.image_id, Triple.id)))


def written(store: Store, run_id: int, scored: Scored, progress: Progress) -> dict[str, Any]:
    """Store scores as they come; what the run's results say of them."""
    total = len(waiting(store, run_id))
    done, began = 0, time.perf_counter()
    for ids, values in scored:
        rows = [
            {"run_id": run_id, "triple_id": triple_id, "value": float(value)}
            for triple_id, value in zip(ids, values, strict=True)
        ]
        if bad := next((row for row in rows if not 0 <= row["value"] <= 1), None):
            raise UserError(
                f"the critic gives triple {bad['triple_id']} a score of {bad['value']}",
                hint="train it anew, with --precision fp32 if it was another",
            )
        with store.write() as session:
            session.execute(insert(Score), rows)
        done += len(ids)
        progress(done, total)
    told: dict[str, Any] = {"scored": done}
    if done:
        told["seconds per 1,000 triples"] = round((time.perf_counter() - began) / done * 1000, 4)
    with store.read() as session:
        return told | {"composition": composition(session, run_id)}


def _scored(store: Store, run_id: int, critic: Critic) -> Scored:
    todo = set(waiting(store, run_id))
    with store.read() as session:
        of = brought(session, run_id)
        for ids, chunk in examples(session, todo, of=of, size=CHUNK):
            yield ids, critic.score(chunk)


def brought(session: Session, run_id: int) -> dict[str, int]:
    """Runs whose scores this run's examples bring along: those that it is an average of."""
    return sources(session, registry.runs_of(session.get_one(Run, run_id).settings.get("of", "")))
