"""Batches: select triples to be labelled, and order them.

The order is stored. If it depends on scores or votes, a share of the positions is still filled at
random: acceptance and the critic's quality are estimated on those alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import case, func, insert, select, text
from sqlalchemy.orm import Session

from db.schema import Batch, BatchItem, Gold, Order, Score, Triple, Vote
from db.store import queries, runs
from db.store.clock import now
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError

VoteState = Literal["none", "split", "any"]
Strata = Literal["source", "kind", "score"]

_SCORE_STRATA = 10
_BLOCK_SIZE = 64
"""New positions begin a new block of this size, which no annotator has read yet."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects the triples that meet all conditions."""

    source: str | None = None
    """See `Triple.source`."""
    kind: str | None = None
    run: str | None = None
    """Critic run whose scores are used; None for the newest."""
    score_from: float | None = None
    score_to: float | None = None
    votes: VoteState = "none"
    """Triples in no batch yet, triples with divided votes, or any."""
    size: int | None = None
    """Number of triples; None for all."""
    stratify: Strata | None = None
    """Draw equal numbers from each source, kind or tenth of the score range."""


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """Quality control of a batch's annotators; see `db.schema.Batch`."""

    gold_rate: float = 0.0
    qualification_items: int = 0
    min_gold_accuracy: float = 0.0
    fast_ms: int = 1000


def make_batch(
    session: Session,
    name: str,
    triple_ids: Sequence[int],
    *,
    votes_required: int,
    rng: np.random.Generator,
    ordering: Order = "random",
    random_share: float = 1.0,
    urgency: dict[int, float] | None = None,
    policy: QualityPolicy | None = None,
    selection: Selection | None = None,
) -> Batch:
    """Add a batch of these triples, which require `votes_required` votes each.

    Unless `ordering` is random, triples with the highest `urgency` come first, except at a share of
    `random_share` of the positions. UserError if the name is in use or a setting is invalid.
    """
    policy = policy or QualityPolicy()
    _check(session, name, triple_ids, votes_required, random_share)
    _check_policy(session, name, policy)
    batch = Batch(
        name=name,
        votes_required=votes_required,
        ordering=ordering,
        random_share=random_share,
        selection=asdict(selection) if selection else {},
        created=now(),
        **asdict(policy),
    )
    session.add(batch)
    session.flush()
    ordered = draw_order(
        triple_ids, urgency or {}, 1.0 if ordering == "random" else random_share, rng
    )
    session.execute(
        insert(BatchItem),
        [
            {
                "batch_id": batch.id,
                "position": position,
                "triple_id": triple_id,
                "votes_required": votes_required,
                "slots_used": 0,
                "at_random": at_random,
            }
            for position, (triple_id, at_random) in enumerate(ordered)
        ],
    )
    if policy.gold_rate or policy.qualification_items:
        add_gold(session, batch)
    return batch


def draw_batch(
    store: Store,
    name: str,
    *,
    votes_required: int,
    selection: Selection,
    seed: int,
    ordering: Order = "random",
    random_share: float = 0.2,
    policy: QualityPolicy | None = None,
) -> int:
    """Select triples and add a batch of them; return their number."""
    rng = np.random.default_rng(seed)
    with store.write() as session:
        candidates = select_candidates(session, selection)
        sample = draw_sample(session, candidates, selection, rng)
        urgency = label_urgency(session, ordering, sample, selection.run)
        make_batch(
            session,
            name,
            sample,
            votes_required=votes_required,
            rng=rng,
            ordering=ordering,
            random_share=1.0 if ordering == "random" else random_share,
            urgency=urgency,
            policy=policy,
            selection=selection,
        )
    return len(sample)


def reorder(store: Store, name: str, *, run: str | None, seed: int) -> int:
    """Re-order the triples without votes or leases by the newest scores and votes.

    Triples drawn at random keep their share of the positions. Returns the number of triples.
    """
    rng = np.random.default_rng(seed)
    with store.write() as session:
        batch = queries.by_name(session, Batch, name)
        in_batch = BatchItem.batch_id == batch.id
        untouched = session.execute(
            select(BatchItem.position, BatchItem.triple_id, BatchItem.at_random)
            .where(in_batch, BatchItem.slots_used == 0, BatchItem.votes_required > 0)
            .order_by(BatchItem.position)
        ).all()
        if not untouched:
            return 0
        positions = {triple_id: position for position, triple_id, _ in untouched}
        ranked = [triple_id for _, triple_id, at_random in untouched if not at_random]
        urgency = label_urgency(session, batch.ordering, ranked, run)
        ranked.sort(key=lambda triple_id: -urgency.get(triple_id, 0.0))
        random = [triple_id for _, triple_id, at_random in untouched if at_random]
        order = _interleave(ranked, random, batch.random_share, rng)
        first = next_position(session, batch.id)
        session.connection().execute(
            text(
                "UPDATE batch_items SET position = :new WHERE batch_id = :batch AND position = :old"
            ),
            [
                {"batch": batch.id, "old": positions[triple_id], "new": position}
                for position, triple_id in enumerate(order, first)
            ],
        )
    return len(order)


def add_gold(session: Session, batch: Batch) -> int:
    """Add the gold triples that a batch lacks; return their number."""
    in_batch = select(BatchItem.triple_id).where(BatchItem.batch_id == batch.id)
    missing = session.scalars(
        select(Gold.triple_id).where(Gold.triple_id.not_in(in_batch)).order_by(Gold.triple_id)
    ).all()
    first = next_position(session, batch.id)
    if missing:
        session.execute(
            insert(BatchItem),
            [
                {
                    "batch_id": batch.id,
                    "position": position,
                    "triple_id": triple_id,
                    "votes_required": 0,
                    "slots_used": 0,
                }
                for position, triple_id in enumerate(missing, first)
            ],
        )
    return len(missing)


def next_position(session: Session, batch_id: int) -> int:
    """Return the position of a batch where new items begin: that of a new block."""
    last = session.scalar(
        select(func.max(BatchItem.position)).where(BatchItem.batch_id == batch_id)
    )
    return 0 if last is None else (last // _BLOCK_SIZE + 1) * _BLOCK_SIZE


def _check(
    session: Session, name: str, triple_ids: Sequence[int], votes_required: int, random_share: float
) -> None:
    if not name.strip():
        raise InvalidError("a batch needs a name", hint="such as pilot")
    queries.check_unused(session, Batch, name)
    if votes_required < 1:
        raise InvalidError(f"votes must be 1 or more (got {votes_required})", where=name)
    if not triple_ids:
        raise NotFoundError(
            "no triples match for a batch", where=name, hint="import some, or relax the selection"
        )
    _check_share(name, "random share", random_share)


def _check_share(name: str, what: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise InvalidError(f"{what} must be between 0 and 1 (got {share})", where=name)


def _check_policy(session: Session, name: str, policy: QualityPolicy) -> None:
    _check_share(name, "gold rate", policy.gold_rate)
    _check_share(name, "minimum gold accuracy", policy.min_gold_accuracy)
    gold = session.scalars(select(Gold.is_training_item)).all()
    training_items = sum(gold)
    if policy.gold_rate and training_items == len(gold):
        raise NotFoundError(
            "no gold triples to hide", where=name, hint="set some with `lskd gold set`"
        )
    if policy.qualification_items > training_items:
        raise NotFoundError(
            f"{policy.qualification_items} qualification items need as many training items; "
            f"there are {training_items}",
            where=name,
            hint="set some with `lskd gold set --training-item`",
        )


def draw_order(
    triple_ids: Sequence[int], urgency: dict[int, float], share: float, rng: np.random.Generator
) -> list[tuple[int, bool]]:
    """Return the triples in order, and whether each one's position was drawn at random."""
    shuffled = [triple_ids[i] for i in rng.permutation(len(triple_ids))]
    at_random = set(shuffled[: round(share * len(shuffled))])
    ranked = [t for t in shuffled if t not in at_random]
    ranked.sort(key=lambda triple_id: -urgency.get(triple_id, 0.0))
    random = [t for t in shuffled if t in at_random]
    return [(t, t in at_random) for t in _interleave(ranked, random, share, rng)]


def _interleave(
    ranked: Sequence[int], random: Sequence[int], share: float, rng: np.random.Generator
) -> list[int]:
    """Merge two lists in their orders, taking each item from `random` with probability `share`."""
    from_random = rng.random(len(ranked) + len(random)) < share
    ranked_items, random_items, merged = iter(ranked), iter(random), []
    for is_random in from_random:
        preferred, other = (
            (random_items, ranked_items) if is_random else (ranked_items, random_items)
        )
        item = next(preferred, None)
        merged.append(next(other) if item is None else item)
    return merged


def select_candidates(session: Session, selection: Selection) -> list[int]:
    """Return the triples that meet the conditions of a selection, except gold."""
    query = select(Triple.id).where(Triple.id.not_in(select(Gold.triple_id))).order_by(Triple.id)
    if selection.source is not None:
        query = query.where(Triple.source == selection.source)
    if selection.kind is not None:
        query = query.where(Triple.kind == selection.kind)
    if selection.score_from is not None or selection.score_to is not None:
        run = runs.newest(session, "critic", selection.run)
        low, high = (
            selection.score_from or 0.0,
            1.0 if selection.score_to is None else selection.score_to,
        )
        query = query.join(Score, Score.triple_id == Triple.id).where(
            Score.run_id == run.id, Score.value.between(low, high)
        )
    if selection.votes == "none":
        query = query.where(Triple.id.not_in(select(BatchItem.triple_id)))
    triple_ids = list(session.scalars(query))
    if selection.votes == "split":
        disagreement = _disagreement(session)
        triple_ids = [t for t in triple_ids if disagreement.get(t, 0.0) > 0]
    return triple_ids


def draw_sample(
    session: Session, candidates: Sequence[int], selection: Selection, rng: np.random.Generator
) -> list[int]:
    """Draw the number of triples of a selection from the candidates, in random order."""
    if selection.size is not None and selection.size < 1:
        raise InvalidError(f"size must be 1 or more (got {selection.size})")
    order = [candidates[i] for i in rng.permutation(len(candidates))]
    if selection.size is None or selection.stratify is None:
        return order[: selection.size]
    strata = _strata(session, selection.stratify, selection.run)
    members: dict[object, list[int]] = {}
    for triple_id in order:
        members.setdefault(strata.get(triple_id), []).append(triple_id)
    # One of each stratum in turn; a small stratum may be used up.
    sample: list[int] = []
    for turn in range(max(map(len, members.values()), default=0)):
        sample += [stratum[turn] for stratum in members.values() if turn < len(stratum)]
        if len(sample) >= selection.size:
            break
    return sample[: selection.size]


def _strata(session: Session, by: Strata, run_name: str | None) -> dict[int, object]:
    if by == "score":
        run = runs.newest(session, "critic", run_name)
        scores = session.execute(select(Score.triple_id, Score.value).where(Score.run_id == run.id))
        return {t: min(int(value * _SCORE_STRATA), _SCORE_STRATA - 1) for t, value in scores}
    column = Triple.source if by == "source" else Triple.kind
    return {row[0]: row[1] for row in session.execute(select(Triple.id, column))}


def label_urgency(
    session: Session, ordering: Order, triple_ids: Sequence[int], run_name: str | None
) -> dict[int, float]:
    """Return how much each triple needs a vote, from 0 to 1."""
    if ordering in {"random", "information"}:  # information is looked up when items are leased
        return {}
    if ordering == "disagreed":
        return _disagreement(session)
    run = runs.newest(session, "critic", run_name)
    rows = session.execute(select(Score.triple_id, Score.value).where(Score.run_id == run.id))
    in_batch = set(triple_ids)
    return {t: 1 - abs(2 * value - 1) for t, value in rows if t in in_batch}


def _disagreement(session: Session) -> dict[int, float]:
    """Return how divided the votes on each triple are: 0 if unanimous, 1 if half accept."""
    accepts = func.sum(case((Vote.decision == "accept", 1), else_=0))
    rows = session.execute(
        select(Vote.triple_id, accepts, func.count())
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
        .group_by(Vote.triple_id)
    ).all()
    counts: NDArray[np.float64] = np.array([(a, n) for _, a, n in rows], dtype=float).reshape(-1, 2)
    shares = 2 * np.minimum(counts[:, 0], counts[:, 1] - counts[:, 0]) / counts[:, 1]
    return {row[0]: float(share) for row, share in zip(rows, shares, strict=True)}
