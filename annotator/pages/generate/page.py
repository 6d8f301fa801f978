"""The generate page: an image's texts, the prompt made of them, its cost, and generation runs."""

from typing import Any

import gradio as gr

from annotator.jobs import generation_job
from annotator.pages import shell
from db.store.results import to_json
from db.store.session import Store


def build(store: Store) -> gr.Blocks:
    """Return the page over a store."""
    with gr.Blocks() as page:
        shell.render_shell("generate", actions(store))
    return page


def actions(store: Store) -> list[Any]:
    """Return the functions that the page's script calls; they return JSON."""
    job = generation_job.GenerationJob(store)

    def overview() -> dict[str, Any]:
        from generation import page_data

        return to_json(page_data.overview(store)) | {
            "tasks": generation_job.TASKS,
            "server": generation_job.base_url(),
            "job": to_json(job.state()),
        }

    def preview(task: str, after: int) -> dict[str, Any]:
        from generation import page_data

        return to_json(page_data.image_preview(store, generation_job.make_task(task), after))

    def estimate(task: str, model: str, samples: int, budget: float) -> dict[str, Any]:
        from generation.runs.cost_estimate import estimate_cost

        settings = generation_job.llm_settings(model, budget)
        return to_json(
            estimate_cost(store, generation_job.make_task(task, samples=samples), settings)
        )

    def try_out(task: str, model: str, budget: float, image: int) -> dict[str, Any]:
        from generation import page_data
        from generation.runs.run import generate

        settings = generation_job.llm_settings(model, budget)
        run = generate(store, generation_job.make_task(task), settings, only=[image])
        return to_json(page_data.run_output(store, run.name, image))

    def start(task: str, model: str, samples: int, budget: float) -> dict[str, Any]:
        settings = generation_job.llm_settings(model, budget)
        job.start(generation_job.make_task(task, samples=samples), settings)
        return to_json(job.state())

    def pause() -> dict[str, Any]:
        job.pause()
        return to_json(job.state())

    return [overview, preview, estimate, try_out, start, pause]
