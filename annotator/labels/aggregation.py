"""What votes add up to: the probability that a triple should be accepted, by five methods.

Votes are arrays of equal length: the triple (0 ..), the person (0 ..), and whether they accept.
`benchmarks/aggregation.py` says how many votes each method needs; the default needs fewest
without a critic.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotator.labels.settings import METHODS, LabelSettings
from db.labelling.labels import known_judgements, part_labels
from db.schema import Decision, Person, Reason, Run, Score, StoredLabel, Vote
from db.store import keys, runs
from db.store.session import Store
from regions.errors import ConflictError, InvalidError

Probabilities = NDArray[np.float64]
Indices = NDArray[np.int64]

MAX_ITER = 200
TOL = 1e-6
"""EM ends when no probability moves by more."""

PRIOR_CORRECT, PRIOR_WRONG = 4.0, 1.0
"""Votes that each person is thought to have cast before: most people are right more often."""

EPS = 1e-6


@dataclass(frozen=True)
class VoteTable:
    """Votes on `triples` triples by `people` people; `truth` is what is known, by triple."""

    triple: Indices
    person: Indices
    accept: NDArray[np.bool_]
    n_triples: int
    n_people: int
    known: Mapping[int, bool]


@dataclass(frozen=True)
class Aggregation:
    """Probabilities of acceptance, shape (triples,), and how good each person is, (people,)."""

    accept: Probabilities
    sensitivity: Probabilities
    """Probability of accepting what should be accepted."""
    specificity: Probabilities
    """Probability of rejecting what should be rejected."""


def majority(votes: VoteTable) -> Probabilities:
    """The share that accepts; a half where nobody voted or on a tie."""
    yes = np.bincount(votes.triple, votes.accept, votes.n_triples)
    all_ = np.bincount(votes.triple, minlength=votes.n_triples)
    return _with_truth(np.where(all_ > 0, yes / np.maximum(all_, 1), 0.5), votes)


def weighted(votes: VoteTable) -> Aggregation:
    """Votes weighted by the log-odds of each person's accuracy where the truth is known.

    Without any such triple everybody weighs the same.
    """
    at = np.array([t in votes.known for t in votes.triple], dtype=bool)
    truth = np.array([votes.known.get(int(t), False) for t in votes.triple], dtype=bool)
    right = np.bincount(votes.person[at], (votes.accept == truth)[at], votes.n_people)
    judged = np.bincount(votes.person[at], minlength=votes.n_people)
    accuracy = (right + PRIOR_CORRECT) / (judged + PRIOR_CORRECT + PRIOR_WRONG)
    return Aggregation(
        _posterior(votes, np.zeros(votes.n_triples), accuracy, accuracy), accuracy, accuracy
    )


def dawid_skene(votes: VoteTable) -> Aggregation:
    """Each person has two accuracies, found with the truth by EM (Dawid and Skene 1979)."""
    return _em(votes, None, one_coin=False)


def one_coin(votes: VoteTable) -> Aggregation:
    """As `dawid_skene`, with one accuracy a person: fewer votes are enough to find it."""
    return _em(votes, None, one_coin=True)


def with_critic(votes: VoteTable, scores: Probabilities) -> Aggregation:
    """As `one_coin`, where a triple is good beforehand with the critic's probability.

    `scores` has shape (triples,); where the critic has none it is NaN, and prevalence stands in.
    """
    return _em(votes, scores, one_coin=True)


def _em(votes: VoteTable, scores: Probabilities | None, *, one_coin: bool) -> Aggregation:
    accept = majority(votes)
    good = bad = np.full(votes.n_people, 0.5)
    for _ in range(MAX_ITER):
        # M: how often each person is right, by what the triples seem to be.
        yes = accept[votes.triple]
        said_good = np.bincount(votes.person, yes * votes.accept, votes.n_people)
        were_good = np.bincount(votes.person, yes, votes.n_people)
        said_bad = np.bincount(votes.person, (1 - yes) * ~votes.accept, votes.n_people)
        were_bad = np.bincount(votes.person, 1 - yes, votes.n_people)
        if one_coin:
            right, all_ = said_good + said_bad, were_good + were_bad
            good = bad = (right + PRIOR_CORRECT) / (all_ + PRIOR_CORRECT + PRIOR_WRONG)
        else:
            good = (said_good + PRIOR_CORRECT) / (were_good + PRIOR_CORRECT + PRIOR_WRONG)
            bad = (said_bad + PRIOR_CORRECT) / (were_bad + PRIOR_CORRECT + PRIOR_WRONG)
        # E: what the triples seem to be, by who said what.
        prevalence = float(np.clip(accept.mean(), EPS, 1 - EPS)) if len(accept) else 0.5
        prior = np.full(votes.n_triples, prevalence)
        if scores is not None:
            prior = np.where(np.isfinite(scores), np.clip(scores, 0.01, 0.99), prevalence)
        found = _posterior(votes, logit(prior), good, bad)
        moved = float(np.abs(found - accept).max(initial=0.0))
        accept = found
        if moved < TOL:
            break
    return Aggregation(accept, good, bad)


def _posterior(
    votes: VoteTable, prior: Probabilities, good: Probabilities, bad: Probabilities
) -> Probabilities:
    """Bayes' rule in log-odds: `prior` has shape (triples,), in log-odds too."""
    who = votes.person
    for_accept = np.log(good[who]) - np.log1p(-bad[who])
    for_reject = np.log1p(-good[who]) - np.log(bad[who])
    weights = np.where(votes.accept, for_accept, for_reject)
    odds = prior + np.bincount(votes.triple, weights, votes.n_triples)
    return _with_truth(expit(odds), votes)


def _with_truth(accept: Probabilities, votes: VoteTable) -> Probabilities:
    for triple, truth in votes.known.items():
        accept[triple] = float(truth)
    return accept


# ---- over the store


def make_labels(store: Store, settings: LabelSettings) -> Run:
    """Add up every triple's votes, and keep the labels as a run that critics can learn from.

    Triples that stay at a half have no label. UserError without votes, for a method nobody wrote,
    and for scores that are not there.
    """
    if settings.method not in METHODS:
        raise InvalidError(
            f"no method {settings.method!r}", hint=f"use one of {', '.join(METHODS)}"
        )
    with store.write() as session:
        cast = _fetch_votes(session, simulated=settings.simulated)
        if not cast:
            raise ConflictError("no votes to add up", hint="label some triples first")
        truth = {
            triple: said == "accept" for triple, (said, _) in known_judgements(session).items()
        }
        votes, ids, people = _vote_table(cast, truth)
        if settings.method == "with_critic":
            critic = runs.newest(session, "critic", settings.critic or None)
            settings = replace(settings, critic=critic.name)
            accept, accuracy = _aggregate(votes, settings, _scores(session, critic.id, ids))
        else:
            accept, accuracy = _aggregate(votes, settings, None)
        run = runs.start(
            session,
            "labels",
            settings=asdict(settings),
            fingerprint=keys.fingerprint(row[:4] for row in cast),
            simulated=settings.simulated,
        )
        rows = _label_rows(run.id, cast, ids, accept)
        if rows:
            session.execute(insert(StoredLabel), rows)
        names = dict(session.execute(select(Person.id, Person.name)).all())
        runs.finish(
            session,
            run.id,
            {
                "triples": len(rows),
                "votes": len(cast),
                "accepted": sum(row["accept"] > 0.5 for row in rows),  # noqa: PLR2004 - a half
                "people": {
                    names[person]: round(float(share), 4)
                    for person, share in zip(people, accuracy, strict=True)
                }
                if accuracy is not None
                else {},
            },
        )
    return run


_VoteRow = tuple[int, int, Decision, list[Reason]]


def _aggregate(
    votes: VoteTable, settings: LabelSettings, scores: Probabilities | None
) -> tuple[Probabilities, Probabilities | None]:
    if settings.method == "majority":
        return majority(votes), None
    if scores is not None:
        fit = with_critic(votes, scores)
    else:
        methods = {"weighted": weighted, "dawid_skene": dawid_skene, "one_coin": one_coin}
        fit = methods[settings.method](votes)
    return fit.accept, (fit.sensitivity + fit.specificity) / 2


def _fetch_votes(session: Session, *, simulated: bool) -> list[_VoteRow]:
    """Standing votes that judge, in the order of triples."""
    query = (
        select(Vote.triple_id, Vote.person_id, Vote.decision, Vote.reasons)
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
        .order_by(Vote.triple_id, Vote.person_id)
    )
    if not simulated:
        query = query.join(Person, Person.id == Vote.person_id).where(~Person.simulated)
    return [(row[0], row[1], row[2], row[3]) for row in session.execute(query)]


def _vote_table(
    cast: list[_VoteRow], truth: Mapping[int, bool]
) -> tuple[VoteTable, list[int], list[int]]:
    """Votes with triples and people counted from zero, and the ids that the numbers stand for."""
    ids, triple = np.unique([row[0] for row in cast], return_inverse=True)
    people, person = np.unique([row[1] for row in cast], return_inverse=True)
    place = {int(id_): i for i, id_ in enumerate(ids)}
    votes = VoteTable(
        triple,
        person,
        np.array([row[2] == "accept" for row in cast]),
        len(ids),
        len(people),
        {place[t]: accept for t, accept in truth.items() if t in place},
    )
    return votes, ids.tolist(), people.tolist()


def _scores(session: Session, run_id: int, ids: list[int]) -> Probabilities:
    found = dict(
        session.execute(select(Score.triple_id, Score.value).where(Score.run_id == run_id)).all()
    )
    return np.array([found.get(id_, np.nan) for id_ in ids], dtype=float)


def _label_rows(
    run_id: int, cast: list[_VoteRow], ids: list[int], accept: Probabilities
) -> list[dict[str, Any]]:
    by_triple: dict[int, list[tuple[Decision, list[Reason]]]] = {}
    for triple, _, decision, reasons in cast:
        by_triple.setdefault(triple, []).append((decision, reasons))
    rows = []
    for id_, share in zip(ids, accept, strict=True):
        if abs(share - 0.5) < EPS:
            continue
        qa, rationale = part_labels(by_triple[id_])
        rows.append(
            {
                "run_id": run_id,
                "triple_id": id_,
                "accept": float(share),
                "votes": len(by_triple[id_]),
                "qa": qa,
                "rationale": rationale,
            }
        )
    return rows
