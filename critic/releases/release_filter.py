"""Which triples a release takes: those above a threshold, the best so many, no more of a kind."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from critic.settings import Selection
from db.schema import Score, Triple


def selected(
    session: Session, run_id: int, threshold: float, selection: Selection
) -> Select[tuple[int, float]]:
    """The ids and scores of what is taken, the best first; ties by id.

    Limits apply in turn: of an image the best, of a kind the best of those, of all of these the
    best.
    """
    rows: Any = (
        select(Score.triple_id.label("id"), Score.value, Triple.image_id, Triple.kind)
        .join(Triple, Triple.id == Score.triple_id)
        .where(Score.run_id == run_id, Score.value >= threshold)
    )
    for limit, column in ((selection.per_image, "image_id"), (selection.per_kind, "kind")):
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
    count = selection.top
    if selection.share:
        scored = session.scalar(select(func.count()).where(Score.run_id == run_id)) or 0
        count = max(1, round(selection.share * scored))
    return query.limit(count) if count else query
