"""What the pages call, without a browser: every mistake comes back as one sentence."""

import base64
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest

from annotator.pages import shell
from annotator.pages.critic import page as critic_page
from annotator.pages.demo import page as demo_page
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


def calls(functions: list[Any]) -> dict[str, Call]:
    """The functions as the page's script has them."""
    return {function.__name__: shell.catch_user_errors(function) for function in functions}


@pytest.fixture
def on_demo(demo_store: Store) -> dict[str, Call]:
    return calls(demo_page.actions(demo_store))


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
    ],
    ids=["broken gif", "html", "truncated", "no base64", "an address", "nothing", "22 megabytes"],
)
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

    assert shell.catch_user_errors(mistaken)({}) == {"error": "no such thing: look again"}
    with pytest.raises(ZeroDivisionError):
        shell.catch_user_errors(broken)({})
