"""Releases: a frozen choice of a critic's run and a threshold, with the triples that it kept."""

from sqlalchemy import insert, literal, select
from sqlalchemy.orm import Session

from db import runs
from db.clock import now
from db.schema import Release, ReleaseTriple, Run, Score
from db.session import Store
from regions.errors import UserError

_FIGURES = ("precision", "recall", "f1")


def release(
    store: Store,
    name: str,
    threshold: float,
    *,
    run_name: str | None = None,
    simulated: bool = False,
    note: str = "",
) -> tuple[Release, int]:
    """Keep every triple whose score reaches the threshold; the release and how many it kept.

    Scores are those of a run's critic (None: the newest). UserError for a name in use, for a
    threshold that is no share or keeps nothing, and for a critic that learned from simulated votes
    unless `simulated` says that this is meant.
    """
    if not name.strip():
        raise UserError("a release needs a name", todo="such as pilot-1")
    if not 0 <= threshold <= 1:
        raise UserError(f"a threshold of {threshold} is no share", todo="use 0 to 1, such as 0.8")
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        if run.simulated and not simulated:
            raise UserError(
                f"{run.name} learned from simulated votes, which are nobody's opinion",
                todo="say --simulated to release it all the same",
            )
        if session.scalar(select(Release.id).where(Release.name == name)) is not None:
            raise UserError(f"a release named {name!r} is there already", todo="choose another")
        made = Release(
            name=name,
            run_id=run.id,
            threshold=threshold,
            simulated=run.simulated,
            note=note,
            estimate=estimate(run, threshold),
            created=now(),
        )
        session.add(made)
        session.flush()
        kept = _keep(session, made)
        if not kept:
            raise UserError(f"no score of {run.name} reaches {threshold}", todo="use a lower one")
    return made, kept


def estimate(run: Run, threshold: float) -> dict[str, object]:
    """What the run's test images say of a threshold: each figure and its 95 % interval, or None."""
    table = run.results["curve"]
    at = next((i for i, t in enumerate(table["threshold"]) if t >= threshold), None)
    if at is None:
        return dict.fromkeys(_FIGURES)
    return {
        figure: {"value": table[figure][at], "interval": table[f"{figure} interval"][at]}
        for figure in _FIGURES
    }


def _keep(session: Session, made: Release) -> int:
    kept = (
        select(literal(made.id), Score.triple_id, Score.value)
        .where(Score.run_id == made.run_id, Score.value >= made.threshold)
        .order_by(Score.triple_id)
    )
    columns = ["release_id", "triple_id", "score"]
    session.execute(insert(ReleaseTriple).from_select(columns, kept))
    query = select(ReleaseTriple.triple_id).where(ReleaseTriple.release_id == made.id)
    return len(session.scalars(query).all())
