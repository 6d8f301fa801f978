"""What servers want of a request: learned from what they reject, or set by options."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from db.schema import Run
from db.store.session import Store
from generation.llm import waiting
from generation.runs.run import generate
from generation.settings import LLMSettings, TripleSettings
from generation.tasks.triples import Triples
from lskd_cli import cli
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve

TASK = Triples(TripleSettings(samples=1, per_call=2))
TOKENS = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
TEMPERATURE = "'temperature' does not support 1.0 with this model. Only the default (1) value is"


def llm_settings(url: str, **settings: Any) -> LLMSettings:  # noqa: ANN401
    return LLMSettings(model="gpt-4o-mini", base_url=url, **{"concurrency": 4, **settings})


def url_of(store: Store) -> str:
    return store.engine.url.render_as_string(hide_password=False)


class Rejecting(Script):
    """Rejects requests that have one of these fields, by a message of OpenAI's."""

    def __init__(self, **messages: str) -> None:
        super().__init__()
        self.messages, self.rejected = messages, 0

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        for name, message in self.messages.items():
            if name in body:
                self.rejected += 1
                error = {"message": f"Unsupported: {message}", "param": name}
                return JSONResponse({"error": error}, 400)
        return await super().answer(request)


def test_fields_that_a_server_rejects_are_learned_once(pictures: Store, serve: Serve) -> None:
    script = Rejecting(
        max_tokens=TOKENS, temperature=TEMPERATURE, response_format="response_format"
    )
    run = generate(pictures, TASK, llm_settings(serve(script), attempts=1))
    assert (run.results["replies"], run.results["failed_calls"]) == (19, 0)
    assert script.rejected <= 3 * 4, "only the calls in flight meet it"
    assert script.bodies[0].keys() == {"model", "messages", "max_completion_tokens"}


def test_a_server_that_only_knows_max_tokens_is_asked_by_it(pictures: Store, serve: Serve) -> None:
    script = Rejecting(max_completion_tokens="Extra inputs are not permitted")
    settings = llm_settings(serve(script), request_options=("max_completion_tokens=50",))
    with pytest.raises(UserError, match="400: Unsupported: Extra inputs"):
        generate(pictures, TASK, settings)  # what a user sets is not changed
    assert generate(pictures, TASK, llm_settings(serve(script))).results["replies"] == 19


def test_a_value_that_is_too_large_is_not_learned(pictures: Store, serve: Serve) -> None:
    class Strict(Rejecting):
        async def answer(self, request: Request) -> Response:
            body = await request.json()
            assert "max_completion_tokens" not in body
            error = {"message": "max_tokens is too large: 1000", "param": "max_tokens"}
            return JSONResponse({"error": error}, 400)

    with pytest.raises(UserError, match="max_tokens is too large"):
        generate(pictures, TASK, llm_settings(serve(Strict())))


def test_request_options_and_query_are_sent_with_each_request(
    pictures: Store, serve: Serve
) -> None:
    class Azure(Script):
        def app(self) -> Starlette:
            path = "/v1/deployments/x/chat/completions"
            return Starlette(routes=[Route(path, self.answer, methods=["POST"])])

        async def answer(self, request: Request) -> Response:
            self.query, self.headers = dict(request.query_params), dict(request.headers)
            return await super().answer(request)

    script = Azure()
    url = f"{serve(script)}/deployments/x/chat/completions?api-version=2024-10-21"
    options = ("top_p=0.9", "temperature=null", 'reasoning_effort="low"')
    run = generate(pictures, TASK, llm_settings(url, request_options=options))
    assert run.results["replies"] == 19
    assert script.query == {"api-version": "2024-10-21"}
    body = script.bodies[0]
    assert (body["top_p"], body["reasoning_effort"]) == (0.9, "low")
    assert "temperature" not in body
    assert run.settings["request_options"] == {
        "top_p": 0.9,
        "temperature": None,
        "reasoning_effort": "low",
    }
    # Other options are other requests.
    again = generate(pictures, TASK, llm_settings(url, request_options=("top_p=0.8",)))
    assert again.results["calls_made"] == 19


def test_headers_come_from_the_environment_and_are_never_stored(
    pictures: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Keyed(Script):
        async def answer(self, request: Request) -> Response:
            self.seen = dict(request.headers)
            if "text 3 about" in str(await request.json()):
                return JSONResponse({"error": {"message": f"bad {self.seen['api-key']}"}}, 400)
            return await super().answer(request)

    monkeypatch.setenv("AZURE_KEY", "secret-of-azure")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-openai")
    script = Keyed()
    settings = llm_settings(serve(script), header_env=("api-key=AZURE_KEY",), concurrency=1)
    run = generate(pictures, TASK, settings)
    assert script.seen["api-key"] == "secret-of-azure"
    assert "authorization" not in script.seen, "a key for another server is not sent"
    assert run.results["failures"] == {"400: bad ***": 1}
    with pictures.read() as session:
        stored = str([(run.settings, run.results) for run in session.scalars(select(Run))])
    assert "secret" not in stored


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--request-option", "top_p"], "invalid --request-option top_p: write NAME=JSON"),
        (["--request-option", "effort=low"], "invalid --request-option effort=low"),
        (["--request-option", "n=4"], "--request-option cannot set n"),
        (["--header-env", "api-key"], "invalid --header-env 'api-key': write HEADER=ENV"),
        (["--header-env", "api-key=NOT_SET"], "the environment variable NOT_SET is not set"),
        (["--base-url", "localhost:80"], "--base-url is not an address"),
        (["--budget", "1", "--request-option", "max_tokens=null"], "no maximum length"),
    ],
)
def test_invalid_options_are_reported_before_any_call(
    pictures: Store, words: list[str], message: str
) -> None:
    url = [
        "--store",
        url_of(pictures),
        "--model",
        "gpt-4o-mini",
        "--base-url",
        "http://127.0.0.1:9/v1",
    ]
    result = CliRunner().invoke(cli, ["generate", "triples", *url, *words])
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


class Moved(Script):
    """Redirects from its address to `location`."""

    def __init__(self, location: str, status: int) -> None:
        super().__init__()
        self.location, self.status, self.redirects = location, status, 0

    def app(self) -> Starlette:
        async def redirect(_: Request) -> Response:
            self.redirects += 1
            return RedirectResponse(self.location, self.status)

        return Starlette(
            routes=[
                Route("/v1/chat/completions", redirect, methods=["POST", "GET"]),
                Route("/api/v1/chat/completions", self.answer, methods=["POST"]),
            ]
        )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_and_learned(
    pictures: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = Moved("/api/v1/chat/completions", status)
    run = generate(pictures, TASK, llm_settings(serve(script)))
    assert run.results["replies"] == 19
    assert script.redirects <= 4


def test_a_key_is_not_sent_to_another_server(
    pictures: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    other = Script()
    script = Moved(serve(other) + "/chat/completions", 307)
    with pytest.raises(UserError, match=r"redirects elsewhere: 307 to http.*check --base-url"):
        generate(pictures, TASK, llm_settings(serve(script)))
    assert other.requests.total() == 0


def test_a_login_page_is_not_followed(pictures: Store, serve: Serve) -> None:
    with pytest.raises(UserError, match="redirects elsewhere: 302 to /login"):
        generate(pictures, TASK, llm_settings(serve(Moved("/login", 302))))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "soon", "", "1e999", "Wed, 99 Foo 2015"])
def test_a_senseless_retry_after_is_ignored(value: str) -> None:
    assert waiting.retry_after({"retry-after": value}) is None


def test_a_retry_after_in_the_past_is_no_wait() -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert waiting.retry_after({"retry-after": date}) == 0
    assert waiting.retry_after({"retry-after": "-3"}) == 0


def test_a_rate_limit_is_said_on_the_screen(pictures: Store, serve: Serve) -> None:
    class Busy(Script):
        async def answer(self, request: Request) -> Response:
            if not self.requests.total():
                self.requests["first"] += 1
                return JSONResponse({"error": {"message": "slow"}}, 429, {"retry-after": "1.2"})
            return await super().answer(request)

    words = ["generate", "triples", "--model", "m", "--samples", "1", "--json"]
    words += ["--base-url", serve(Busy()), "--store", url_of(pictures)]
    result = CliRunner().invoke(cli, words)
    assert json.loads(result.stdout)["replies"] == 19
    assert result.stderr.splitlines() == ["rate limited, waiting 2 s"]
