"""Whatever a client sends, allowed by the document or not, the server answers; no 5xx."""

from contextlib import suppress
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from annotator.web import api, errors
from annotator.web.security import AuthMiddleware
from db.store.session import Store

HEADERS = {"x-lskd": "1", "host": "127.0.0.1"}


def test_no_request_breaks_the_server(demo_store: Store) -> None:
    app = FastAPI(openapi_url="/api/openapi.json")
    errors.add_exception_handlers(app)
    app.include_router(api.routes(demo_store))
    app.add_middleware(AuthMiddleware, store=demo_store, host="127.0.0.1")
    document = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=HEADERS)
    tried = 0
    for found in document.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode:

            @settings(
                max_examples=20,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(headers=HEADERS, checks=[not_a_server_error])

            with suppress(Unsatisfiable):  # nothing can be wrong where nothing is sent
                ask()
        tried += 1
    assert tried > 25
