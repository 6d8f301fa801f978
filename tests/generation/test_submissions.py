"""Submit, leave, collect: requests in files, answered later, for half the price, each paid once."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from db.schema import Call, Image, Run, Source, Submission, Triple
from db.store.session import Store
from generation.llm import batch_api
from generation.runs.batch_runs import collect, submit
from generation.runs.cost_estimate import plan
from generation.runs.run import generate
from generation.settings import LLMSettings, TripleSettings
from generation.tasks.triples import Triples
from generation.verbalize.describers.vision import Vision
from generation.verbalize.settings import VisionSettings
from regions.errors import UserError
from tests.generation.llm_server import Script, Serve

TASK = Triples(TripleSettings(samples=2, per_call=2))


def asking(url: str, **settings: Any) -> LLMSettings:  # noqa: ANN401
    given = {"concurrency": 4, "timeout": 2.0, "attempts": 2, **settings}
    return LLMSettings(model="gpt-4o-mini", base_url=url, **given)


def statuses(store: Store) -> dict[str, int]:
    with store.read() as session:
        query = select(Call.status, func.count()).group_by(Call.status)
        return dict(session.execute(query).all())


def test_submit_leave_collect(pictures: Store, serve: Serve) -> None:
    script = Script()
    script.answers_files = False
    settings = asking(serve(script))
    handed_in = submit(pictures, TASK, settings)
    assert handed_in.results["newly submitted"] == 38
    assert handed_in.results["images with no regions"] == 1
    assert (handed_in.status, statuses(pictures)) == ("running", {"submitted": 38})
    # It is not answered yet, and nobody asks a second time.
    early = collect(pictures, TASK, settings)
    assert early.results["submitted"] == 38
    assert early.results["batch-0"] == "in_progress, 0 of 38"
    assert submit(pictures, TASK, settings).results["newly submitted"] == 0
    assert generate(pictures, TASK, settings).results["calls made"] == 0
    script.answers_files = True
    done = collect(pictures, TASK, settings)
    assert (done.status, statuses(pictures)) == ("done", {"answered": 38})
    assert done.results["kept triples"] == 76
    assert "submitted" not in done.results
    # 100 and 50 tokens each, at half of $0.15 and $0.60 a million.
    assert done.results["cost"] == f"${38 * 23 / 1e6:.4f}"
    with pictures.read() as session:
        assert session.scalar(select(func.count()).select_from(Triple)) == 76
        assert session.scalars(select(Call.cost).distinct()).all() == [23]
    with pytest.raises(UserError, match="nothing waits"):
        collect(pictures, TASK, settings)
    assert script.asked.total() == 38
    assert generate(pictures, TASK, settings).results["calls made"] == 0


def test_what_the_server_did_not_answer_can_be_asked_again(pictures: Store, serve: Serve) -> None:
    script = Script(trouble=0.4)
    settings = asking(serve(script))
    submit(pictures, TASK, settings)
    done = collect(pictures, TASK, settings)
    found = statuses(pictures)
    assert found["answered"] + found["failed"] == 38
    assert found["failed"] == done.results["failed calls"] > 5
    assert set(done.results["failures"]) == {
        "400: too much",
        "the submission ended as completed, without a reply",
    }
    script.trouble = 0.0
    again = submit(pictures, TASK, settings)
    assert again.results["newly submitted"] == found["failed"]
    collect(pictures, TASK, settings)
    assert statuses(pictures) == {"answered": 38}
    assert set(script.replied.values()) == {1}


@pytest.mark.parametrize("breaks_at", ["before", "after"])
def test_a_break_while_it_is_handed_in(pictures: Store, serve: Serve, breaks_at: str) -> None:
    """Whether the server has it or not: it is looked for there, and never handed in twice."""
    script = Script()
    settings = asking(serve(script))
    script.breaks_at = breaks_at
    with pytest.raises(UserError, match="Error code: 500"):
        submit(pictures, TASK, settings)
    assert statuses(pictures) == {"submitted": 38}
    script.breaks_at = ""
    again = submit(pictures, TASK, settings)
    assert again.results["newly submitted"] == (38 if breaks_at == "before" else 0)
    assert len(script.batches) == 1
    collect(pictures, TASK, settings)
    assert statuses(pictures) == {"answered": 38}
    assert script.asked.total() == 38


def test_many_requests_are_several_files(
    pictures: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_api, "MOST_REQUESTS", 10)
    script = Script()
    settings = asking(serve(script))
    submit(pictures, TASK, settings)
    with pictures.read() as session:
        sizes = session.scalars(select(Submission.requests).order_by(Submission.id)).all()
    assert sizes == [10, 10, 10, 8]
    assert collect(pictures, TASK, settings).results["replies"] == 38


def test_what_is_submitted_counts_towards_the_budget(pictures: Store, serve: Serve) -> None:
    script = Script()
    settings = asking(serve(script), max_tokens=1000)
    dear, cheap = (plan(pictures, TASK, settings, later=flag) for flag in (False, True))
    assert float(cheap["cost, at most"][1:]) < 0.52 * float(dear["cost, at most"][1:])
    budget = asking(settings.base_url, max_tokens=1000, budget=0.005)
    first = submit(pictures, TASK, budget)
    handed_in = first.results["newly submitted"]
    assert 0 < handed_in < 38
    assert first.results["stopped"] == "the budget is spent"
    assert float(first.results["cost of what is submitted, at most"][1:]) <= 0.005
    assert submit(pictures, TASK, budget).results["newly submitted"] == 0
    # What came back cost less than what was held, so that there is room for more.
    collect(pictures, TASK, budget)
    assert submit(pictures, TASK, budget).results["newly submitted"] > 0


def test_pictures_go_along(seen: Store, serve: Serve) -> None:
    script = Script()
    settings = asking(serve(script))
    task = Vision(VisionSettings(side=64))
    assert submit(seen, task, settings).results["newly submitted"] == 5
    assert b"data:image/jpeg;base64," in script.files["file-0"]
    assert collect(seen, task, settings).results["kept verbalizations"] == 16


def test_a_picture_that_is_missing_keeps_no_other_back(seen: Store, serve: Serve) -> None:
    with seen.read() as session:
        root = Path(session.get_one(Source, 1).root)
    (root / "2.png").unlink()
    settings = asking(serve(Script()))
    task = Vision(VisionSettings())
    handed_in = submit(seen, task, settings)
    assert handed_in.results["newly submitted"] == 4
    assert "the image is missing" in next(iter(handed_in.results["failures"]))
    assert collect(seen, task, settings).results["replies"] == 4


def test_new_pictures_do_not_keep_replies_away(seen: Store, serve: Serve) -> None:
    """A run is found by what was asked, though the store has grown."""
    settings = asking(serve(Script()))
    task = Vision(VisionSettings())
    submit(seen, task, settings)
    with seen.write() as session:
        session.add(Image(id=9, source_id=1, name="9.png", width=9, height=9))
    assert collect(seen, task, settings).results["replies"] == 5


def test_a_server_that_takes_no_files(pictures: Store, serve: Serve) -> None:
    class Old(Script):
        async def take_file(self, request: Any) -> Any:  # noqa: ANN401
            from starlette.responses import JSONResponse

            del request
            return JSONResponse({"error": {"message": "no such path"}}, 404)

    with pytest.raises(UserError, match="takes no files of requests"):
        submit(pictures, TASK, asking(serve(Old())))
    with pictures.read() as session:
        assert session.scalars(select(Run.status)).all() == ["failed"]


def test_nothing_was_submitted(pictures: Store, serve: Serve) -> None:
    with pytest.raises(UserError, match="nothing waits"):
        collect(pictures, TASK, asking(serve(Script())))
    with pictures.read() as session:
        assert session.scalars(select(Run.id)).all() == []
