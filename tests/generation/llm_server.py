"""An OpenAI-compatible server with random replies and random failures, for tests and benchmarks.

    python llm_server.py PORT [FAILURE_RATE [LATENCY]]

FAILURE_RATE is the share of requests that fail. Prompt tokens are counted as words. GET /count
returns the number of requests.
"""

import asyncio
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FAILURES = ("429", "500", "stall", "cut", "prose", "regions", "choices", "refusal", "broken")

_BROKEN = {"broken": '{"choices": [{"mess', "choices": '{"choices": []}'}


class Script:
    """What the server does and has done; randomness depends on the order of requests."""

    def __init__(self, failure_rate: float = 0.0, latency: float = 0.0) -> None:
        self.failure_rate, self.latency = failure_rate, latency
        self.requests: Counter[str] = Counter()
        self.replies: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.max_bodies = 20
        self.in_flight = self.max_in_flight = 0
        self.rng = random.Random(0)
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.completes_batches = True
        self.fails_at = ""

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        key = request.headers.get("idempotency-key", "")
        self.requests[key] += 1
        if len(self.bodies) < self.max_bodies:
            self.bodies.append(body)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._answer(body, key)
        finally:
            self.in_flight -= 1

    async def _answer(self, body: dict[str, Any], key: str) -> Response:
        if self.latency:
            await asyncio.sleep(self.latency)
        failure = self.rng.choice(FAILURES) if self.rng.random() < self.failure_rate else ""
        if failure == "429":
            error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return JSONResponse(error, 429, {"retry-after-ms": "20"})
        if failure == "500":
            return JSONResponse({"error": {"message": "internal error"}}, 500)
        if failure == "stall":
            await asyncio.sleep(3)
            return JSONResponse({"error": {"message": "too late"}}, 503)
        if failure in _BROKEN:
            return Response(_BROKEN[failure], media_type="application/json")
        self.replies[key] += 1
        text, finish = self.write(body), "stop"
        message: dict[str, Any] = {"role": "assistant"}
        choices = [{"index": 0, "message": message, "finish_reason": finish}]
        if failure == "cut":
            text, choices[0]["finish_reason"] = text[: len(text) // 2], "length"
        if failure == "prose":
            text = f"Sure, here it is:\n```json\n{text}\n```\nAnything else?"
        if failure == "regions":
            text = re.sub(r"\[\d+\]", "[999]", text)
        if failure == "refusal":
            message["refusal"], text = "I'd rather not.", ""
        message["content"] = text or None
        prompt = sum(len(message_text(m).split()) for m in body["messages"])
        return JSONResponse(
            {
                "id": f"chat-{sum(self.replies.values())}",
                "object": "chat.completion",
                "model": body["model"],
                "choices": choices,
                "usage": {"prompt_tokens": prompt, "completion_tokens": len(text.split())},
            }
        )

    def write(self, body: dict[str, Any]) -> str:
        """A valid reply to the last message, by the task that the prompt describes."""
        last = message_text(body["messages"][-1])
        data, _ = json.JSONDecoder().raw_decode(last)
        if "You look at a picture" in body["messages"][0]["content"]:
            return self.describe_image(data)
        if "You judge triples" in body["messages"][0]["content"]:
            judgements = [
                {"number": t["number"], "accept": 90 - len(t["answer"]) % 80, "why": "So it is."}
                for t in data["triples"]
            ]
            return json.dumps({"judgements": judgements})
        numbers = [region["number"] for region in data["regions"]]
        words = self.random_words(data)
        if "You collect what is known" in body["messages"][0]["content"]:
            open_ = [f"Is [{numbers[0]}] near {self.random_words(data)}?", f"Is it {words} there?"]
            pairs = zip(open_, (numbers[0], None), strict=True)
            return json.dumps({"questions": [{"question": q, "region": n} for q, n in pairs]})
        if "turns" in body["messages"][0]["content"]:
            turns = [{"question": f"What is {words}?", "answer": f"It is {words}."}]
            return json.dumps({"turns": turns})
        kinds_line = re.search(r"Their kinds, in order: (.*)\.", last)
        kinds = kinds_line[1].split(", ") if kinds_line else ["intent"]
        by_number = "[3]" in body["messages"][0]["content"]
        written = []
        for kind in kinds:
            number = self.rng.choice(numbers)
            it = f"[{number}]" if by_number else f"the {words} thing"
            what = f"{kind} {self.random_words(data)}"
            written.append(
                {
                    "kind": kind,
                    "question": f"What about {it} and {what}?",
                    "answer": f"It is {what}, as {it} shows.",
                    "rationale": f"One sees {it} beside {what}.",
                    "regions": [number],
                }
            )
        return json.dumps({"triples": written})

    def describe_image(self, data: dict[str, Any]) -> str:
        """A good reply about an image."""
        regions = [{"number": n, "text": f"region {n} is it"} for n in data.get("regions", [])]
        answers = [
            {"number": question["number"], "answer": "Yes."}
            for question in data.get("questions", [])
        ]
        return json.dumps({"scene": "One sees it.", "regions": regions, "answers": answers})

    async def create_file(self, request: Request) -> Response:
        form = await request.form()
        name = f"file-{len(self.files)}"
        self.files[name] = await form["file"].read()  # type: ignore[union-attr]
        return JSONResponse({"id": name, "object": "file", "purpose": form["purpose"]})

    async def file_content(self, request: Request) -> Response:
        name = request.path_params["name"]
        return Response(self.files.get(name, b"no such file"), 200 if name in self.files else 404)

    async def create_batch(self, request: Request) -> Response:
        if self.fails_at == "before":
            return Response("internal error", 500)
        body = await request.json()
        name = f"batch-{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "status": "in_progress",
            "created_at": 0,
            **body,
        }
        if self.fails_at == "after":
            return Response("internal error", 500)
        return JSONResponse(self.batches[name])

    async def list_batches(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": list(self.batches.values())})

    async def retrieve_batch(self, request: Request) -> Response:
        batch = self.batches.get(request.path_params["name"])
        if batch is None:
            return JSONResponse({"error": {"message": "no such batch"}}, 404)
        if self.completes_batches and batch["status"] == "in_progress":
            self._complete_batch(batch)
        return JSONResponse(batch)

    def _complete_batch(self, batch: dict[str, Any]) -> None:
        """Answer a batch; of the requests that fail, half are missing from the output."""
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].strip().split(b"\n"):
            request = json.loads(line)
            outcome = {"id": "r", "custom_id": request["custom_id"], "error": None}
            self.requests[request["custom_id"]] += 1
            if self.rng.random() < self.failure_rate:
                if self.rng.random() < 0.5:
                    body: dict[str, Any] = {"error": {"message": "too much", "code": "bad"}}
                    bad.append({**outcome, "response": {"status_code": 400, "body": body}})
                continue
            self.replies[request["custom_id"]] += 1
            message = {"role": "assistant", "content": self.write(request["body"])}
            body = {
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 50},
            }
            good.append({**outcome, "response": {"status_code": 200, "body": body}})
        batch["status"] = "completed"
        for kind, lines in (("output", good), ("error", bad)):
            name = f"file-{len(self.files)}"
            self.files[name] = "\n".join(map(json.dumps, lines)).encode() + b"\n"
            batch[f"{kind}_file_id"] = name if lines else None

    def random_words(self, data: dict[str, Any]) -> str:
        del data
        return " ".join(f"word{self.rng.randrange(10_000)}" for _ in range(4))

    def app(self) -> Starlette:
        async def count(_: Request) -> Response:
            return JSONResponse(self.requests.total())

        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.answer, methods=["POST"]),
                Route("/v1/files", self.create_file, methods=["POST"]),
                Route("/v1/files/{name}/content", self.file_content),
                Route("/v1/batches", self.create_batch, methods=["POST"]),
                Route("/v1/batches", self.list_batches),
                Route("/v1/batches/{name}", self.retrieve_batch),
                Route("/count", count),
            ]
        )


def message_text(message: dict[str, Any]) -> str:
    """The text of a message, which may have an image."""
    content = message["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


Serve = Callable[[Script], str]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Run the server in a thread on a free port; its base URL."""
    server = uvicorn.Server(
        uvicorn.Config(script.app(), port=0, log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = server.force_exit = True
    thread.join(10)


if __name__ == "__main__":
    port, *numbers = sys.argv[1:]
    uvicorn.run(
        Script(*map(float, numbers)).app(), port=int(port), log_level="error", access_log=False
    )
