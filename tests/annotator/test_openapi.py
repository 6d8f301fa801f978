"""Requests generated from the OpenAPI document, valid or not, never cause a 5xx response."""

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from annotator.web import api
from annotator.web.security import AuthMiddleware
from db.store.session import Store

pytestmark = pytest.mark.slow

HEADERS = {"x-lskd": "1", "host": "127.0.0.1"}


def test_no_request_breaks_the_server(demo_store: Store) -> None:
    app = FastAPI(openapi_url="/api/openapi.json")
    api.add_api(app, demo_store)
    app.add_middleware(AuthMiddleware, store=demo_store, host="127.0.0.1")
    document = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=HEADERS)
    n_operations = 0
    for result in document.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        for mode in GenerationMode:

            @settings(
                max_examples=10,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def request(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(headers=HEADERS, checks=[not_a_server_error])

            with suppress(Unsatisfiable):  # an operation without parameters has no invalid requests
                request()
        n_operations += 1
    assert n_operations > 25
