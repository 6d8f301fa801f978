"""Scoring the store's triples in chunks, each stored as it is done: a stopped run goes on."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert, select

from critic.baseline import FILE as BASELINE_FILE
from critic.baseline import Baseline
from critic.examples import examples
from critic.protocol import Critic
from db import runs
from db.schema import Score, Triple
from db.session import Store
from regions.errors import UserError


def score(
    store: Store,
    run_name: str | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[str, int]:
    """Score what the critic of a run (None: the newest) has not; the run's name and how many."""
    with store.read() as session:
        run = runs.newest(session, "critic", run_name)
        run_id, name = run.id, run.name
    critic = load(runs.folder(store, name))
    return name, score_new(store, run_id, critic, progress)


def load(folder: Path) -> Critic:
    """The critic that a run saved, of whichever kind."""
    if (folder / BASELINE_FILE).is_file():
        return Baseline.load(folder)
    from critic.blip2 import Blip2Critic

    if Blip2Critic.is_in(folder):
        return Blip2Critic.load(folder)
    raise UserError("no critic is saved here", where=str(folder), todo="train it anew")


def score_new(
    store: Store, run_id: int, critic: Critic, progress: Callable[[int, int], None]
) -> int:
    """Score every triple that this run has not scored yet; how many there were."""
    with store.read() as session:
        known = select(Score.triple_id).where(Score.run_id == run_id)
        waiting = set(session.scalars(select(Triple.id).where(Triple.id.not_in(known))))
    done = 0
    with store.read() as reading:
        for ids, chunk in examples(reading, waiting):
            values = critic.score(chunk)
            with store.write() as session:
                session.execute(
                    insert(Score),
                    [
                        {"run_id": run_id, "triple_id": triple_id, "value": float(value)}
                        for triple_id, value in zip(ids, values, strict=True)
                    ],
                )
            done += len(ids)
            progress(done, len(waiting))
    return done
