"""Compare labels of the same votes: by label runs, and by methods."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.crowd.rates import Rate
from annotator.labels import methods
from annotator.labels.aggregation import TIE, Probabilities, VoteTable, has_label
from annotator.labels.posterior import posterior
from annotator.labels.settings import METHODS, FixedMethod, Method
from annotator.labels.vote_tables import critic_scores, fetch_votes, known_answers, vote_table
from annotator.statistics.agreement import cohen_kappa
from db.schema import Adjudication, Gold, Run, StoredLabel
from db.store import queries, runs
from db.store.results import UNDEFINED, Estimate
from db.store.session import Store

_FOLDS = 5
_DEFAULT_METHODS: tuple[FixedMethod, ...] = ("majority", "weighted", "dawid_skene", "one_coin")


@dataclass(frozen=True, slots=True)
class LabelRunRow:
    """A label run, and what came out."""

    run: str
    method: str
    simulated: bool
    triples: int
    votes: int
    accepted: int


@dataclass(frozen=True, slots=True)
class LabelsRow:
    """Labels by a run or by a method."""

    labels: str
    method: str
    triples: int
    """Triples with a label: a tie is none."""
    accepted: int
    known_triples: int
    """Adjudicated and gold triples that the accuracy is of."""
    accuracy: Estimate
    """Share of known answers that the labels have; Wilson's interval.

    Methods are applied to the votes without these answers. Of a run those answers count that have
    been given since, because it used the others.
    """
    held_out_log_likelihood: float | None
    """Mean over votes, each predicted by the method from the others: higher is better."""


@dataclass(frozen=True, slots=True)
class PairRow:
    """Agreement of two sets of labels on the triples that both have."""

    first: str
    second: str
    triples: int
    differ: int
    kappa: float | None
    """Cohen's kappa; None if it is undefined."""


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """Sets of labels, and each pair of them."""

    labels: list[LabelsRow]
    pairs: list[PairRow]


def list_label_runs(session: Session) -> list[LabelRunRow]:
    """Finished label runs, oldest first."""
    query = select(Run).where(Run.kind == "labels", Run.status == "done").order_by(Run.id)
    return [
        LabelRunRow(
            run=run.name,
            # Runs before `auto` stored the method in their settings alone.
            method=str(run.results.get("method") or run.settings.get("method", "")),
            simulated=run.simulated,
            triples=run.results.get("triples", 0),
            votes=run.results.get("votes", 0),
            accepted=run.results.get("accepted", 0),
        )
        for run in session.scalars(query)
    ]


def compare_labels(store: Store, names: Sequence[str] = (), *, simulated: bool) -> LabelComparison:
    """Compare label runs and methods of these names; without any, the methods that use votes alone.

    ConflictError without votes; NotFoundError for a name that is neither a method nor a label run.
    """
    with store.read() as session:
        rows = fetch_votes(session, simulated=simulated)
        known = known_answers(session)
        table, triple_ids, _ = vote_table(rows, known)
        votes = _Votes(table, triple_ids, known)
        by_name: dict[str, Method] = {method: method for method in METHODS}
        candidates = [
            _by_method(session, by_name[name], votes)
            if name in by_name
            else _by_run(session, name, votes)
            for name in dict.fromkeys(names or _DEFAULT_METHODS)
        ]
    labels = [candidate.row(table) for candidate in candidates]
    pairs = [_pair(*pair) for pair in combinations(candidates, 2)]
    return LabelComparison(labels, pairs)


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    method: FixedMethod
    scores: Probabilities | None
    accept: Probabilities
    """Shape (n_triples,); nan where a run has no label."""
    recovered: list[bool]
    """Whether each known answer that the labels could not know is their own."""

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Which triples have a label, shape (n_triples,)."""
        return has_label(self.accept)

    def row(self, votes: VoteTable) -> LabelsRow:
        accuracy = Rate.of(sum(self.recovered), len(self.recovered))
        return LabelsRow(
            labels=self.name,
            method=self.method,
            triples=int(self.decided.sum()),
            accepted=int((self.accept[self.decided] > TIE).sum()),
            known_triples=accuracy.judged,
            accuracy=UNDEFINED
            if accuracy.value is None
            else Estimate(accuracy.value, *accuracy.interval),
            held_out_log_likelihood=methods.mean_log_likelihood(votes, self.method, self.scores),
        )


@dataclass(frozen=True, slots=True)
class _Votes:
    table: VoteTable
    triple_ids: list[int]
    known: dict[int, bool]


def _by_method(session: Session, method: Method, votes: _Votes) -> _Candidate:
    resolved = methods.resolve(votes.table, method)
    scores = _scores(session, "", votes) if resolved == "with_critic" else None
    accept = posterior(votes.table, resolved, scores).accept
    recovered = _known_answers_recovered(votes.table, resolved, scores)
    return _Candidate(method, resolved, scores, accept, recovered.tolist())


def _known_answers_recovered(
    votes: VoteTable, method: FixedMethod, scores: Probabilities | None = None
) -> NDArray[np.bool_]:
    """Whether each known answer equals its label from votes, shape (n_known,).

    The answers are withheld a fifth at a time, so that `weighted` learns people's accuracy from the
    others. A tie is wrong.
    """
    triples = np.array(sorted(votes.known), dtype=np.int64)
    fold = np.random.default_rng(0).permutation(len(triples)) % _FOLDS
    correct = np.zeros(len(triples), dtype=bool)
    for withheld in range(min(_FOLDS, len(triples))):
        known = {int(t): votes.known[int(t)] for t in triples[fold != withheld]}
        accept = posterior(replace(votes, known=known), method, scores).accept
        for i in np.flatnonzero(fold == withheld):
            is_accepted = votes.known[int(triples[i])]
            correct[i] = accept[triples[i]] > TIE if is_accepted else accept[triples[i]] < TIE
    return correct


def _by_run(session: Session, name: str, votes: _Votes) -> _Candidate:
    run = queries.by_name(
        session,
        Run,
        name,
        Run.kind == "labels",
        noun="method or labels",
        hint=f"see `lskd labels list`; methods are {', '.join(METHODS)}",
    )
    method = run.results.get("method") or run.settings["method"]
    scores = _scores(session, run.settings["critic"], votes) if method == "with_critic" else None
    query = select(StoredLabel.triple_id, StoredLabel.accept).where(StoredLabel.run_id == run.id)
    stored: dict[int, float] = dict(session.execute(query).all())
    answered = _answered_since(session, run.started).intersection(votes.triple_ids)
    recovered = [t in stored and (stored[t] > TIE) == votes.known[t] for t in answered]
    accept = np.array([stored.get(id_, np.nan) for id_ in votes.triple_ids])
    return _Candidate(name, method, scores, accept, recovered)


def _scores(session: Session, critic: str, votes: _Votes) -> Probabilities:
    """Scores of a critic, or of the newest."""
    run = runs.newest(session, "critic", critic or None)
    return critic_scores(session, run.id, votes.triple_ids)


def _answered_since(session: Session, instant: int) -> set[int]:
    """Triples without a known answer before `instant` that have one now."""
    gold = session.execute(select(Gold.triple_id, Gold.created)).all()
    adjudicated = select(Adjudication.triple_id, Adjudication.created)
    given = [*gold, *session.execute(adjudicated.where(Adjudication.withdrawn.is_(None))).all()]
    before = {triple for triple, created in given if created < instant}
    return {triple for triple, _ in given} - before


def _pair(first: _Candidate, second: _Candidate) -> PairRow:
    both = first.decided & second.decided
    accepts = (first.accept[both] > TIE).astype(int), (second.accept[both] > TIE).astype(int)
    kappa = cohen_kappa(*accepts)
    return PairRow(
        first=first.name,
        second=second.name,
        triples=int(both.sum()),
        differ=int((accepts[0] != accepts[1]).sum()),
        kappa=kappa if np.isfinite(kappa) else None,
    )
