"""Batches: which triples are labelled together, in which order, and with how much gold among them.

The order is stored. Where it follows a critic or disagreement, a stated share of the places goes to
triples drawn at random: estimates of acceptance and of the critic rest on those alone.
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
from regions.errors import UserError

VoteState = Literal["none", "split", "any"]
Strata = Literal["source", "kind", "score"]

_BANDS = 10
_APART = 64
"""Places that are given anew begin a block of their own, so that nobody has read it before."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which triples: those that meet every condition that is stated."""

    source: str | None = None
    """As triples name it."""
    kind: str | None = None
    run: str | None = None
    """Whose scores are meant; None: the newest critic's."""
    score_from: float | None = None
    score_to: float | None = None
    votes: VoteState = "none"
    """Triples in no batch yet, those whose votes are split, or any."""
    size: int | None = None
    stratify: Strata | None = None
    """As many of each source, kind or tenth of the scores."""


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """How a batch's annotators are watched; see `db.schema.Batch`."""

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
    """A batch of these triples, `wanted` votes each; UserError if it exists or asks too much.

    Unless the order is random, the most urgent come first, but for `random_share` of the places.
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
    placed = _order(triple_ids, urgency or {}, 1.0 if ordering == "random" else random_share, rng)
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
            for position, (triple_id, at_random) in enumerate(placed)
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
    """Choose triples and make a batch of them; how many it holds."""
    rng = np.random.default_rng(seed)
    with store.write() as session:
        free = _candidates(session, selection)
        drawn = _sample(session, free, selection, rng)
        urgency = _urgency(session, ordering, drawn, selection.run)
        make_batch(
            session,
            name,
            drawn,
            votes_required=votes_required,
            rng=rng,
            ordering=ordering,
            random_share=1.0 if ordering == "random" else random_share,
            urgency=urgency,
            policy=policy,
            selection=selection,
        )
    return len(drawn)


def reorder(store: Store, name: str, *, run: str | None, seed: int) -> int:
    """Order what nobody has begun anew, by the newest scores and votes; how many that are.

    What was drawn at random keeps its share of the places.
    """
    rng = np.random.default_rng(seed)
    with store.write() as session:
        batch = queries.by_name(session, Batch, name)
        mine = BatchItem.batch_id == batch.id
        untouched = session.execute(
            select(BatchItem.position, BatchItem.triple_id, BatchItem.at_random)
            .where(mine, BatchItem.slots_used == 0, BatchItem.votes_required > 0)
            .order_by(BatchItem.position)
        ).all()
        if not untouched:
            return 0
        place = {triple_id: position for position, triple_id, _ in untouched}
        ranked = [triple_id for _, triple_id, at_random in untouched if not at_random]
        urgency = _urgency(session, batch.ordering, ranked, run)
        ranked.sort(key=lambda triple_id: -urgency.get(triple_id, 0.0))
        chance = [triple_id for _, triple_id, at_random in untouched if at_random]
        order = _interleave(ranked, chance, batch.random_share, rng)
        last = session.scalar(select(func.max(BatchItem.position)).where(mine)) or 0
        first = (last // _APART + 1) * _APART
        session.connection().execute(
            text(
                "UPDATE batch_items SET position = :new WHERE batch_id = :batch AND position = :old"
            ),
            [
                {"batch": batch.id, "old": place[triple_id], "new": position}
                for position, triple_id in enumerate(order, first)
            ],
        )
    return len(order)


def add_gold(session: Session, batch: Batch) -> int:
    """Give the gold that a batch lacks its places in it; how many are new."""
    here = select(BatchItem.triple_id).where(BatchItem.batch_id == batch.id)
    missing = session.scalars(
        select(Gold.triple_id).where(Gold.triple_id.not_in(here)).order_by(Gold.triple_id)
    ).all()
    last = session.scalar(
        select(func.max(BatchItem.position)).where(BatchItem.batch_id == batch.id)
    )
    first = ((last if last is not None else -1) // _APART + 1) * _APART
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


def _check(
    session: Session, name: str, triple_ids: Sequence[int], wanted: int, random_share: float
) -> None:
    if not name.strip():
        raise UserError("a batch needs a name", hint="such as pilot")
    queries.check_unused(session, Batch, name)
    if wanted < 1:
        raise UserError(f"a batch cannot want {wanted} votes", where=name, hint="use 1 or more")
    if not triple_ids:
        raise UserError(
            "no triples for a batch", where=name, hint="import some first, or ask for less"
        )
    _check_share(name, "random share", random_share)


def _check_share(name: str, what: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise UserError(f"a {what} of {share} is no share", where=name, hint="use 0 to 1")


def _check_policy(session: Session, name: str, policy: QualityPolicy) -> None:
    _check_share(name, "gold rate", policy.gold_rate)
    _check_share(name, "minimum gold accuracy", policy.min_gold_accuracy)
    gold = session.scalars(select(Gold.is_training_item)).all()
    lessons = sum(gold)
    if policy.gold_rate and lessons == len(gold):
        raise UserError("there is no gold to hide", where=name, hint="state some with `lskd gold`")
    if policy.qualification_items > lessons:
        raise UserError(
            f"a qualification of {policy.qualification_items} triples needs as many that teach; "
            f"there are {lessons}",
            where=name,
            hint="state some with `lskd gold --training-item`",
        )


def _order(
    triple_ids: Sequence[int], urgency: dict[int, float], share: float, rng: np.random.Generator
) -> list[tuple[int, bool]]:
    """Triples in order of their places, and whether chance gave them theirs."""
    shuffled = [triple_ids[i] for i in rng.permutation(len(triple_ids))]
    by_chance = set(shuffled[: round(share * len(shuffled))])
    ranked = [t for t in shuffled if t not in by_chance]
    ranked.sort(key=lambda triple_id: -urgency.get(triple_id, 0.0))
    chance = [t for t in shuffled if t in by_chance]
    return [(t, t in by_chance) for t in _interleave(ranked, chance, share, rng)]


def _interleave(
    ranked: Sequence[int], chance: Sequence[int], share: float, rng: np.random.Generator
) -> list[int]:
    """Both lists in their own orders, mixed so that each place is chance's with this share."""
    coins = rng.random(len(ranked) + len(chance)) < share
    first, second, merged = iter(ranked), iter(chance), []
    for coin in coins:
        mine, other = (second, first) if coin else (first, second)
        found = next(mine, None)
        merged.append(next(other) if found is None else found)
    return merged


def _candidates(session: Session, wish: Selection) -> list[int]:
    query = select(Triple.id).where(Triple.id.not_in(select(Gold.triple_id))).order_by(Triple.id)
    if wish.source is not None:
        query = query.where(Triple.source == wish.source)
    if wish.kind is not None:
        query = query.where(Triple.kind == wish.kind)
    if wish.score_from is not None or wish.score_to is not None:
        run = runs.newest(session, "critic", wish.run)
        low, high = wish.score_from or 0.0, 1.0 if wish.score_to is None else wish.score_to
        query = query.join(Score, Score.triple_id == Triple.id).where(
            Score.run_id == run.id, Score.value.between(low, high)
        )
    if wish.votes == "none":
        query = query.where(Triple.id.not_in(select(BatchItem.triple_id)))
    found = list(session.scalars(query))
    if wish.votes == "split":
        split = _disagreement(session)
        found = [triple_id for triple_id in found if split.get(triple_id, 0.0) > 0]
    return found


def _sample(
    session: Session, free: Sequence[int], wish: Selection, rng: np.random.Generator
) -> list[int]:
    if wish.size is not None and wish.size < 1:
        raise UserError(f"a batch of {wish.size} triples is none", hint="use 1 or more")
    order = [free[i] for i in rng.permutation(len(free))]
    if wish.size is None or wish.stratify is None:
        return order[: wish.size]
    strata = _strata(session, wish.stratify, wish.run)
    seats: dict[object, list[int]] = {}
    for triple_id in order:
        seats.setdefault(strata.get(triple_id), []).append(triple_id)
    # One of each in turn, until there are enough: small strata give all they have.
    drawn: list[int] = []
    for turn in range(max(map(len, seats.values()), default=0)):
        drawn += [members[turn] for members in seats.values() if turn < len(members)]
        if len(drawn) >= wish.size:
            break
    return drawn[: wish.size]


def _strata(session: Session, by: Strata, run_name: str | None) -> dict[int, object]:
    if by == "score":
        run = runs.newest(session, "critic", run_name)
        scores = session.execute(select(Score.triple_id, Score.value).where(Score.run_id == run.id))
        return {t: min(int(value * _BANDS), _BANDS - 1) for t, value in scores}
    column = Triple.source if by == "source" else Triple.kind
    return {row[0]: row[1] for row in session.execute(select(Triple.id, column))}


def _urgency(
    session: Session, ordering: Order, triple_ids: Sequence[int], run_name: str | None
) -> dict[int, float]:
    """How much a vote is needed, by triple: the more, the earlier."""
    if ordering == "random":
        return {}
    if ordering == "disagreed":
        return _disagreement(session)
    run = runs.newest(session, "critic", run_name)
    rows = session.execute(select(Score.triple_id, Score.value).where(Score.run_id == run.id))
    wanted = set(triple_ids)
    return {t: 1 - abs(2 * value - 1) for t, value in rows if t in wanted}


def _disagreement(session: Session) -> dict[int, float]:
    """How split the votes are: 0 for one opinion, 1 for two halves."""
    accepts = func.sum(case((Vote.decision == "accept", 1), else_=0))
    rows = session.execute(
        select(Vote.triple_id, accepts, func.count())
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
        .group_by(Vote.triple_id)
    ).all()
    counts: NDArray[np.float64] = np.array([(a, n) for _, a, n in rows], dtype=float).reshape(-1, 2)
    shares = 2 * np.minimum(counts[:, 0], counts[:, 1] - counts[:, 0]) / counts[:, 1]
    return {row[0]: float(share) for row, share in zip(rows, shares, strict=True)}
