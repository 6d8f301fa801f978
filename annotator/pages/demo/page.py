"""The demo page: select regions of an image and ask a student; see how students were trained."""

from typing import Any

import gradio as gr

from annotator.jobs import ask_service
from annotator.jobs.training_job import TrainingJob
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
    """Functions that the page calls; each imports what it needs, so that the page opens fast."""
    job = TrainingJob(store, "student")

    def overview() -> dict[str, Any]:
        from student import page_data

        return to_json(page_data.overview(store)) | {"training": to_json(job.state())}

    def image(image: int) -> dict[str, Any]:
        from student import page_data

        return to_json(page_data.annotated_image(store, image))

    def upload(data: str) -> dict[str, int]:
        width, height = ask_service.decode_data_url(data).size
        return {"width": width, "height": height}

    def train(release: str, kind: str) -> dict[str, Any]:
        job.start(["train", "--release", release, "--kind", kind, *_QUICK])
        return to_json(job.state())

    def progress() -> dict[str, Any]:
        from student import page_data

        latest = page_data.current_training(store)
        return to_json(job.state()) | {"latest": to_json(latest) if latest else None}

    def learning_curves() -> list[dict[str, Any]]:
        from student import page_data

        return [to_json(curve) for curve in page_data.learning_curves(store)]

    def compare() -> dict[str, Any]:
        from student.benchmarks.compare import compare as compare_students

        return to_json(compare_students(store, []))

    def errors(student: str, benchmark: str, start: int) -> dict[str, Any]:
        from student import page_data

        return to_json(page_data.error_page(store, student, benchmark, start))

    return [overview, image, upload, train, progress, learning_curves, compare, errors]
