"""Labels from votes: the majority of a triple's votes, and targets for its parts.

Accept is 1. Skips do not count, and a tie gives no label. Where a researcher has adjudicated the
triple or set it as gold, that decision counts instead of the votes.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.schema import Adjudication, Decision, Gold, Person, Reason, Run, StoredLabel, Vote
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
    return Label(
        triple_id,
        accept=accept,
        votes=len(cast),
        accepts=sum(decision == "accept" for decision, _ in cast),
        qa=qa,
        rationale=rationale,
    )


def part_labels(votes: Sequence[CastVote]) -> tuple[bool | None, bool | None]:
    """Return the majority for question and answer, and for the rationale; None on a tie."""
    targets = [part_targets(*vote) for vote in votes]
    return _majority(qa for qa, _ in targets), _majority(rationale for _, rationale in targets)


def stored_labels(session: Session, name: str) -> tuple[dict[int, Label], bool]:
    """Return the labels of an aggregation run by triple id, and whether simulated votes count."""
    run = queries.by_name(
        session,
        Run,
        name,
        Run.kind == "labels",
        noun="labels",
        hint="make some with `lskd labels make`",
    )
    rows = session.scalars(select(StoredLabel).where(StoredLabel.run_id == run.id))
    labels = {
        row.triple_id: Label(
            row.triple_id,
            accept=row.accept > 0.5,  # noqa: PLR2004 - a probability
            votes=row.votes,
            accepts=round(row.accept * row.votes),
            qa=row.qa,
            rationale=row.rationale,
        )
        for row in rows
    }
    return labels, run.simulated


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
    query = (
        select(Vote.triple_id, Vote.decision, Vote.reasons)
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.withdrawn.is_(None))
        .order_by(Vote.triple_id)
    )
    if not simulated:
        query = query.where(~Person.simulated)
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


def _known_label(triple_id: int, judgement: CastVote, votes: Sequence[CastVote]) -> Label:
    decision, reasons = judgement
    cast = [vote for vote, _ in votes if vote != "skip"]
    qa, rationale = part_targets(decision, reasons)
    return Label(
        triple_id,
        accept=decision == "accept",
        votes=len(cast),
        accepts=sum(vote == "accept" for vote in cast),
        qa=qa,
        rationale=rationale,
    )


def _majority(values: Iterable[bool | None]) -> bool | None:
    counts = Counter(value for value in values if value is not None)
    return None if counts[True] == counts[False] else counts[True] > counts[False]
