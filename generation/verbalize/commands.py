"""The commands of `lskd verbalize`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from generation.task_command import add_task_command, print_results
from generation.verbalize.settings import (
    AnswerSettings,
    CaptionSettings,
    ConceptSettings,
    ModelSettings,
    QuestionSettings,
    VisionSettings,
)
from lskd_console import (
    Group,
    as_json_option,
    open_store,
    options_from_dataclass,
    progress_bar,
    settings_from,
    store_option,
)
from regions.errors import InvalidError

if TYPE_CHECKING:
    from generation.tasks.protocol import Task
    from generation.verbalize.protocol import Describer


@click.group(cls=Group)
def verbalize() -> None:
    """Describe images and regions in words.

    Texts about the whole image, about each region, and answers to questions: what a language
    model reads in `lskd generate`.
    """


@verbalize.command("annotations")
@store_option
@as_json_option
def annotations(url: str, *, as_json: bool) -> None:
    """Describe labelled regions without a model.

    Texts say what each region is, where it lies and how large it is.
    """
    from generation.verbalize.describers.annotations import Annotations

    _describe(url, Annotations(), 0, as_json=as_json)


def _add_describer_command(
    name: str, settings: type, make: "Callable[..., Describer]", help_: str
) -> None:
    """Add a command that runs a model of transformers over all images."""

    @verbalize.command(name, help=help_)
    @options_from_dataclass(ModelSettings)
    @options_from_dataclass(settings)
    @click.option(
        "--workers",
        default=0,
        help="Ray workers, on the cluster at RAY_ADDRESS if set; 0: without Ray.",
    )
    @store_option
    @as_json_option
    def command(*, url: str, workers: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401
        model = settings_from(ModelSettings, options)
        describer = make(model, settings(**options))
        click.echo(describer.device_summary(), err=True)
        _describe(url, describer, workers, as_json=as_json)


def _describe(url: str, describer: "Describer", workers: int, *, as_json: bool) -> None:
    from generation.verbalize.run import verbalize as run_describer

    if workers < 0:
        raise InvalidError(f"--workers must be 0 or more (got {workers})")
    runner = None
    if workers:
        from generation.verbalize.ray_workers import ray_runner

        runner = ray_runner(workers)
    progress = progress_bar("images")
    run = run_describer(open_store(url), describer, run_batches=runner, progress=progress)
    print_results({"run": run.name, **run.results}, as_json=as_json)


def _concepts(model: ModelSettings, settings: ConceptSettings) -> "Describer":
    from generation.verbalize.describers.concepts import Concepts

    return Concepts(model, settings)


def _captions(model: ModelSettings, settings: CaptionSettings) -> "Describer":
    from generation.verbalize.describers.captions import Captions

    return Captions(model, settings)


def _answers(model: ModelSettings, settings: AnswerSettings) -> "Describer":
    from generation.verbalize.describers.answers import Answers

    return Answers(model, settings)


def _questions(settings: QuestionSettings) -> "Task":
    from generation.verbalize.describers.questions import Questions

    return Questions(settings)


def _vision(settings: VisionSettings) -> "Task":
    from generation.verbalize.describers.vision import Vision

    return Vision(settings)


_add_describer_command(
    "concepts",
    ConceptSettings,
    _concepts,
    "Match images to lists of concepts with CLIP or SigLIP.",
)
_add_describer_command(
    "captions",
    CaptionSettings,
    _captions,
    "Caption images and regions with a local model.",
)
add_task_command(
    verbalize,
    "questions",
    QuestionSettings,
    _questions,
    "Ask what the texts leave open, with a language model.",
)
_add_describer_command(
    "answers",
    AnswerSettings,
    _answers,
    "Answer open questions with a local model.",
)
add_task_command(
    verbalize,
    "vision",
    VisionSettings,
    _vision,
    "Describe images with a vision model behind an API.",
)
