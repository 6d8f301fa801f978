"""Reliability of annotators: confusion against known answers, and drift over time.

A vote is compared with what is known about its triple (gold or an adjudication) and with the
majority of the other people's votes on it. Every share has its 95 % interval.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.crowd.rates import Rate
from db.schema import Adjudication, Gold, Person, Vote
from db.store import queries

BLOCK_VOTES = 50
"""Votes of a person in a point of their drift."""
_WEEK_MS = 7 * 24 * 3_600_000
_MONDAY_MS = 4 * 24 * 3_600_000
"""1970 began on a Thursday: the first Monday, in milliseconds."""

Known = Literal["gold", "adjudication"]


@dataclass(frozen=True, slots=True)
class ConfusionRow:
    """How often a person accepts what should be accepted, and rejects what should be rejected."""

    id: int
    name: str
    against: Known
    accuracy: Rate
    accepts: Rate
    """Sensitivity: accepted, of triples that should be accepted."""
    rejects: Rate
    """Specificity: rejected, of triples that should be rejected."""


@dataclass(frozen=True, slots=True)
class DriftPoint:
    """Accuracy on known answers and agreement with the others in a stretch of votes."""

    start: int
    """Time of the first vote or start of the week."""
    votes: int
    accuracy: Rate
    agreement: Rate


@dataclass(frozen=True, slots=True)
class Drift:
    """The points of a person, each `BLOCK_VOTES` votes, or of everybody, each a week."""

    id: int | None
    """None: of everybody."""
    name: str
    points: list[DriftPoint]


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confusion and drift of everybody who voted; those with the most votes first."""

    confusion: list[ConfusionRow]
    drift: list[Drift]


@dataclass(frozen=True, slots=True)
class _Vote:
    triple: int
    person: int
    batch: int | None
    accept: bool
    created: int


def reliability(session: Session, batch_id: int | None, *, simulated: bool) -> Reliability:
    """The reliability of those who voted in a batch, or anywhere; agreement is over all votes."""
    votes = _fetch_votes(session, simulated=simulated)
    accepts = _accepts_by_triple(votes)
    if batch_id is not None:
        votes = [vote for vote in votes if vote.batch == batch_id]
    known = _known_answers(session)
    names = {row.id: row.name for row in session.execute(select(Person.id, Person.name))}
    by_person: defaultdict[int, list[_Vote]] = defaultdict(list)
    for vote in votes:
        by_person[vote.person].append(vote)
    people = sorted(by_person, key=lambda person: (-len(by_person[person]), names[person]))
    answers = {**known["gold"], **known["adjudication"]}

    def point(own: Sequence[_Vote], start: int) -> DriftPoint:
        return DriftPoint(start, len(own), _accuracy(own, answers), _agreement(own, accepts))

    drift = [Drift(None, "", [point(own, start) for start, own in _weeks(votes)])] if votes else []
    drift += [
        Drift(person, names[person], [point(own, own[0].created) for own in blocks])
        for person in people
        if (blocks := _blocks(by_person[person]))
    ]
    confusion = [
        row
        for person in people
        for against, decisions in known.items()
        if (row := _confusion(person, names[person], against, by_person[person], decisions))
    ]
    return Reliability(confusion, drift)


def _fetch_votes(session: Session, *, simulated: bool) -> list[_Vote]:
    """Standing votes that are no skips, oldest first."""
    columns = Vote.triple_id, Vote.person_id, Vote.batch_id, Vote.decision, Vote.created
    query = queries.standing_votes(*columns, simulated=simulated)
    return [
        _Vote(triple, person, batch, decision == "accept", created)
        for triple, person, batch, decision, created in session.execute(
            query.where(Vote.decision != "skip").order_by(Vote.id)
        )
    ]


def _known_answers(session: Session) -> dict[Known, dict[int, bool]]:
    """Whether each triple should be accepted, by what says so."""
    gold = session.execute(select(Gold.triple_id, Gold.decision))
    adjudicated = session.execute(
        select(Adjudication.triple_id, Adjudication.decision).where(
            Adjudication.withdrawn.is_(None)
        )
    )
    return {
        "gold": {triple: decision == "accept" for triple, decision in gold},
        "adjudication": {triple: decision == "accept" for triple, decision in adjudicated},
    }


def _accepts_by_triple(votes: Sequence[_Vote]) -> dict[int, tuple[int, int]]:
    """The number of votes to accept, and of all votes, by triple."""
    total = Counter(vote.triple for vote in votes)
    accepts = Counter(vote.triple for vote in votes if vote.accept)
    return {triple: (accepts[triple], n) for triple, n in total.items()}


def _accuracy(votes: Sequence[_Vote], answers: Mapping[int, bool]) -> Rate:
    judged = [vote for vote in votes if vote.triple in answers]
    return Rate.of(sum(vote.accept == answers[vote.triple] for vote in judged), len(judged))


def _agreement(votes: Sequence[_Vote], accepts: Mapping[int, tuple[int, int]]) -> Rate:
    """Agreement with the majority of the others' votes; a tie of theirs is left out."""
    agrees = judged = 0
    for vote in votes:
        n_accepts, n_votes = accepts[vote.triple]
        margin = 2 * (n_accepts - vote.accept) - (n_votes - 1)
        if margin:
            judged += 1
            agrees += (margin > 0) == vote.accept
    return Rate.of(agrees, judged)


def _weeks(votes: Sequence[_Vote]) -> list[tuple[int, list[_Vote]]]:
    """Votes by the week, which begins on Monday in UTC."""
    weeks: defaultdict[int, list[_Vote]] = defaultdict(list)
    for vote in votes:
        weeks[(vote.created - _MONDAY_MS) // _WEEK_MS].append(vote)
    return [(week * _WEEK_MS + _MONDAY_MS, weeks[week]) for week in sorted(weeks)]


def _blocks(votes: Sequence[_Vote]) -> list[Sequence[_Vote]]:
    """Votes in blocks; a last one of less than half a block belongs to the one before it."""
    blocks = [votes[i : i + BLOCK_VOTES] for i in range(0, len(votes), BLOCK_VOTES)]
    if len(blocks) > 1 and 2 * len(blocks[-1]) < BLOCK_VOTES:
        last = blocks.pop()
        blocks[-1] = [*blocks[-1], *last]
    return blocks


def _confusion(
    person: int, name: str, against: Known, votes: Sequence[_Vote], answers: Mapping[int, bool]
) -> ConfusionRow | None:
    """A person's row; None if they have judged no triple with a known answer."""

    def rate(matches: Callable[[bool], bool]) -> Rate:
        judged = [v for v in votes if v.triple in answers and matches(answers[v.triple])]
        return Rate.of(sum(v.accept == answers[v.triple] for v in judged), len(judged))

    accuracy = rate(lambda _: True)
    if not accuracy.judged:
        return None
    accepts, rejects = rate(lambda answer: answer), rate(lambda answer: not answer)
    return ConfusionRow(person, name, against, accuracy, accepts, rejects)
