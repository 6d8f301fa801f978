"""Label runs: aggregate the store's votes, and store the labels for critics to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotator.labels import methods
from annotator.labels.aggregation import TIE, Probabilities, has_label
from annotator.labels.posterior import Posterior, posterior
from annotator.labels.settings import METHODS, FixedMethod, LabelSettings
from annotator.labels.vote_tables import (
    VoteRow,
    critic_scores,
    fetch_votes,
    known_answers,
    vote_table,
)
from db.labelling.labels import part_labels
from db.schema import Decision, Person, Reason, Run, StoredLabel
from db.store import keys, runs
from db.store.results import to_json
from db.store.session import Store
from regions.errors import InvalidError


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """Results of a label run: the method, which `auto` has chosen, and what came out."""

    method: FixedMethod
    triples: int
    votes: int
    accepted: int
    undecided: int
    """Labels whose 95 % interval contains 0.5."""
    mean_width: float
    """Of the intervals."""
    annotator_accuracy: Mapping[str, float]
    """By name, where the method estimates it."""


def make_labels(store: Store, settings: LabelSettings) -> Run:
    """Aggregate the votes of every triple and store the labels as a run of kind `labels`.

    Triples with a probability of 0.5 get no label. ConflictError without votes; InvalidError for an
    unknown method; NotFoundError if the critic's scores do not exist.
    """
    if settings.method not in METHODS:
        raise InvalidError(f"no method {settings.method!r}", hint=f"use {', '.join(METHODS)}")
    with store.read() as session:
        rows = fetch_votes(session, simulated=settings.simulated)
        votes, triple_ids, person_ids = vote_table(rows, known_answers(session))
        scores = None
        if settings.method == "with_critic":
            critic = runs.newest(session, "critic", settings.critic or None)
            settings = replace(settings, critic=critic.name)
            scores = critic_scores(session, critic.id, triple_ids)
    # Without a transaction, because this may take minutes.
    method = methods.resolve(votes, settings.method)
    result = posterior(votes, method, scores)
    with store.write() as session:
        run = runs.start(
            session,
            "labels",
            settings=asdict(settings),
            fingerprint=keys.fingerprint(tuple(row) for row in rows),
            simulated=settings.simulated,
        )
        labels = _label_rows(run.id, rows, triple_ids, result)
        if labels:
            session.execute(insert(StoredLabel), labels)
        summary = LabelSummary(
            method=method,
            triples=len(labels),
            votes=len(rows),
            accepted=sum(label["accept"] > TIE for label in labels),
            undecided=sum(label["low"] < TIE < label["high"] for label in labels),
            mean_width=float(np.mean([label["high"] - label["low"] for label in labels] or [0.0])),
            annotator_accuracy=_by_name(session, person_ids, result.accuracy),
        )
        runs.finish(session, run.id, to_json(summary))
    return run


def _by_name(
    session: Session, person_ids: Sequence[int], accuracy: Probabilities
) -> dict[str, float]:
    """Accuracies by name, without those that are nan."""
    names = dict(session.execute(select(Person.id, Person.name)).all())
    return {
        names[id_]: round(float(value), 4)
        for id_, value in zip(person_ids, accuracy, strict=True)
        if np.isfinite(value)
    }


def _label_rows(
    run_id: int, rows: Sequence[VoteRow], triple_ids: Sequence[int], result: Posterior
) -> list[dict[str, Any]]:
    by_triple: dict[int, list[tuple[Decision, list[Reason]]]] = {}
    for row in rows:
        by_triple.setdefault(row.triple_id, []).append((row.decision, row.reasons))
    labels = []
    for i in np.flatnonzero(has_label(result.accept)).tolist():
        id_ = triple_ids[i]
        qa, rationale = part_labels(by_triple[id_])
        labels.append(
            {
                "run_id": run_id,
                "triple_id": id_,
                "accept": float(result.accept[i]),
                "low": float(result.low[i]),
                "high": float(result.high[i]),
                "votes": len(by_triple[id_]),
                "qa": qa,
                "rationale": rationale,
            }
        )
    return labels
