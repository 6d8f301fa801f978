"""The demo page: point at regions of a picture and ask the student; see how students learn."""

from typing import Any

import gradio as gr

from annotator.jobs import ask_service
from annotator.jobs.training_job import Trainer
from annotator.pages import shell
from db.store.session import Store


def build(store: Store) -> gr.Blocks:
    """The page over a store; what it calls is below."""
    with gr.Blocks() as page:
        shell.render_shell("demo", actions(store))
    return page


def actions(store: Store) -> list[Any]:
    """What the page may call. Models are imported when they are needed, not with the page."""
    trainer = Trainer(store, "student")

    def overview() -> dict[str, Any]:
        from student import page_data

        return page_data.overview(store) | {"training": trainer.state()}

    def picture(image: int) -> dict[str, Any]:
        from student import page_data

        return page_data.picture(store, image)

    def upload(data: str) -> dict[str, int]:
        width, height = ask_service.decoded(data).size
        return {"width": width, "height": height}

    def train(release: str, kind: str) -> dict[str, Any]:
        trainer.start(["train", "--release", release, "--kind", kind])
        return trainer.state()

    def progress() -> dict[str, Any]:
        from student import page_data

        return trainer.state() | {"latest": page_data.latest(store)}

    def learning() -> list[dict[str, Any]]:
        from student import page_data

        return page_data.learning(store)

    def table() -> list[dict[str, Any]]:
        from student.benchmarks.evaluate import table as rows

        return rows(store, [])

    def errors(student: str, benchmark: str, first: int) -> dict[str, Any]:
        from student import page_data

        return page_data.errors(store, student, benchmark, first)

    return [overview, picture, upload, train, progress, learning, table, errors]
