"""Two releases compared: what both keep, and what only one keeps."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Release, ReleaseTriple, Triple
from db.store import queries
from db.store.session import Store

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class OnlyIn:
    """Triples that only one of two releases keeps."""

    release: str
    triples: int
    examples: list[str]
    """Texts of a few of them, drawn at random."""


@dataclass(frozen=True, slots=True)
class ReleaseComparison:
    """Two releases side by side."""

    kept_by_both: int
    only_first: OnlyIn
    only_second: OnlyIn


def compare_releases(store: Store, first: str, second: str) -> ReleaseComparison:
    """Compare two releases by name; NotFoundError for an unknown one."""
    with store.read() as session:
        in_first, in_second = (_triple_ids(session, name) for name in (first, second))
        return ReleaseComparison(
            len(in_first & in_second),
            _only_in(session, first, in_first - in_second),
            _only_in(session, second, in_second - in_first),
        )


def _triple_ids(session: Session, name: str) -> set[int]:
    release = queries.by_name(session, Release, name)
    kept = select(ReleaseTriple.triple_id).where(ReleaseTriple.release_id == release.id)
    return set(session.scalars(kept))


def _only_in(session: Session, release: str, triple_ids: Collection[int]) -> OnlyIn:
    ids = sorted(triple_ids)
    drawn = np.random.default_rng(0).permutation(len(ids))[:_EXAMPLES]
    query = select(Triple).where(Triple.id.in_([ids[i] for i in drawn])).order_by(Triple.id)
    texts = [f"{t.question} {t.answer} {t.rationale}" for t in session.scalars(query)]
    return OnlyIn(release, len(ids), texts)
