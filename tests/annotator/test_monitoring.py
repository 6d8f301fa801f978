"""Health, metrics and the request log of a running app."""

import json
import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from annotator.web import app
from annotator.web.monitoring import request_log
from annotator.web.monitoring.requests import RequestRecord
from db.demo.simulated_annotators import simulate_votes
from db.store.session import Store
from tests.annotator.conftest import Client


def metrics_of(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_tell_votes_leases_runs_and_latency(signed_in: Client, demo_store: Store) -> None:
    simulate_votes(demo_store, accuracies=(0.9, 0.8))
    client = signed_in("res")
    client.get("/api/next", params={"batch": "demo", "count": 3})
    client.get("/join/a-secret-link")
    metrics = metrics_of(client)

    def value(name: str, **labels: str) -> float:
        return metrics[name, frozenset(labels.items())]

    votes = [value("lskd_votes", decision=d, simulated="true") for d in ("accept", "reject")]
    assert sum(votes) == 2 * 157
    assert value("lskd_leases") == 3
    assert value("lskd_batch_free_slots", batch="demo") == 3 * 157 - 3
    assert value("lskd_llm_dollars") == 0
    assert value("lskd_runs", kind="simulate", status="done") == 1
    served = {"method": "GET", "route": "/api/next", "status": "200"}
    assert value("lskd_request_seconds_count", **served) == 1
    refused = {"method": "GET", "route": "/join/{link}", "status": "422"}
    assert value("lskd_request_seconds_count", **refused) == 1
    assert "a-secret-link" not in client.get("/metrics").text


def test_metrics_are_for_researchers(signed_in: Client) -> None:
    assert signed_in(None).get("/metrics").status_code == 401
    assert signed_in("ann").get("/metrics").status_code == 403


def test_health_is_that_of_the_store(sqlite_store: Store, tmp_path: Path) -> None:
    client = TestClient(app.build(sqlite_store), base_url="http://127.0.0.1")
    assert client.get("/healthz").json() == {"ok": True}
    sqlite_store.close()
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    (tmp_path / "store.db").mkdir()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)


def test_requests_are_logged_as_json_without_secrets(
    demo_store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    request_log.use_json_logs()
    served = app.build(demo_store, observers=[request_log.log_request])
    client = TestClient(served, base_url="http://127.0.0.1")
    client.get("/join/a-secret-link?PROLIFIC_PID=somebody", headers={"cookie": "lskd=a-secret"})
    client.get("/api/me", headers={"x-lskd": "1"})
    logged = capsys.readouterr().err
    assert "secret" not in logged
    assert "somebody" not in logged
    joined, own = [json.loads(line) for line in logged.splitlines()]
    assert (joined["route"], joined["status"], joined["person"]) == ("/join/{link}", 404, None)
    assert (own["route"], own["method"], own["status"]) == ("/api/me", "GET", 200)
    assert own["person"] is not None
    assert own["milliseconds"] > 0


def test_a_request_that_fails_is_observed_with_status_500(demo_store: Store) -> None:
    seen: list[RequestRecord] = []
    served = app.build(demo_store, observers=[seen.append])

    @served.get("/broken")
    def broken() -> None:
        raise RuntimeError

    client = TestClient(served, base_url="http://127.0.0.1", raise_server_exceptions=False)
    assert client.get("/broken").status_code == 500
    client.get("/no/such/path")
    assert [(record.route, record.status) for record in seen] == [("/broken", 500), ("other", 404)]
