"""What votes add up to: the majority of a triple's standing votes, and the critic's extra targets.

Accept is 1. Skips are no votes. A tie is no label. Where the truth is known, because a researcher
adjudicated the triple or stated it as gold, it counts and not the votes.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.schema import Adjudication, Decision, Gold, Person, Reason, Run, StoredLabel, Vote
from db.store import queries


@dataclass(frozen=True, slots=True)
class Label:
    """What people say of a triple, and of its parts where they judged those."""

    triple_id: int
    accept: bool
    votes: int
    accepts: int
    qa: bool | None
    rationale: bool | None


def part_targets(
    decision: Decision, reasons: Collection[Reason]
) -> tuple[bool | None, bool | None]:
    """Whether one vote finds question-and-answer, and the rationale, good; None where it is silent.

    A rejection for the rationale alone keeps the question and answer good.

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


def _majority(judgements: Iterable[bool | None]) -> bool | None:
    counts = Counter(j for j in judgements if j is not None)
    return None if counts[True] == counts[False] else counts[True] > counts[False]


def majority(triple_id: int, votes: Sequence[tuple[Decision, Collection[Reason]]]) -> Label | None:
    """The label of one triple from its standing votes; None without votes or on a tie."""
    judged = [vote for vote in votes if vote[0] != "skip"]
    accept = _majority(decision == "accept" for decision, _ in judged)
    if accept is None:
        return None
    qa, rationale = part_labels(judged)
    return Label(
        triple_id,
        accept=accept,
        votes=len(judged),
        accepts=sum(decision == "accept" for decision, _ in judged),
        qa=qa,
        rationale=rationale,
    )


def part_labels(
    votes: Sequence[tuple[Decision, Collection[Reason]]],
) -> tuple[bool | None, bool | None]:
    """What most votes say of question-and-answer and of the rationale; None on a tie or silence."""
    found = [part_targets(*vote) for vote in votes]
    return _majority(qa for qa, _ in found), _majority(rationale for _, rationale in found)


def stored_labels(session: Session, name: str) -> tuple[dict[int, Label], bool]:
    """The labels that an aggregation's run made, by triple, and whether simulated votes count.

    UserError where there is no such run.
    """
    run = queries.by_name(
        session,
        Run,
        name,
        Run.kind == "labels",
        noun="labels",
        hint="make some with `lskd labels make`",
    )
    rows = session.scalars(select(StoredLabel).where(StoredLabel.run_id == run.id))
    found = {
        row.triple_id: Label(
            row.triple_id,
            accept=row.accept > 0.5,  # noqa: PLR2004 - a half is no label
            votes=row.votes,
            accepts=round(row.accept * row.votes),
            qa=row.qa,
            rationale=row.rationale,
        )
        for row in rows
    }
    return found, run.simulated


def majority_labels(
    session: Session,
    *,
    simulated: bool = False,
    triple_ids: Collection[int] | Select[Any] | None = None,
) -> dict[int, Label]:
    """The majority of every voted triple, by id; simulated annotators' votes count only if told.

    `triple_ids` are those that are wanted, or a query for them; None: all.
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
    votes: defaultdict[int, list[tuple[Decision, list[Reason]]]] = defaultdict(list)
    for triple_id, decision, reasons in session.execute(query):
        votes[triple_id].append((decision, reasons))
    found = (majority(triple_id, cast) for triple_id, cast in votes.items())
    labelled = {label.triple_id: label for label in found if label is not None}
    for triple_id, (decision, reasons) in known_judgements(session).items():
        if triple_id in votes:
            cast = [vote for vote, _ in votes[triple_id] if vote != "skip"]
            accepts = sum(vote == "accept" for vote in cast)
            qa, rationale = part_targets(decision, reasons)
            labelled[triple_id] = Label(
                triple_id,
                accept=decision == "accept",
                votes=len(cast),
                accepts=accepts,
                qa=qa,
                rationale=rationale,
            )
    return labelled


def known_judgements(session: Session) -> dict[int, tuple[Decision, list[Reason]]]:
    """The judgements that are known to be right: gold, and above it what was adjudicated."""
    gold = session.execute(select(Gold.triple_id, Gold.decision, Gold.reasons))
    found = {row[0]: (row[1], row[2]) for row in gold}
    last = select(Adjudication.triple_id, Adjudication.decision, Adjudication.reasons)
    for row in session.execute(last.where(Adjudication.withdrawn.is_(None))):
        found[row[0]] = row[1], row[2]
    return found
