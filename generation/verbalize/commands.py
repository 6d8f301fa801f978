"""Commands that put pictures into words: from annotations, by a model here, or behind an API."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from generation.commands import asking
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
    print_result,
    progress_bar,
    settings_from,
    store_option,
)
from regions.errors import UserError

if TYPE_CHECKING:
    from generation.tasks.protocol import Task
    from generation.verbalize.protocol import Describer


@click.group(cls=Group)
def verbalize() -> None:
    """Pictures into words: the whole scene, each region, short questions and answers."""


@verbalize.command("annotations")
@store_option
@as_json_option
def annotations(url: str, *, as_json: bool) -> None:
    """Say what each labelled region is, where and how large; without a model."""
    from generation.verbalize.describers.annotations import Annotations

    _describe(url, Annotations(), 0, as_json=as_json)


def _looking(name: str, settings: type, make: "Callable[..., Describer]", help_: str) -> None:
    """Add a command in which a model of transformers looks at every picture."""

    @verbalize.command(name, help=help_)
    @options_from_dataclass(ModelSettings)
    @options_from_dataclass(settings)
    @click.option(
        "--workers", default=0, help="Workers of Ray (RAY_ADDRESS says where); 0: this process."
    )
    @store_option
    @as_json_option
    def command(*, url: str, workers: int, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401
        model = settings_from(ModelSettings, chosen)
        describer = make(model, settings(**chosen))
        click.echo(describer.stated(), err=True)
        _describe(url, describer, workers, as_json=as_json)


def _describe(url: str, describer: "Describer", workers: int, *, as_json: bool) -> None:
    from generation.verbalize.run import verbalize as describe

    if workers < 0:
        raise UserError(f"{workers} workers", hint="use --workers 1 or more, or leave it out")
    work = None
    if workers:
        from generation.verbalize.ray_workers import on_ray

        work = on_ray(workers)
    run = describe(open_store(url), describer, work=work, progress=progress_bar("images"))
    print_result({"run": run.name, **run.results}, as_json=as_json)


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


_looking(
    "concepts",
    ConceptSettings,
    _concepts,
    "Hold each picture against lists of scenes, objects and activities, by CLIP or SigLIP.",
)
_looking(
    "captions",
    CaptionSettings,
    _captions,
    "Describe each picture, and each region as marked and as cut out, by a model that looks.",
)
asking(
    verbalize,
    "questions",
    QuestionSettings,
    _questions,
    "Let a language model ask what the texts leave open.",
)
_looking(
    "answers",
    AnswerSettings,
    _answers,
    "Answer the questions that were asked, by a model that looks.",
)
asking(
    verbalize,
    "vision",
    VisionSettings,
    _vision,
    "Let a vision model behind an API describe pictures and regions, and answer questions.",
)
