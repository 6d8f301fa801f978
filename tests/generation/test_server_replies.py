"""Whatever a server sends: one bad reply is one failed call, and the good ones are all stored."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.requests import Request
from starlette.responses import Response

from db.schema import Call, Rejection, Triple
from db.store.session import Store
from generation.llm import wire
from generation.llm.protocol import Failure, Reply
from generation.runs.run import generate
from generation.settings import LLMSettings, TripleSettings
from generation.tasks.triples import Triples
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve

pytestmark = pytest.mark.slow

TASK = Triples(TripleSettings(samples=1, per_call=2))
REPLACEMENTS: tuple[Any, ...] = (
    *(None, 7, -1.5, "text", "", [], [None], {}, {"a": {}}, 10**400, math.nan, True),
)


def llm_settings(url: str, **settings: object) -> LLMSettings:
    given = {"concurrency": 8, "timeout": 5.0, "attempts": 1, **settings}
    return LLMSettings(model="gpt-4o-mini", base_url=url, **given)  # type: ignore[arg-type]


class Sending(Script):
    """Sends each of `bodies` to one request, and a good reply to all others."""

    def __init__(self, *bodies: bytes, status: int = 200, headers: Any = None) -> None:  # noqa: ANN401
        super().__init__()
        self.to_send, self.status = list(bodies), status
        self.headers = headers or {"content-type": "application/json"}

    async def answer(self, request: Request) -> Response:
        if self.to_send:
            self.requests[request.headers.get("idempotency-key", "")] += 1
            return Response(self.to_send.pop(), self.status, self.headers)
        return await super().answer(request)


def completion(content: Any = "{}", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    message = {"role": "assistant", "content": content, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    body = {"id": "chat-1", "object": "chat.completion", "model": "m", "choices": [choice]}
    choice.update({key: changes.pop(key) for key in tuple(changes) if key in choice})
    return body | {"usage": usage} | changes


def mutations(value: Any, replacements: tuple[Any, ...] = REPLACEMENTS) -> Iterator[Any]:  # noqa: ANN401
    """`value` with each part of it, at every depth, replaced by each replacement."""
    yield from replacements
    keys: Any = range(len(value)) if isinstance(value, list) else value
    for key in keys if isinstance(value, dict | list) else ():
        for mutated in mutations(value[key], replacements):
            copy = deepcopy(value)
            copy[key] = mutated
            yield copy
        if isinstance(value, dict):
            yield {k: v for k, v in value.items() if k != key}


def statuses(store: Store) -> dict[str, int]:
    with store.read() as session:
        query = select(Call.status, func.count()).group_by(Call.status)
        return dict(session.execute(query).all())


MUTATED = [
    json.dumps(body).encode()
    for body in mutations(completion([{"type": "text", "text": "none"}], error=None))
]
BROKEN = [
    b"",
    b"null",
    b'{"choices": [{"mess',
    b"\xff\xfe{}",
    b"[" * 100_000,
    b'{"choices": ' + b"[" * 500 + b"]" * 500 + b"}",
    b"<html><title>Bad gateway</title></html>",
    json.dumps(completion("a\ud800b\0c")).encode(),
    json.dumps(completion("x", finish_reason="\ud800\0")).encode(),
    json.dumps({"error": {"message": "\ud800\0", "code": "\ud800"}}).encode(),
    json.dumps(completion("x", usage={"prompt_tokens": 2**40, "completion_tokens": "x"})).encode(),
    b"\xef\xbb\xbf" + json.dumps(completion("x")).encode(),
    b'{"choices": [{"message": {"content": "\xff"}}]}',
]


@pytest.mark.parametrize("body", [*MUTATED, *BROKEN])
def test_a_body_is_a_reply_a_failure_or_an_error_that_can_be_stored(body: bytes) -> None:
    try:
        outcome = wire.parse_completion(body, 0, 1)
    except wire.NotJsonError:
        return
    assert isinstance(outcome, Reply | Failure | wire.ServerError)
    for text in (getattr(outcome, name, "") for name in ("text", "finish_reason", "error", "code")):
        text.encode()
        assert "\0" not in text


@pytest.mark.parametrize("start", range(8))
def test_mutated_bodies_cost_one_call_each(
    pictures_on_both: Store, serve: Serve, start: int
) -> None:
    """Nineteen requests at a time: half of them get a mutated body, and the others a good one."""
    script = Sending(*[*MUTATED, *BROKEN][start::24][:9])
    n_bad = len(script.to_send)
    run = generate(pictures_on_both, TASK, llm_settings(serve(script)))
    assert statuses(pictures_on_both).get("answered", 0) >= 19 - n_bad
    assert sum(statuses(pictures_on_both).values()) == 19
    assert run.results["kept"] == (19 - n_bad) * 2
    again = generate(pictures_on_both, TASK, llm_settings(serve(Script())))
    assert again.results["failed_calls"] == 0


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"message": "upstream", "code": 502}}, "upstream"),
        ({"error": "model crashed"}, "model crashed"),
        (completion(choices=[]), "the server sent an empty list of choices"),
        (completion("{}", finish_reason="error"), "the server stopped with finish_reason 'error'"),
        ({"choices": [{"error": {"code": 429, "message": "busy"}, "message": None}]}, "busy"),
        ({"choices": [None]}, "not a chat completion: Expected `object`, got `null` - at `$.c"),
        (completion(message="text"), "not a chat completion: Expected `object | null`, got `str`"),
        ({"status": "ok"}, "not a chat completion: it has no choices"),
    ],
)
def test_what_is_no_reply_is_a_failure_and_can_be_asked_again(
    pictures: Store, serve: Serve, body: object, error: str
) -> None:
    script = Sending(json.dumps(body).encode())
    run = generate(pictures, TASK, llm_settings(serve(script)))
    assert (run.results["replies"], run.results["failed_calls"]) == (18, 1)
    assert next(iter(run.results["failures"])).startswith(error)
    assert generate(pictures, TASK, llm_settings(serve(Script()))).results["replies"] == 1


def test_an_error_in_place_of_a_reply_is_retried_in_the_same_run(
    pictures: Store, serve: Serve
) -> None:
    script = Sending(b'{"error": {"message": "upstream", "code": 502}}')
    run = generate(pictures, TASK, llm_settings(serve(script), attempts=3))
    assert (run.results["replies"], run.results["failed_calls"]) == (19, 0)
    with pictures.read() as session:
        assert session.scalar(select(func.sum(Call.attempts))) == 20


GOOD = json.dumps(
    {
        "triples": [
            {
                "question": "What does [0] do beside the dog?",
                "answer": "It waits.",
                "rationale": "[0] stands still beside [1].",
                "kind": "intent",
                "regions": [0, 1],
            }
        ]
    }
)


@pytest.mark.parametrize(
    "body",
    [
        completion([{"type": "text", "text": GOOD}]),
        completion([GOOD[:50], {"type": "output_text", "text": GOOD[50:]}]),
        completion([{"type": "thinking", "thinking": "{"}, {"type": "text", "text": GOOD}]),
        completion(json.loads(GOOD)),
        completion(f"<think>Is it {{a}} or {GOOD[:40]}?</think>\n{GOOD}"),
        completion(f"Perhaps {{x}}.</think>{GOOD}"),
        completion(message={"content": None, "reasoning_content": GOOD}),
        completion(message={"content": GOOD, "reasoning_content": "{draft}"}),
        completion(GOOD, usage="many"),
        completion(GOOD, usage={"prompt_tokens": "10", "completion_tokens": None}),
        completion(GOOD, finish_reason=None),
        completion(GOOD, logprobs=math.nan),
    ],
)
def test_a_good_text_is_found_in_any_form_of_message(
    pictures: Store, serve: Serve, body: object
) -> None:
    script = Sending(json.dumps(body).encode(), headers={"content-type": "text/plain"})
    run = generate(pictures, TASK, llm_settings(serve(script)))
    assert run.results["kept"] == 18 * 2 + 1
    assert run.results["rejected"] == {}


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": "First, {"},
        {"content": "<think>First, {"},
        {"content": ""},
    ],
)
def test_reasoning_that_is_cut_off_by_length_is_cut_off(
    pictures: Store, serve: Serve, message: object
) -> None:
    body = completion(message=message, finish_reason="length")
    run = generate(pictures, TASK, llm_settings(serve(Sending(json.dumps(body).encode()))))
    assert run.results["replies"] == 19
    assert run.results["rejected"] == {"cut_off": 1}


def test_a_surrogate_or_nul_in_a_reply_is_stored_without_them(
    pictures_on_both: Store, serve: Serve
) -> None:
    text = GOOD.replace("waits", "\\ud83d waits \\u0000long")
    run = generate(
        pictures_on_both, TASK, llm_settings(serve(Sending(json.dumps(completion(text)).encode())))
    )
    assert run.results["kept"] == 18 * 2 + 1
    with pictures_on_both.read() as session:
        answers = session.scalars(select(Triple.answer)).all()
        assert "It \ufffd waits long." in answers
        assert session.scalars(select(Rejection)).all() == []


def test_tokens_of_an_unreadable_reply_are_paid_and_added_to_its_repetition(
    pictures_on_both: Store, serve: Serve
) -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}
    script = Sending(json.dumps(completion(message="text", usage=usage)).encode())
    run = generate(pictures_on_both, TASK, llm_settings(serve(script)))
    assert run.results["cost_usd"] > 0.75
    again = generate(pictures_on_both, TASK, llm_settings(serve(Script())))
    with pictures_on_both.read() as session:
        total = session.scalar(select(func.sum(Call.cost)))
    assert total is not None
    assert float(total) / 1e6 > 0.75, "the failed call is still accounted for"
    assert again.results["replies"] == 1


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": {"message": "top_k is bad"}}, r"10 calls have failed alike.*400: top_k"),
        (500, {"error": {"message": "oom"}}, r"10 calls in a row.*500: oom.*check the server"),
        (404, {"detail": "Not Found"}, "10 calls in a row.*check --base-url and --model"),
        (200, {"error": {"message": "down"}}, "10 calls in a row.*down"),
        (200, {"status": "ok"}, "10 calls have failed alike.*it has no choices.*--base-url"),
        (402, {"error": {"message": "Insufficient Balance"}}, "no credit left.*add credit"),
        (429, {"error": {"message": "no", "type": "insufficient_quota"}}, "no credit left"),
        (400, {"error": {"message": "API key not valid."}}, "rejects the key"),
        (403, {"error": {"message": "country"}}, "refuses access: 403: country"),
    ],
)
def test_a_run_stops_when_everything_fails_alike(
    pictures: Store, serve: Serve, status: int, body: object, message: str
) -> None:
    script = Sending(*[json.dumps(body).encode()] * 99, status=status)
    with pytest.raises(UserError, match=message):
        generate(pictures, TASK, llm_settings(serve(script), concurrency=2))
    assert script.requests.total() <= 12


def test_a_run_of_few_calls_that_all_fail_is_an_error(pictures: Store, serve: Serve) -> None:
    script = Sending(*[b'{"error": {"message": "no"}}'] * 3, status=400)
    with pytest.raises(UserError, match=r"all calls have failed alike.*400: no"):
        generate(pictures, TASK, llm_settings(serve(script)), only=[1, 2, 3])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"error": {"message": "no such model", "code": "model_not_found"}}),
        (404, {}),
        (403, {"error": {"message": "x", "metadata": {"reasons": ["violence"]}}}),
        (400, {"error": {"message": "filtered", "code": "content_filter"}}),
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens"}}),
    ],
)
def test_one_call_that_is_refused_does_not_stop_a_run(
    pictures: Store, serve: Serve, status: int, body: object
) -> None:
    class Once(Script):
        async def answer(self, request: Request) -> Response:
            if "text 9 about" in str(await request.json()):
                return Response(json.dumps(body), status)
            return await super().answer(request)

    run = generate(pictures, TASK, llm_settings(serve(Once()), concurrency=1))
    assert (run.results["replies"], run.results["failed_calls"]) == (18, 1)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503, 520, 522, 524, 529])
def test_failures_that_may_pass_are_retried(pictures: Store, serve: Serve, status: int) -> None:
    script = Sending(b"<title>Web server is down</title>", status=status)
    run = generate(pictures, TASK, llm_settings(serve(script), attempts=2), only=[1, 2])
    assert (run.results["replies"], run.results["failed_calls"]) == (2, 0)


def test_calls_in_flight_are_recorded_when_the_credit_is_used_up(
    pictures: Store, serve: Serve
) -> None:
    class Poor(Script):
        async def answer(self, request: Request) -> Response:
            if "text 9 about" in str(await request.json()):
                return Response(b"{}", 402)
            self.latency = 0.3
            return await super().answer(request)

    script = Poor()
    with pytest.raises(UserError, match="no credit left"):
        generate(pictures, TASK, llm_settings(serve(script), concurrency=16))
    assert statuses(pictures)["answered"] == script.replies.total() > 0
