"""Prometheus metrics: latency of requests, and the state of the store when they are read."""

from collections.abc import Iterator

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from annotator.web.monitoring.requests import RequestRecord
from db.schema import Batch, BatchItem, Call, Lease, Person, Run, Vote
from db.store.session import Store

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_MICRODOLLARS = 1_000_000

router = APIRouter(include_in_schema=False)


class Metrics:
    """The metrics of one app."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_StoreCollector(store))
        self._latency = Histogram(
            "lskd_request_seconds",
            "Time to answer a request.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def observe(self, record: RequestRecord) -> None:
        """Count a request."""
        labels = record.method, record.route, str(record.status)
        self._latency.labels(*labels).observe(record.seconds)


@router.get("/metrics")
def get_metrics(request: Request) -> Response:
    """The metrics in the text format of Prometheus."""
    metrics: Metrics = request.app.state.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


class _StoreCollector(Collector):
    """Reads the store for each scrape, in one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        """Nothing: a registry would otherwise collect once when it is made."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what the store holds now."""
        with self._store.read() as session:
            yield _votes(session)
            yield _batches(session)
            leases = session.scalar(select(func.count()).select_from(Lease)) or 0
            yield GaugeMetricFamily("lskd_leases", "Items leased to annotators.", value=leases)
            yield from _calls(session)
            yield _runs(session)


def _votes(session: Session) -> Metric:
    family = GaugeMetricFamily("lskd_votes", "Standing votes.", labels=["decision", "simulated"])
    query = (
        select(Vote.decision, Person.simulated, func.count())
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.withdrawn.is_(None))
        .group_by(Vote.decision, Person.simulated)
    )
    for decision, simulated, count in session.execute(query):
        family.add_metric([decision, str(simulated).lower()], count)
    return family


def _batches(session: Session) -> Metric:
    family = GaugeMetricFamily(
        "lskd_batch_free_slots",
        "Votes that open batches still need and nobody holds a lease for.",
        labels=["batch"],
    )
    query = (
        select(Batch.name, func.sum(BatchItem.votes_required - BatchItem.slots_used))
        .join(BatchItem, BatchItem.batch_id == Batch.id)
        .where(Batch.open)
        .group_by(Batch.name)
    )
    for name, free in session.execute(query):
        family.add_metric([name], free)
    return family


def _calls(session: Session) -> Iterator[Metric]:
    calls = GaugeMetricFamily(
        "lskd_llm_calls", "Requests to language models by their state.", labels=["status"]
    )
    cost = 0
    query = select(Call.status, func.count(), func.sum(Call.cost)).group_by(Call.status)
    for status, count, microdollars in session.execute(query):
        calls.add_metric([status], count)
        cost += int(microdollars)
    yield calls
    yield GaugeMetricFamily(
        "lskd_llm_dollars", "Cost of all requests to language models.", value=cost / _MICRODOLLARS
    )


def _runs(session: Session) -> Metric:
    """Runs that are `running` are the trainings, imports and generations at work."""
    family = GaugeMetricFamily("lskd_runs", "Runs by kind and state.", labels=["kind", "status"])
    query = select(Run.kind, Run.status, func.count()).group_by(Run.kind, Run.status)
    for kind, status, count in session.execute(query):
        family.add_metric([kind, status], count)
    return family
