"""What the pages call, without a browser: every mistake comes back as one sentence."""

import base64
import io
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sqlalchemy import update
from starlette.exceptions import HTTPException
from starlette.requests import Request

from annotator.accounts.sessions import CurrentUser
from annotator.jobs.training_job import TrainingJob
from annotator.pages import shell
from annotator.pages.critic import page as critic_page
from annotator.pages.demo import page as demo_page
from db.images import image_files
from db.schema import Batch, Role, Run
from db.store import runs
from db.store.session import Store
from regions.errors import UserError

Call = Callable[..., Any]


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


def flat_png(width: int, height: int) -> bytes:
    """A picture of one bit for each pixel, in a small file."""
    file = io.BytesIO()
    PIL.Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


def calls(functions: list[Any], role: Role = "admin") -> dict[str, Call]:
    """The functions as the page's script of a person with this role has them."""
    scope = {"type": "http", "state": {"user": CurrentUser(1, "somebody", role)}}
    request = Request(scope)
    adapted = {f.__name__: shell.catch_user_errors(f) for f in functions}
    return {name: partial(call, request=request) for name, call in adapted.items()}


@pytest.fixture
def on_demo(demo_store: Store) -> dict[str, Call]:
    return calls(demo_page.actions(demo_store))


@pytest.fixture
def student(demo_store: Store) -> None:
    """A finished run, which has no files: enough to be asked."""
    with demo_store.write() as session:
        runs.finish(session, runs.start(session, "student", settings={}).id, {})


@pytest.fixture
def on_critic(demo_store: Store) -> dict[str, Call]:
    return calls(
        [
            *critic_page.viewing(demo_store),
            *critic_page.training(demo_store),
            *critic_page.labelling(demo_store),
            *critic_page.releasing(demo_store),
        ]
    )


@pytest.mark.usefixtures("student")
def test_an_upload_is_decoded_and_not_stored(on_demo: dict[str, Call], demo_store: Store) -> None:
    assert on_demo["upload"]({"data": data_url(png(60, 40))}) == {"width": 60, "height": 40}
    assert {f.name for f in demo_store.folder.iterdir()} <= {
        "store.db",
        "store.db-wal",
        "store.db-shm",
    }


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (data_url(b"GIF89a"), "not a picture"),
        (data_url(b"<html><script>alert(1)</script>"), "not a picture"),
        (data_url(png(60, 40)[:-300]), "damaged"),
        ("data:image/png;base64,!!!", "not a picture"),
        ("https://example.org/a.png", "not a picture"),
        ("", "not a picture"),
        ("data:image/png;base64," + "A" * 30_000_000, "too large"),
        (data_url(flat_png(8000, 5001)), "smaller than 40 megapixels"),
    ],
    ids=[
        *("broken gif", "html", "truncated", "no base64", "an address", "nothing"),
        *("22 megabytes", "40 megapixels"),
    ],
)
@pytest.mark.usefixtures("student")
def test_an_invalid_upload_is_answered_in_one_sentence(
    on_demo: dict[str, Call], data: str, what: str
) -> None:
    answer = on_demo["upload"]({"data": data})
    assert what in answer["error"]
    assert "\n" not in answer["error"]


def test_without_a_student_the_page_offers_pictures(on_demo: dict[str, Call]) -> None:
    seen = on_demo["overview"]({})
    assert (seen["students"], seen["releases"]) == ([], [])
    assert len(seen["images"]) == 12
    picture = on_demo["image"]({"image": seen["images"][0]["id"]})
    assert picture["image"]["licence"]
    assert picture["regions"][0]["box"]


@pytest.mark.slow
def test_a_failed_training_reports_its_reason(on_demo: dict[str, Call]) -> None:
    state = on_demo["train"]({"release": "none", "kind": "generative"})
    while state["is_running"]:
        time.sleep(0.2)
        state = on_demo["progress"]({})
    assert "no release named 'none'" in state["error"]


def test_the_run_of_a_killed_training_is_failed(
    demo_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with demo_store.write() as session:  # as the training itself would
        run = runs.start(session, "critic", settings={})
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -KILL $$\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    job = TrainingJob(demo_store)
    job.start([])
    while (state := job.state()).is_running:
        pass
    assert state.error == "the process ended without a message"
    with demo_store.read() as session:
        assert session.get_one(Run, run.id).status == "failed"


def trained(on_critic: dict[str, Call], *, simulated: bool) -> dict[str, Any]:
    """What a training in the background came to."""
    state = on_critic["train"]({"kind": "baseline", "simulated": simulated})
    assert state["is_running"]
    assert "running already" in on_critic["train"]({"kind": "text", "simulated": True})["error"]
    while state["is_running"]:
        time.sleep(0.2)
        state = on_critic["training_state"]({})
    return dict(state)


@pytest.mark.slow
def test_the_critics_page_from_no_votes_to_a_release(on_critic: dict[str, Call]) -> None:
    seen = on_critic["overview"]({})
    assert seen["critics"] == []
    assert "40 more labelled triples" in seen["labels"]["people"]["missing"]
    assert "too few labels" in trained(on_critic, simulated=False)["error"]
    assert on_critic["simulate"]({}) == {"votes": 471}
    name = trained(on_critic, simulated=True)["run"]
    curve = on_critic["curve"]({"run": name})
    assert len(curve["kept"]) == 101
    rows = on_critic["triples"]({"run": name, "threshold": 0.5})
    assert len(rows) == 8
    form = {"run": name, "threshold": 0.5, "name": "pilot", "note": "a try", "limits": {}}
    assert "simulated votes" in on_critic["release"]({**form, "simulated": False})["error"]
    assert on_critic["release"]({**form, "simulated": True})["name"] == "pilot"
    assert "already exists" in on_critic["release"]({**form, "simulated": True})["error"]
    assert on_critic["slices"]({"run": name, "threshold": 0.5, "dimension": "kind"})
    assert len(on_critic["compare"]({})["rows"]) == 2
    target = {"run": name, "target": 0.3, "confidence": 0.6}
    assert set(on_critic["certify"](target)) > {"threshold", "labels_needed"}
    options = on_critic["labeling_options"]({"run": name, "threshold": 0.5, "size": 10})
    assert options["estimate"]["forecast"]["available"] == 0
    batch = {"run": name, "threshold": 0.5, "purpose": "estimate", "size": 10}
    assert "no unlabelled triple" in on_critic["create_batch"](batch)["error"]
    retraining = {"kind": "baseline", "simulated": True}
    assert on_critic["retrain"]({"every": 50, **retraining})["votes"] == 0
    assert on_critic["retrain"]({"every": 0, **retraining}) == {"every": 0}
    assert "`pilot`" in on_critic["card"]({"name": "pilot"})["text"]
    limited = {**form, "name": "few", "limits": {"per_image": 2}, "simulated": True}
    assert on_critic["release"](limited)["kept"] <= 24
    both = on_critic["compare_releases"]({"first": "pilot", "second": "few"})
    assert both["only_second"]["triples"] == 0


def test_only_user_errors_become_messages() -> None:
    def mistaken() -> None:
        raise UserError("no such thing", hint="look again")

    def broken() -> None:
        raise ZeroDivisionError

    adapted = calls([mistaken, broken])
    assert adapted["mistaken"]({}) == {"error": "no such thing: look again"}
    with pytest.raises(ZeroDivisionError):
        adapted["broken"]({})


@pytest.mark.usefixtures("student")
def test_pictures_are_decoded_one_at_a_time(
    on_demo: dict[str, Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many at once took gigabytes; those beyond a few are told to come again."""
    inside, most = 0, 0

    def decode(*_: object) -> PIL.Image.Image:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        is_full.wait()
        inside -= 1
        return PIL.Image.new("RGB", (6, 4))

    is_full = threading.Event()
    monkeypatch.setattr(image_files, "decode", decode)

    def upload(_: int) -> dict[str, Any]:
        answer: dict[str, Any] = on_demo["upload"]({"data": data_url(b"x")})
        if "error" in answer:
            is_full.set()
        return answer

    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(upload, range(9)))
    assert most == 1
    assert [a["error"] for a in answers if "error" in a] == [
        "too many people ask at the moment: try again in a minute"
    ]


def test_no_picture_is_decoded_for_a_student_that_does_not_exist(
    on_demo: dict[str, Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "decode", lambda *_: pytest.fail("decoded"))
    assert "no student" in on_demo["upload"]({"data": data_url(png(6, 4))})["error"]


def test_annotators_ask_and_researchers_train(demo_store: Store) -> None:
    ann = calls(demo_page.actions(demo_store), "annotator")
    for name in ("train", "learning_curves", "compare", "errors"):
        with pytest.raises(HTTPException, match="requires the role researcher"):
            ann[name]({})
    assert ann["progress"]({})["is_running"] is False


def test_annotators_are_offered_the_pictures_that_they_may_label(demo_store: Store) -> None:
    ann = calls(demo_page.actions(demo_store), "annotator")
    assert len(ann["overview"]({})["images"]) == 12
    with demo_store.write() as session:
        session.execute(update(Batch).values(open=False))
    assert ann["overview"]({})["images"] == []
    assert ann["image"]({"image": 1}) == {"error": "no such image (1)"}


@pytest.mark.parametrize(
    "arguments",
    [{"release": 7, "kind": "x"}, {"release": "x"}, {"kind": "x", "release": "x", "user": 1}, [1]],
)
def test_arguments_of_other_types_are_an_error(on_demo: dict[str, Call], arguments: object) -> None:
    assert set(on_demo["train"](arguments)) == {"error"}
