"""Runs by the Batch API: requests are submitted in files, answered later, and paid once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from starlette.responses import JSONResponse

from db.schema import Call, Image, Run, Source, Submission, Triple
from db.store.session import Store
from generation.llm import batch_api
from generation.runs.batch_runs import collect, submit
from generation.runs.cost_estimate import estimate_cost
from generation.runs.run import generate
from generation.settings import LLMSettings, TripleSettings
from generation.tasks.triples import Triples
from generation.verbalize.describers.vision import Vision
from generation.verbalize.settings import VisionSettings
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve
from tests.generation.test_server_replies import mutations

TASK = Triples(TripleSettings(samples=2, per_call=2))


def llm_settings(url: str, **settings: Any) -> LLMSettings:  # noqa: ANN401
    given = {"concurrency": 4, "timeout": 2.0, "attempts": 2, **settings}
    return LLMSettings(model="gpt-4o-mini", base_url=url, **given)


def statuses(store: Store) -> dict[str, int]:
    with store.read() as session:
        query = select(Call.status, func.count()).group_by(Call.status)
        return dict(session.execute(query).all())


def test_submitted_requests_are_collected_later(pictures_on_both: Store, serve: Serve) -> None:
    script = Script()
    script.completes_batches = False
    settings = llm_settings(serve(script))
    submitted = submit(pictures_on_both, TASK, settings)
    assert submitted.results["newly_submitted"] == 38
    assert submitted.results["skipped_images"] == {"no regions": 1}
    assert (submitted.status, statuses(pictures_on_both)) == ("running", {"submitted": 38})
    # There are no replies yet, and no request is sent twice.
    early = collect(pictures_on_both, TASK, settings)
    assert early.results["submitted"] == 38
    assert early.results["pending_batches"] == [
        {"batch": "batch-0", "status": "in_progress", "answered": 0, "requests": 38}
    ]
    assert submit(pictures_on_both, TASK, settings).results["newly_submitted"] == 0
    assert generate(pictures_on_both, TASK, settings).results["calls_made"] == 0
    script.completes_batches = True
    run = collect(pictures_on_both, TASK, settings)
    assert (run.status, statuses(pictures_on_both)) == ("done", {"answered": 38})
    assert run.results["kept"] == 76
    assert run.results["submitted"] == 0
    # 100 and 50 tokens each, at half of $0.15 and $0.60 a million.
    assert run.results["cost_usd"] == 38 * 23 / 1e6
    with pictures_on_both.read() as session:
        assert session.scalar(select(func.count()).select_from(Triple)) == 76
        assert session.scalars(select(Call.cost).distinct()).all() == [23]
    with pytest.raises(UserError, match="there is nothing to collect"):
        collect(pictures_on_both, TASK, settings)
    assert script.requests.total() == 38
    assert generate(pictures_on_both, TASK, settings).results["calls_made"] == 0


def test_requests_without_a_reply_can_be_submitted_again(
    pictures_on_both: Store, serve: Serve
) -> None:
    script = Script(failure_rate=0.4)
    settings = llm_settings(serve(script))
    submit(pictures_on_both, TASK, settings)
    run = collect(pictures_on_both, TASK, settings)
    counts = statuses(pictures_on_both)
    assert counts["answered"] + counts["failed"] == 38
    assert counts["failed"] == run.results["failed_calls"] > 5
    assert set(run.results["failures"]) == {
        "400: too much",
        "the batch ended as completed without a reply",
    }
    script.failure_rate = 0.0
    again = submit(pictures_on_both, TASK, settings)
    assert again.results["newly_submitted"] == counts["failed"]
    collect(pictures_on_both, TASK, settings)
    assert statuses(pictures_on_both) == {"answered": 38}
    assert set(script.replies.values()) == {1}


@pytest.mark.parametrize("fails_at", ["before", "after"])
def test_a_submission_that_broke_off_is_recovered_or_repeated_once(
    pictures_on_both: Store, serve: Serve, fails_at: str
) -> None:
    """The server is asked whether it has the batch, which is never submitted twice."""
    script = Script()
    settings = llm_settings(serve(script))
    script.fails_at = fails_at
    with pytest.raises(UserError, match="server error: 500"):
        submit(pictures_on_both, TASK, settings)
    assert statuses(pictures_on_both) == {"submitted": 38}
    script.fails_at = ""
    again = submit(pictures_on_both, TASK, settings)
    assert again.results["newly_submitted"] == (38 if fails_at == "before" else 0)
    assert len(script.batches) == 1
    collect(pictures_on_both, TASK, settings)
    assert statuses(pictures_on_both) == {"answered": 38}
    assert script.requests.total() == 38


def test_many_requests_are_split_into_files(
    pictures: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_api, "MAX_REQUESTS", 10)
    script = Script()
    settings = llm_settings(serve(script))
    submit(pictures, TASK, settings)
    with pictures.read() as session:
        sizes = session.scalars(select(Submission.requests).order_by(Submission.id)).all()
    assert sizes == [10, 10, 10, 8]
    assert collect(pictures, TASK, settings).results["replies"] == 38


def test_submitted_requests_count_towards_the_budget(pictures: Store, serve: Serve) -> None:
    script = Script()
    settings = llm_settings(serve(script), max_tokens=1000)
    normal, cheap = (estimate_cost(pictures, TASK, settings, batch=flag) for flag in (False, True))
    assert normal.max_cost_usd is not None
    assert cheap.max_cost_usd is not None
    assert cheap.max_cost_usd < 0.52 * normal.max_cost_usd
    budget = llm_settings(settings.base_url, max_tokens=1000, budget=0.005)
    first = submit(pictures, TASK, budget)
    assert 0 < first.results["newly_submitted"] < 38
    assert first.results["stopped"] == "budget_spent"
    assert 0 < first.results["submitted_max_cost_usd"] <= 0.005
    assert submit(pictures, TASK, budget).results["newly_submitted"] == 0
    # The replies cost less than was reserved, which leaves room for more.
    collect(pictures, TASK, budget)
    assert submit(pictures, TASK, budget).results["newly_submitted"] > 0


def test_batches_contain_images(image_store: Store, serve: Serve) -> None:
    script = Script()
    settings = llm_settings(serve(script))
    task = Vision(VisionSettings(side=64))
    assert submit(image_store, task, settings).results["newly_submitted"] == 5
    assert b"data:image/jpeg;base64," in script.files["file-0"]
    assert collect(image_store, task, settings).results["kept"] == 16


def test_a_missing_image_does_not_stop_a_submission(image_store: Store, serve: Serve) -> None:
    with image_store.read() as session:
        root = Path(session.get_one(Source, 1).root)
    (root / "2.png").unlink()
    settings = llm_settings(serve(Script()))
    task = Vision(VisionSettings())
    run = submit(image_store, task, settings)
    assert run.results["newly_submitted"] == 4
    assert "the image is missing" in next(iter(run.results["failures"]))
    assert collect(image_store, task, settings).results["replies"] == 4


def test_replies_are_collected_although_images_were_added(image_store: Store, serve: Serve) -> None:
    """A run is found by its settings, not by its images."""
    settings = llm_settings(serve(Script()))
    task = Vision(VisionSettings())
    submit(image_store, task, settings)
    with image_store.write() as session:
        session.add(Image(id=9, source_id=1, name="9.png", width=9, height=9))
    assert collect(image_store, task, settings).results["replies"] == 5


def test_a_server_without_a_batch_api_is_a_user_error(pictures: Store, serve: Serve) -> None:
    class Old(Script):
        async def create_file(self, request: Any) -> Any:  # noqa: ANN401
            del request
            return JSONResponse({"error": {"message": "no such path"}}, 404)

    with pytest.raises(UserError, match="has no Batch API"):
        submit(pictures, TASK, llm_settings(serve(Old())))
    with pictures.read() as session:
        assert session.scalars(select(Run.status)).all() == ["failed"]
    assert statuses(pictures) == {"failed": 38}, "they can be asked again, without the Batch API"


def test_collecting_without_a_submission_is_a_user_error(pictures: Store, serve: Serve) -> None:
    with pytest.raises(UserError, match="there is nothing to collect"):
        collect(pictures, TASK, llm_settings(serve(Script())))
    with pictures.read() as session:
        assert session.scalars(select(Run.id)).all() == []


class Answering(Script):
    """Ends batches as `status`, with the lines that `change` makes of those of the good replies."""

    def __init__(
        self, change: Callable[[list[bytes]], list[bytes]], status: str = "completed"
    ) -> None:
        super().__init__()
        self.change, self.status = change, status

    def _complete_batch(self, batch: dict[str, Any]) -> None:
        super()._complete_batch(batch)
        batch["status"] = self.status
        name = batch["output_file_id"]
        lines = self.files[name].strip().split(b"\n")
        self.files[name] = b"\n".join(self.change(lines))


def collected(store: Store, script: Script, serve: Serve) -> dict[str, Any]:
    """Results of submitting and collecting 38 requests; those that failed can be asked again."""
    settings = llm_settings(serve(script))
    submit(store, TASK, settings)
    results = collect(store, TASK, settings).results
    assert statuses(store).get("submitted", 0) == 0
    assert results["replies"] + results["failed_calls"] == 38
    again = submit(store, TASK, llm_settings(serve(Script())))
    assert again.results["newly_submitted"] == results["failed_calls"]
    return results


def test_an_unreadable_line_costs_one_request(pictures: Store, serve: Serve) -> None:
    broken = [b"{", b"[1]", b"null", b'"x"', b'{"custom_id": 7}', b"\xff", b'{"custom_id": "me"}']
    script = Answering(lambda lines: [*broken, *lines[len(broken) :]])
    results = collected(pictures, script, serve)
    assert (results["replies"], results["failed_calls"]) == (31, 7)
    assert (results["unreadable_lines"], results["unknown_replies"]) == (6, 1)
    assert results["failures"] == {"the batch ended as completed without a reply": 7}


def test_every_mutated_line_costs_at_most_its_request(
    pictures_on_both: Store, serve: Serve
) -> None:
    def mutate(lines: list[bytes]) -> list[bytes]:
        """Every mutation of the first line, then the others as they are."""
        mutated = mutations(json.loads(lines[0]))
        return [*(json.dumps(line).encode() for line in mutated), *lines[1:]]

    assert collected(pictures_on_both, Answering(mutate), serve)["replies"] >= 37


def test_lines_end_at_line_feeds_only(pictures: Store, serve: Serve) -> None:
    class Separated(Answering):
        def random_words(self, data: dict[str, Any]) -> str:
            return super().random_words(data) + " \u2028\x85 word"

        def write(self, body: dict[str, Any]) -> str:
            return json.dumps(json.loads(super().write(body)), ensure_ascii=False)

    def raw(lines: list[bytes]) -> list[bytes]:
        return [json.dumps(json.loads(line), ensure_ascii=False).encode() for line in lines]

    results = collected(pictures, Separated(raw), serve)
    assert (results["replies"], results["kept"], results["unreadable_lines"]) == (38, 76, 0)


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
def test_requests_of_a_batch_that_ends_early_have_failed(
    pictures: Store, serve: Serve, status: str
) -> None:
    results = collected(pictures, Answering(lambda lines: lines[:5], status), serve)
    assert results["replies"] == 5
    assert results["failures"] == {f"the batch ended as {status} without a reply": 33}


def test_replies_that_the_server_has_deleted_have_failed(pictures: Store, serve: Serve) -> None:
    class Deleted(Script):
        async def file_content(self, request: Any) -> Any:  # noqa: ANN401
            del request
            return JSONResponse({"error": {"message": "no such file"}}, 404)

    results = collected(pictures, Deleted(), serve)
    assert results["failures"] == {"the server has deleted the batch's replies": 38}


def test_a_batch_that_the_server_has_lost_is_written_off_after_two_days(
    pictures: Store, serve: Serve
) -> None:
    script = Script()
    settings = llm_settings(serve(script))
    submit(pictures, TASK, settings)
    script.batches.clear()
    (pending,) = collect(pictures, TASK, settings).results["pending_batches"]
    assert pending["status"].startswith("not known to the server: check the key")
    assert statuses(pictures) == {"submitted": 38}
    with pictures.write() as session:
        session.execute(update(Submission).values(created=Submission.created - 49 * 3_600_000))
    results = collect(pictures, TASK, settings).results
    assert results["failures"] == {"the server does not know the batch any more": 38}


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, True])
@pytest.mark.parametrize("field", ["metadata", "request_counts", "errors", "error_file_id"])
def test_odd_fields_of_a_batch_do_not_stop_its_collection(
    pictures: Store, serve: Serve, field: str, value: object
) -> None:
    class Odd(Script):
        def _complete_batch(self, batch: dict[str, Any]) -> None:
            super()._complete_batch(batch)
            batch[field] = value

    settings = llm_settings(serve(Odd()))
    submit(pictures, TASK, settings)
    assert collect(pictures, TASK, settings).results["replies"] == 38
