"""Labels from votes: the majority of a triple's votes, and targets for its parts.

Accept is 1. Skips do not count, and a tie gives no label. Where a researcher has adjudicated the
triple or set it as gold, that decision counts instead of the votes.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.schema import (
    Adjudication,
    Decision,
    Gold,
    Reason,
    Release,
    ReleaseTriple,
    Run,
    StoredLabel,
    Vote,
)
from db.store import queries

CastVote = tuple[Decision, Collection[Reason]]
"""A vote's decision and its reasons."""


@dataclass(frozen=True, slots=True)
class Label:
    """The label of a triple, and of its parts where they were judged."""

    triple_id: int
    accept: bool
    votes: int
    """Number of votes, skips excluded."""
    accepts: int
    """Number of votes to accept."""
    qa: bool | None
    """Whether question and answer are acceptable; None if unknown."""
    rationale: bool | None
    """Whether the rationale is acceptable; None if unknown."""
    probability: float
    """Of acceptance; of majority votes, the share of those who accept."""
    low: float
    """Lower bound of the 95 % interval of `probability`."""
    high: float
    """Upper bound."""


@cache
def share_interval(accepts: int, votes: int) -> tuple[float, float]:
    """Jeffreys' 95 % interval of the share of people who accept, of which `votes` were asked.

    It is the central part of the posterior from the prior Beta(1/2, 1/2), except that it begins at
    0 where nobody accepts and ends at 1 where everybody does (Brown, Cai and DasGupta 2001).

    >>> share_interval(0, 0), [round(bound, 3) for bound in share_interval(2, 3)]
    ((0.0, 1.0), [0.177, 0.961])
    """
    from scipy.special import betaincinv

    low, high = betaincinv(accepts + 0.5, votes - accepts + 0.5, [0.025, 0.975])
    return float(low) if accepts else 0.0, float(high) if accepts < votes else 1.0


def part_targets(
    decision: Decision, reasons: Collection[Reason]
) -> tuple[bool | None, bool | None]:
    """Return whether a vote accepts question and answer, and the rationale; None if unknown.

    A rejection for the rationale alone accepts question and answer.

    >>> part_targets("reject", ["unsupported"])
    (True, False)
    >>> part_targets("reject", ["wrong_answer"])
    (False, None)
    >>> part_targets("reject", [])
    (None, None)
    """
    if decision == "accept":
        return True, True
    if decision == "skip" or not reasons:
        return None, None
    only_rationale = set(reasons) == {"unsupported"}
    return only_rationale, False if "unsupported" in reasons else None


def majority(triple_id: int, votes: Sequence[CastVote]) -> Label | None:
    """Return the label of a triple by majority; None without votes or on a tie."""
    cast = [vote for vote in votes if vote[0] != "skip"]
    accept = _majority(decision == "accept" for decision, _ in cast)
    if accept is None:
        return None
    qa, rationale = part_labels(cast)
    accepts = sum(decision == "accept" for decision, _ in cast)
    low, high = share_interval(accepts, len(cast))
    return Label(
        triple_id,
        accept=accept,
        votes=len(cast),
        accepts=accepts,
        qa=qa,
        rationale=rationale,
        probability=accepts / len(cast),
        low=low,
        high=high,
    )


def part_labels(votes: Sequence[CastVote]) -> tuple[bool | None, bool | None]:
    """Return the majority for question and answer, and for the rationale; None on a tie."""
    targets = [part_targets(*vote) for vote in votes]
    return _majority(qa for qa, _ in targets), _majority(rationale for _, rationale in targets)


def stored_labels(
    session: Session, name: str, *, after: int = 0, limit: int | None = None
) -> tuple[dict[int, Label], bool]:
    """Return the labels of an aggregation run by triple id, and whether simulated votes count.

    Of triples with an id above `after` in the order of their ids, at most `limit`.
    """
    run = queries.by_name(
        session,
        Run,
        name,
        Run.kind == "labels",
        noun="labels",
        hint="make some with `lskd labels make`",
    )
    query = select(StoredLabel).where(StoredLabel.run_id == run.id, StoredLabel.triple_id > after)
    rows = session.scalars(query.order_by(StoredLabel.triple_id).limit(limit))
    return {row.triple_id: _stored_label(row) for row in rows}, run.simulated


def load_labels(
    session: Session,
    settings: Mapping[str, Any],
    *,
    simulated: bool,
    triple_ids: Select[Any] | None = None,
) -> tuple[dict[int, Label], bool]:
    """Labels by triple, and whether votes of simulated annotators are among them.

    Labels are those of the run `settings["labels"]`, or majority votes where it is empty.
    `triple_ids` is a query that restricts majority votes to some triples.
    """
    if name := settings.get("labels"):
        return stored_labels(session, name)
    return majority_labels(session, simulated=simulated, triple_ids=triple_ids), simulated


def release_labels(session: Session, release: Release) -> dict[int, Label]:
    """Return the labels of a release's triples, where votes gave one, by triple id.

    They are those that the release's critic was trained on.
    """
    run = session.get_one(Run, release.run_id)
    kept = select(ReleaseTriple.triple_id).where(ReleaseTriple.release_id == release.id)
    labels, _ = load_labels(session, run.settings, simulated=run.simulated, triple_ids=kept)
    ids = set(session.scalars(kept)) if run.settings.get("labels") else labels.keys()
    return {id_: label for id_, label in labels.items() if id_ in ids}


def majority_labels(
    session: Session,
    *,
    simulated: bool = False,
    triple_ids: Collection[int] | Select[Any] | None = None,
) -> dict[int, Label]:
    """Return the majority labels of all triples with votes, by triple id.

    With `simulated`, votes of simulated annotators count too. `triple_ids` selects triples, as ids
    or a query for them; None selects all.
    """
    columns = Vote.triple_id, Vote.decision, Vote.reasons
    query = queries.standing_votes(*columns, simulated=simulated).order_by(Vote.triple_id)
    if triple_ids is not None:
        query = query.where(Vote.triple_id.in_(triple_ids))
    votes: defaultdict[int, list[CastVote]] = defaultdict(list)
    for triple_id, decision, reasons in session.execute(query):
        votes[triple_id].append((decision, reasons))
    by_majority = (majority(triple_id, cast) for triple_id, cast in votes.items())
    labels = {label.triple_id: label for label in by_majority if label is not None}
    for triple_id, judgement in known_judgements(session).items():
        if triple_id in votes:
            labels[triple_id] = _known_label(triple_id, judgement, votes[triple_id])
    return labels


def known_judgements(session: Session) -> dict[int, tuple[Decision, list[Reason]]]:
    """Return the decisions of gold, overridden by those of adjudication, by triple id."""
    gold = session.execute(select(Gold.triple_id, Gold.decision, Gold.reasons))
    judgements = {row[0]: (row[1], row[2]) for row in gold}
    query = select(Adjudication.triple_id, Adjudication.decision, Adjudication.reasons)
    for row in session.execute(query.where(Adjudication.withdrawn.is_(None))):
        judgements[row[0]] = row[1], row[2]
    return judgements


def _stored_label(row: StoredLabel) -> Label:
    return Label(
        row.triple_id,
        accept=row.accept > 0.5,  # noqa: PLR2004 - a probability
        votes=row.votes,
        accepts=round(row.accept * row.votes),
        qa=row.qa,
        rationale=row.rationale,
        probability=row.accept,
        low=row.accept if row.low is None else row.low,
        high=row.accept if row.high is None else row.high,
    )


def _known_label(triple_id: int, judgement: CastVote, votes: Sequence[CastVote]) -> Label:
    decision, reasons = judgement
    cast = [vote for vote, _ in votes if vote != "skip"]
    qa, rationale = part_targets(decision, reasons)
    known = float(decision == "accept")
    return Label(
        triple_id,
        accept=decision == "accept",
        votes=len(cast),
        accepts=sum(vote == "accept" for vote in cast),
        qa=qa,
        rationale=rationale,
        probability=known,
        low=known,
        high=known,
    )


def _majority(values: Iterable[bool | None]) -> bool | None:
    counts = Counter(value for value in values if value is not None)
    return None if counts[True] == counts[False] else counts[True] > counts[False]
