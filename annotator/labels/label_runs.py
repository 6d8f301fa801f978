"""Label runs: aggregate the store's votes, and store the labels for critics to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotator.labels import aggregation
from annotator.labels.aggregation import Probabilities, VoteTable
from annotator.labels.method_choice import choose_method
from annotator.labels.settings import METHODS, LabelSettings, Method
from db.labelling.labels import known_judgements, part_labels
from db.schema import Decision, Person, Reason, Run, Score, StoredLabel, Vote
from db.store import keys, runs
from db.store.results import to_json
from db.store.session import Store
from regions.errors import ConflictError, InvalidError

_TIE = 0.5
_TIE_WIDTH = 1e-6


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """Results of a label run: the method, which `auto` has chosen, and what came out."""

    method: Method
    triples: int
    votes: int
    accepted: int
    annotator_accuracy: Mapping[str, float]
    """By name, where the method estimates it."""


class _VoteRow(NamedTuple):
    triple_id: int
    person_id: int
    decision: Decision
    reasons: list[Reason]


def make_labels(store: Store, settings: LabelSettings) -> Run:
    """Aggregate the votes of every triple and store the labels as a run of kind `labels`.

    Triples with a probability of 0.5 get no label. ConflictError without votes; InvalidError for an
    unknown method; NotFoundError if the critic's scores do not exist.
    """
    if settings.method not in METHODS:
        raise InvalidError(f"no method {settings.method!r}", hint=f"use {', '.join(METHODS)}")
    with store.write() as session:
        rows = _fetch_votes(session, simulated=settings.simulated)
        if not rows:
            raise ConflictError("there are no votes to aggregate", hint="label some triples first")
        known = {
            triple: decision == "accept"
            for triple, (decision, _) in known_judgements(session).items()
        }
        votes, triple_ids, person_ids = _vote_table(rows, known)
        scores = None
        if settings.method == "with_critic":
            critic = runs.newest(session, "critic", settings.critic or None)
            settings = replace(settings, critic=critic.name)
            scores = _critic_scores(session, critic.id, triple_ids)
        method = choose_method(votes) if settings.method == "auto" else settings.method
        accept, accuracy = _aggregate(votes, method, scores)
        run = runs.start(
            session,
            "labels",
            settings=asdict(settings),
            fingerprint=keys.fingerprint(tuple(row) for row in rows),
            simulated=settings.simulated,
        )
        labels = _label_rows(run.id, rows, triple_ids, accept)
        if labels:
            session.execute(insert(StoredLabel), labels)
        summary = LabelSummary(
            method=method,
            triples=len(labels),
            votes=len(rows),
            accepted=sum(label["accept"] > _TIE for label in labels),
            annotator_accuracy=_by_name(session, person_ids, accuracy),
        )
        runs.finish(session, run.id, to_json(summary))
    return run


def _aggregate(
    votes: VoteTable, method: Method, scores: Probabilities | None
) -> tuple[Probabilities, Probabilities | None]:
    """Probabilities of acceptance, and each person's accuracy where the method estimates it."""
    if method == "majority":
        return aggregation.majority(votes), None
    if scores is not None:
        result = aggregation.with_critic(votes, scores)
    else:
        methods = {
            "weighted": aggregation.weighted,
            "dawid_skene": aggregation.dawid_skene,
            "one_coin": aggregation.one_coin,
        }
        result = methods[method](votes)
    return result.accept, (result.sensitivity + result.specificity) / 2


def _fetch_votes(session: Session, *, simulated: bool) -> list[_VoteRow]:
    """Standing votes other than skips, by triple and person.

    Unknown people of one label file count as one person: nobody is known to have voted twice.
    """
    query = (
        select(Vote.triple_id, Vote.person_id, Vote.decision, Vote.reasons)
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
        .order_by(Vote.triple_id, Vote.person_id)
    )
    if not simulated:
        query = query.join(Person, Person.id == Vote.person_id).where(~Person.simulated)
    pooled = _unknown_people(session)
    return [
        _VoteRow(triple, pooled.get(person, person), decision, reasons)
        for triple, person, decision, reasons in session.execute(query)
    ]


def _unknown_people(session: Session) -> dict[int, int]:
    """Return the first unknown person of the same label file by the id of each."""
    first: dict[str, int] = {}
    pooled: dict[int, int] = {}
    query = select(Person.id, Person.name).where(Person.anonymous).order_by(Person.id)
    for person_id, name in session.execute(query):
        label_file = name.rpartition(" worker ")[0] or name
        pooled[person_id] = first.setdefault(label_file, person_id)
    return pooled


def _vote_table(
    rows: Sequence[_VoteRow], known: Mapping[int, bool]
) -> tuple[VoteTable, list[int], list[int]]:
    """Votes with triples and people as indices, and the ids of triples and people by index."""
    triple_ids, triple = np.unique([row.triple_id for row in rows], return_inverse=True)
    person_ids, person = np.unique([row.person_id for row in rows], return_inverse=True)
    index = {int(id_): i for i, id_ in enumerate(triple_ids)}
    votes = VoteTable(
        triple,
        person,
        np.array([row.decision == "accept" for row in rows]),
        len(triple_ids),
        len(person_ids),
        {index[id_]: accept for id_, accept in known.items() if id_ in index},
    )
    return votes, triple_ids.tolist(), person_ids.tolist()


def _critic_scores(session: Session, run_id: int, triple_ids: Sequence[int]) -> Probabilities:
    """A critic's scores, nan where it has none, shape (len(triple_ids),)."""
    query = select(Score.triple_id, Score.value).where(Score.run_id == run_id)
    scores = dict(session.execute(query).all())
    return np.array([scores.get(id_, np.nan) for id_ in triple_ids], dtype=float)


def _by_name(
    session: Session, person_ids: Sequence[int], accuracy: Probabilities | None
) -> dict[str, float]:
    if accuracy is None:
        return {}
    names = dict(session.execute(select(Person.id, Person.name)).all())
    return {
        names[id_]: round(float(value), 4) for id_, value in zip(person_ids, accuracy, strict=True)
    }


def _label_rows(
    run_id: int, rows: Sequence[_VoteRow], triple_ids: Sequence[int], accept: Probabilities
) -> list[dict[str, Any]]:
    by_triple: dict[int, list[tuple[Decision, list[Reason]]]] = {}
    for row in rows:
        by_triple.setdefault(row.triple_id, []).append((row.decision, row.reasons))
    labels = []
    for id_, probability in zip(triple_ids, accept, strict=True):
        if abs(probability - _TIE) < _TIE_WIDTH:
            continue
        qa, rationale = part_labels(by_triple[id_])
        labels.append(
            {
                "run_id": run_id,
                "triple_id": id_,
                "accept": float(probability),
                "votes": len(by_triple[id_]),
                "qa": qa,
                "rationale": rationale,
            }
        )
    return labels
