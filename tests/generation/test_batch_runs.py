"""Runs by the Batch API: requests are submitted in files, answered later, and paid once."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

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

TASK = Triples(TripleSettings(samples=2, per_call=2))


def llm_settings(url: str, **settings: Any) -> LLMSettings:  # noqa: ANN401
    given = {"concurrency": 4, "timeout": 2.0, "attempts": 2, **settings}
    return LLMSettings(model="gpt-4o-mini", base_url=url, **given)


def statuses(store: Store) -> dict[str, int]:
    with store.read() as session:
        query = select(Call.status, func.count()).group_by(Call.status)
        return dict(session.execute(query).all())


def test_submitted_requests_are_collected_later(pictures: Store, serve: Serve) -> None:
    script = Script()
    script.completes_batches = False
    settings = llm_settings(serve(script))
    submitted = submit(pictures, TASK, settings)
    assert submitted.results["newly_submitted"] == 38
    assert submitted.results["skipped_images"] == {"no regions": 1}
    assert (submitted.status, statuses(pictures)) == ("running", {"submitted": 38})
    # There are no replies yet, and no request is sent twice.
    early = collect(pictures, TASK, settings)
    assert early.results["submitted"] == 38
    assert early.results["pending_batches"] == [
        {"batch": "batch-0", "status": "in_progress", "answered": 0, "requests": 38}
    ]
    assert submit(pictures, TASK, settings).results["newly_submitted"] == 0
    assert generate(pictures, TASK, settings).results["calls_made"] == 0
    script.completes_batches = True
    run = collect(pictures, TASK, settings)
    assert (run.status, statuses(pictures)) == ("done", {"answered": 38})
    assert run.results["kept"] == 76
    assert run.results["submitted"] == 0
    # 100 and 50 tokens each, at half of $0.15 and $0.60 a million.
    assert run.results["cost_usd"] == 38 * 23 / 1e6
    with pictures.read() as session:
        assert session.scalar(select(func.count()).select_from(Triple)) == 76
        assert session.scalars(select(Call.cost).distinct()).all() == [23]
    with pytest.raises(UserError, match="there is nothing to collect"):
        collect(pictures, TASK, settings)
    assert script.requests.total() == 38
    assert generate(pictures, TASK, settings).results["calls_made"] == 0


def test_requests_without_a_reply_can_be_submitted_again(pictures: Store, serve: Serve) -> None:
    script = Script(failure_rate=0.4)
    settings = llm_settings(serve(script))
    submit(pictures, TASK, settings)
    run = collect(pictures, TASK, settings)
    counts = statuses(pictures)
    assert counts["answered"] + counts["failed"] == 38
    assert counts["failed"] == run.results["failed_calls"] > 5
    assert set(run.results["failures"]) == {
        "400: too much",
        "the batch ended as completed without a reply",
    }
    script.failure_rate = 0.0
    again = submit(pictures, TASK, settings)
    assert again.results["newly_submitted"] == counts["failed"]
    collect(pictures, TASK, settings)
    assert statuses(pictures) == {"answered": 38}
    assert set(script.replies.values()) == {1}


@pytest.mark.parametrize("fails_at", ["before", "after"])
def test_a_submission_that_broke_off_is_recovered_or_repeated_once(
    pictures: Store, serve: Serve, fails_at: str
) -> None:
    """The server is asked whether it has the batch, which is never submitted twice."""
    script = Script()
    settings = llm_settings(serve(script))
    script.fails_at = fails_at
    with pytest.raises(UserError, match="Error code: 500"):
        submit(pictures, TASK, settings)
    assert statuses(pictures) == {"submitted": 38}
    script.fails_at = ""
    again = submit(pictures, TASK, settings)
    assert again.results["newly_submitted"] == (38 if fails_at == "before" else 0)
    assert len(script.batches) == 1
    collect(pictures, TASK, settings)
    assert statuses(pictures) == {"answered": 38}
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
            from starlette.responses import JSONResponse

            del request
            return JSONResponse({"error": {"message": "no such path"}}, 404)

    with pytest.raises(UserError, match="has no Batch API"):
        submit(pictures, TASK, llm_settings(serve(Old())))
    with pictures.read() as session:
        assert session.scalars(select(Run.status)).all() == ["failed"]


def test_collecting_without_a_submission_is_a_user_error(pictures: Store, serve: Serve) -> None:
    with pytest.raises(UserError, match="there is nothing to collect"):
        collect(pictures, TASK, llm_settings(serve(Script())))
    with pictures.read() as session:
        assert session.scalars(select(Run.id)).all() == []
