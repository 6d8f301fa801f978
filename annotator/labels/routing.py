"""Routing: each person gets the items on which their vote is expected to tell most.

A vote of a person with known sensitivity and specificity lowers the entropy of a triple's label by
their mutual information. People's rates and the triples' probabilities are estimated by EM from all
votes, in the background; between two estimates each vote updates its triple by Bayes' rule. A
request looks only at the `WINDOW` best open items for an average person, and takes those that are
best for this one.

Items whose position was drawn at random come in the order of positions, at the batch's
`random_share` of the leases: estimates use these items alone. The estimates live in memory. Without
one, and where the window holds nothing for a person, the queue leases in the order of positions.
"""

import heapq
import logging
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit, logit
from sqlalchemy import Connection, bindparam, select, text

from annotator.labelling import leases
from annotator.labelling.leases import NOT_SEEN, BatchPolicy, LeaseHolder
from annotator.labels import aggregation
from annotator.labels.aggregation import Probabilities
from annotator.labels.vote_tables import VoteRow, known_answers, vote_table
from db.schema import Batch, BatchItem, Decision, Vote
from db.store import queries
from db.store.session import Store

WINDOW = 16
_MAX_WINDOWS = 16
_MIN_REFRESH_SECONDS = 5.0
_MAX_REFRESH_SHARE = 0.05
"""Share of the time that estimates may take."""
_EPS = 1e-6
_log = logging.getLogger(__name__)

# Of the positions that need votes: whether the person may judge each.
_OPEN_AMONG = text(
    "SELECT position, CASE WHEN 1 = 1"  # noqa: S608 - constants only
    f" {NOT_SEEN} THEN 1 ELSE 0 END AS is_new FROM batch_items AS item"
    " WHERE batch_id = :batch AND position IN :positions AND slots_used < votes_required"
).bindparams(bindparam("positions", expanding=True))


def expected_information(
    accept: Probabilities, sensitivity: float, specificity: float
) -> Probabilities:
    """Mutual information, in nats, of a vote and the label: shape (n,).

    `accept` is the probability of each label, `sensitivity` and `specificity` are of the voter.

    >>> expected_information(np.array([0.0, 0.5, 1.0]), 1.0, 1.0).round(3)
    array([0.   , 0.693, 0.   ])
    """
    votes_accept = accept * sensitivity + (1 - accept) * (1 - specificity)
    noise = accept * _entropy(sensitivity) + (1 - accept) * _entropy(specificity)
    return np.maximum(_entropy(votes_accept) - noise, 0.0)


def _entropy(p: Probabilities | float) -> Probabilities:
    return np.asarray(entr(p) + entr(1 - np.asarray(p)))


@dataclass(frozen=True, slots=True)
class BatchEstimate:
    """Open items of a batch, shape (n,), sorted by triple, and the rates of people by id."""

    triple: NDArray[np.int64]
    position: NDArray[np.int64]
    at_random: NDArray[np.bool_]
    leased: NDArray[np.bool_]
    """Whether somebody is about to vote on the item."""
    accept: Probabilities
    rates: dict[int, tuple[float, float]]
    """Sensitivity and specificity."""
    random_share: float


class Ranking:
    """Open items of a batch, the most informative first, kept up to date by votes."""

    def __init__(self, estimate: BatchEstimate) -> None:
        self._estimate, self._rates = estimate, estimate.rates
        # Held for the heaps alone, never while a statement waits for a lock of the database.
        self._lock = threading.Lock()
        self._log_odds = logit(np.clip(estimate.accept, _EPS, 1 - _EPS))
        rates = np.array(list(self._rates.values()) or [(0.8, 0.8)])
        self._average = float(rates[:, 0].mean()), float(rates[:, 1].mean())
        self.random_share = estimate.random_share
        information = expected_information(estimate.accept, *self._average)
        free = np.flatnonzero(~estimate.leased)
        keys = np.where(estimate.at_random, estimate.position.astype(float), -information)
        order = free[np.lexsort((estimate.position[free], keys[free]))]
        # Sorted lists are heaps. Of equal keys the first positions come first: neighbours are in
        # one block of the cache of payloads.
        self._keys = keys
        self._heaps: dict[bool, list[tuple[float, int, int]]] = {}
        for at_random in (False, True):
            items = order[estimate.at_random[order] == at_random]
            columns = keys[items], estimate.position[items], items
            self._heaps[at_random] = list(zip(*(c.tolist() for c in columns), strict=True))

    def take(self, count: int, *, at_random: bool) -> list[int]:
        """Remove up to `count` items and return their numbers, the best for an average person."""
        heap = self._heaps[at_random]
        with self._lock:
            return [heapq.heappop(heap)[-1] for _ in range(min(count, len(heap)))]

    def put_back(self, items: Sequence[int]) -> None:
        """Add items that were taken and not leased, or that have got a vote."""
        with self._lock:
            for item in items:
                at_random = bool(self._estimate.at_random[item])
                entry = float(self._keys[item]), int(self._estimate.position[item]), item
                heapq.heappush(self._heaps[at_random], entry)

    def best_for(self, person: int, items: Sequence[int]) -> list[int]:
        """The items in the order of what this person's vote is expected to tell."""
        accept = expit(self._log_odds[list(items)])
        information = expected_information(accept, *self._rates.get(person, self._average))
        return [items[i] for i in np.argsort(-information, kind="stable")]

    def positions(self, items: Sequence[int]) -> list[int]:
        """The positions of items."""
        return [int(position) for position in self._estimate.position[list(items)]]

    def record(self, triple: int, person: int, decision: Decision) -> None:
        """Update a triple by a vote and make its item available again."""
        item = int(np.searchsorted(self._estimate.triple, triple))
        if item == len(self._estimate.triple) or self._estimate.triple[item] != triple:
            return
        sensitivity, specificity = self._rates.get(person, self._average)
        if decision == "accept":
            self._log_odds[item] += np.log(sensitivity / (1 - specificity))
        elif decision == "reject":
            self._log_odds[item] += np.log((1 - sensitivity) / specificity)
        if not self._estimate.at_random[item]:
            accept = expit(self._log_odds[[item]])
            self._keys[item] = -expected_information(accept, *self._average)[0]
        self.put_back([item])


class InformationRouter:
    """Leases items by expected information; see `annotator.labelling.routing.Router`."""

    def __init__(
        self, store: Store, executor: Executor | None = None, *, seed: int | None = None
    ) -> None:
        """Estimate on the executor, if there is one, otherwise only by `refresh`."""
        self._store = store
        self._rankings: dict[int, Ranking] = {}
        self._refresh_at: dict[int, float] = {}
        self._refreshing: dict[int, Future[None]] = {}
        self._executor = executor
        self._rng = random.Random(seed)  # noqa: S311 - no secret

    def lease(
        self, connection: Connection, holder: LeaseHolder, policy: BatchPolicy, count: int
    ) -> list[int]:
        """Lease up to `count` items and return their positions."""
        if self._executor is not None:
            self._refresh_if_due(policy.batch)
        ranking = self._rankings.get(policy.batch)
        if ranking is None:
            return []
        share = ranking.random_share
        left = sum(self._rng.random() < share for _ in range(count))
        new: list[int] = []
        for at_random in (True, False, True):
            query = _Request(connection, holder, policy, left)
            new += _lease_from(ranking, query, at_random=at_random)
            left = count - len(new)
        return new

    def record(self, batch: int, triple: int, person: int, decision: Decision) -> None:
        """Update the estimate of a triple by a vote."""
        if (ranking := self._rankings.get(batch)) is not None:
            ranking.record(triple, person, decision)

    def refresh(self, batch: int) -> None:
        """Estimate a batch anew."""
        start = time.monotonic()
        self._rankings[batch] = Ranking(estimate_batch(self._store, batch))
        seconds = time.monotonic() - start
        wait = max(_MIN_REFRESH_SECONDS, seconds / _MAX_REFRESH_SHARE)
        self._refresh_at[batch] = time.monotonic() + wait

    def _refresh_if_due(self, batch: int) -> None:
        """Start an estimate in the background, one at a time for each batch."""
        if time.monotonic() < self._refresh_at.get(batch, 0.0):
            return
        running = self._refreshing.get(batch)
        if running is not None and not running.done():
            return
        if running is not None and (error := running.exception()) is not None:
            _log.error("the order of batch %s could not be estimated: %s", batch, error)
        self._refresh_at[batch] = time.monotonic() + _MIN_REFRESH_SECONDS
        if self._executor is not None:
            self._refreshing[batch] = self._executor.submit(self.refresh, batch)


@dataclass(frozen=True, slots=True)
class _Request:
    connection: Connection
    holder: LeaseHolder
    policy: BatchPolicy
    count: int

    def take(self, position: int) -> bool:
        """Lease one item; False if its slots or the lease have been taken meanwhile."""
        slot = {"batch": self.policy.batch, "position": position}
        if not leases.take_slot(self.connection, slot):
            return False
        if leases.add_lease(self.connection, self.policy.batch, position, self.holder):
            return True
        leases.release_slot(self.connection, slot)
        return False


def _lease_from(ranking: Ranking, request: _Request, *, at_random: bool) -> list[int]:
    """Lease items of a window, and of further ones while the person has judged what it holds."""
    new: list[int] = []
    aside: list[int] = []
    for _ in range(_MAX_WINDOWS):
        missing = request.count - len(new)
        items = ranking.take(WINDOW, at_random=at_random) if missing > 0 else []
        if not items:
            break
        if not at_random:
            items = ranking.best_for(request.holder.person, items)
        positions = ranking.positions(items)
        query = {
            "batch": request.policy.batch,
            "person": request.holder.person,
            "positions": positions,
        }
        # Items that have their votes are not among the rows, and not put back.
        rows = request.connection.execute(_OPEN_AMONG, query)
        is_new = {row.position: bool(row.is_new) for row in rows}
        for item, position in zip(items, positions, strict=True):
            if len(new) < request.count and is_new.get(position) and request.take(position):
                new.append(position)
            elif position in is_new:
                aside.append(item)
    ranking.put_back(aside)
    return new


def estimate_batch(store: Store, batch: int) -> BatchEstimate:
    """Estimate the open items of a batch by Dawid-Skene from the votes of people on it."""
    with store.read() as session:
        random_share = session.get_one(Batch, batch).random_share
        in_batch = BatchItem.batch_id == batch
        items = session.execute(
            select(
                BatchItem.triple_id, BatchItem.position, BatchItem.at_random, BatchItem.slots_used
            )
            .where(in_batch, BatchItem.slots_used < BatchItem.votes_required)
            .order_by(BatchItem.triple_id)
        ).all()
        triples = select(BatchItem.triple_id).where(in_batch)
        query = queries.standing_votes(
            Vote.triple_id, Vote.person_id, Vote.decision, simulated=False
        )
        votes = session.execute(query.where(Vote.decision != "skip", Vote.triple_id.in_(triples)))
        rows = [VoteRow(triple, person, decision, []) for triple, person, decision in votes]
        known = known_answers(session)
    columns = np.array([row[:4] for row in items], dtype=np.int64).reshape(-1, 4)
    triple, position, at_random, slots_used = columns.T
    table, voted, people = vote_table(rows, known)
    fitted = aggregation.dawid_skene(table)
    prevalence = float(np.clip(fitted.accept.mean(), 0.05, 0.95)) if len(voted) else 0.5
    accept = np.full(len(triple), prevalence)
    has_votes = np.isin(triple, voted)
    item = np.searchsorted(voted, triple[has_votes])
    accept[has_votes] = fitted.accept[item]
    counts = np.zeros(len(triple), dtype=np.int64)
    counts[has_votes] = np.bincount(table.triple, minlength=len(voted))[item]
    rates = np.column_stack([fitted.sensitivity, fitted.specificity]).tolist()
    return BatchEstimate(
        triple,
        position,
        at_random.astype(bool),
        slots_used > counts,
        accept,
        {id_: (s, c) for id_, (s, c) in zip(people, rates, strict=True)},
        random_share,
    )
