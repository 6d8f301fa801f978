"""The page of generation: what is known of a picture, what a model makes of it, what it costs."""

from typing import Any

import gradio as gr

from annotator.jobs import generation_job
from annotator.pages import shell
from db.store.session import Store


def build(store: Store) -> gr.Blocks:
    """The page over a store; what it calls is below."""
    with gr.Blocks() as page:
        shell.render_shell("generate", actions(store))
    return page


def actions(store: Store) -> list[Any]:
    """What the page may call."""
    writer = generation_job.Writer(store)

    def overview() -> dict[str, Any]:
        from generation import page_data

        told = {
            "tasks": generation_job.TASKS,
            "server": generation_job.address(),
            "writer": writer.state(),
        }
        return page_data.overview(store) | told

    def picture(task: str, after: int) -> dict[str, Any]:
        from generation import page_data

        return page_data.picture(store, generation_job.task_of(task), after)

    def cost(task: str, model: str, samples: int, budget: float) -> dict[str, Any]:
        from generation.runs.cost_estimate import plan

        chosen = generation_job.task_of(task, samples=samples)
        return plan(store, chosen, generation_job.settings_of(model, budget))

    def try_out(task: str, model: str, budget: float, image: int) -> dict[str, Any]:
        from generation import page_data
        from generation.runs.run import generate

        settings = generation_job.settings_of(model, budget)
        run = generate(store, generation_job.task_of(task), settings, only=[image])
        return page_data.written(store, run.name, image)

    def start(task: str, model: str, samples: int, budget: float) -> dict[str, Any]:
        chosen = generation_job.task_of(task, samples=samples)
        writer.start(chosen, generation_job.settings_of(model, budget))
        return writer.state()

    def pause() -> dict[str, Any]:
        writer.pause()
        return writer.state()

    return [overview, picture, cost, try_out, start, pause]
