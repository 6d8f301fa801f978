"""The demo page: select regions of an image and ask a student; see how students were trained."""

from dataclasses import replace
from typing import Any

import gradio as gr

from annotator.accounts.sessions import CurrentUser
from annotator.jobs import ask_service
from annotator.jobs.training_job import TrainingJob
from annotator.labelling.visibility import may_see, visible_image
from annotator.pages import shell
from db.store.results import to_json
from db.store.session import Store

_QUICK = ("--steps", "100", "--base-steps", "200")
"""Half the default: a first student is there to be looked at, within a minute."""


def build(store: Store) -> gr.Blocks:
    """The page over a store."""
    with gr.Blocks() as page:
        shell.render_shell("demo", actions(store))
    return page


def actions(store: Store) -> list[Any]:
    """Functions that the page calls; each imports what it needs, so that the page opens fast.

    Annotators ask students about pictures that they may see; what remains is for researchers.
    """
    job = TrainingJob(store, "student")

    def overview(user: CurrentUser) -> dict[str, Any]:
        from student import page_data

        with store.read() as session:
            data = page_data.overview(store)
            images = [item for item in data.images if may_see(session, user, item["id"])]
        shown = replace(data, images=images)
        return to_json(shown) | {"training": to_json(job.state())}

    def image(image: int, user: CurrentUser) -> dict[str, Any]:
        from student import page_data

        with store.read() as session:
            visible_image(session, user, image)
        return to_json(page_data.annotated_image(store, image))

    def upload(data: str) -> dict[str, int]:
        width, height = ask_service.upload_size(store, data)
        return {"width": width, "height": height}

    @shell.requires("researcher")
    def train(release: str, kind: str) -> dict[str, Any]:
        job.start(["train", "--release", release, "--kind", kind, *_QUICK])
        return to_json(job.state())

    def progress() -> dict[str, Any]:
        from student import page_data

        latest = page_data.current_training(store)
        return to_json(job.state()) | {"latest": to_json(latest) if latest else None}

    @shell.requires("researcher")
    def learning_curves() -> list[dict[str, Any]]:
        from student import page_data

        return [to_json(curve) for curve in page_data.learning_curves(store)]

    @shell.requires("researcher")
    def compare() -> dict[str, Any]:
        from student.benchmarks.compare import compare as compare_students

        return to_json(compare_students(store, []))

    @shell.requires("researcher")
    def errors(student: str, benchmark: str, start: int) -> dict[str, Any]:
        from student import page_data

        return to_json(page_data.error_page(store, student, benchmark, start))

    return [overview, image, upload, train, progress, learning_curves, compare, errors]
