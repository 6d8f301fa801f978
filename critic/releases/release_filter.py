"""Which scored triples a release keeps: a threshold and limits, the best scores first."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from critic.settings import ReleaseFilter
from db.schema import Score, Triple


def select_triples(
    session: Session, run_id: int, threshold: float, limits: ReleaseFilter
) -> Select[tuple[int, float]]:
    """Query of the ids and scores of kept triples, highest score first; ties by id.

    Limits apply in turn: per image, per kind of what is left, then in total.
    """
    rows: Any = (
        select(Score.triple_id.label("id"), Score.value, Triple.image_id, Triple.kind)
        .join(Triple, Triple.id == Score.triple_id)
        .where(Score.run_id == run_id, Score.value >= threshold)
    )
    for limit, column in ((limits.per_image, "image_id"), (limits.per_kind, "kind")):
        if limit:
            inner = rows.subquery()
            rank = func.row_number().over(
                partition_by=inner.c[column], order_by=(inner.c.value.desc(), inner.c.id)
            )
            ranked = select(inner, rank.label("rank")).subquery()
            rows = select(ranked.c.id, ranked.c.value, ranked.c.image_id, ranked.c.kind).where(
                ranked.c.rank <= limit
            )
    best = rows.subquery()
    query = select(best.c.id, best.c.value).order_by(best.c.value.desc(), best.c.id)
    count = limits.top
    if limits.share:
        scored = session.scalar(select(func.count()).where(Score.run_id == run_id)) or 0
        count = max(1, round(limits.share * scored))
    return query.limit(count) if count else query
