"""Commands of the student: train, ask, evaluate, compare, publish, convert."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lskd_console import (
    Command,
    Group,
    OptionWithAliases,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    progress_bar,
    store_option,
)
from student.settings import TrainSettings

if TYPE_CHECKING:
    from regions.geometry import Region
    from student.benchmarks.compare import Comparison
    from student.benchmarks.evaluate import Errors, EvaluationReport
    from student.training.resource_estimate import ResourceEstimate


def student_loader() -> Any:  # noqa: ANN401 - a `student.asking.inference.StudentLoader`
    """How runs' students are loaded; the command line sets a loader that knows the baseline."""
    from student.asking.inference import load_student

    return click.get_current_context().find_root().obj or load_student


run_option = click.option("--run", "name", help="A student run; default: the newest.")


def limit_option(default: int, help_text: str) -> "Callable[[Command], Command]":
    """`--limit`, which was `--most`."""
    return click.option(
        "--limit",
        default=default,
        show_default=True,
        cls=OptionWithAliases,
        aliases=["--most"],
        help=help_text,
    )


@click.group(cls=Group)
def student() -> None:
    """Train students on releases, ask and evaluate them."""


@student.command("train")
@options_from_dataclass(TrainSettings)
@click.option("--forecast", "only_forecast", is_flag=True, help="Only estimate memory and time.")
@store_option
@as_json_option
def student_train(url: str, *, only_forecast: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Train a student on a release; resumes a stopped run."""
    from blip2.training import distributed
    from student.training.train import forecast, train

    store, settings = open_store(url), TrainSettings(**chosen)
    if only_forecast:
        print_result(forecast(store, settings), as_json=as_json)
        return

    def on_forecast(estimate: "ResourceEstimate") -> None:
        click.echo(
            f"about {estimate.memory_gib} GiB on {estimate.device}, {estimate.minutes} minutes for"
            f" {estimate.steps} steps",
            err=True,
        )

    run = train(store, settings, progress_bar("steps"), on_forecast=on_forecast)
    if distributed.is_main():
        applicable = {name: value for name, value in run.results.items() if value is not None}
        print_result({"run": run.name, **applicable}, as_json=as_json)


@student.command("baseline")
@click.option("--captioner", required=True, help="Image captioning model: name or folder.")
@click.option("--model", required=True, help="Language model, as the server names it.")
@click.option(
    "--base-url",
    default="https://api.openai.com/v1",
    show_default=True,
    help="URL of the OpenAI-compatible server.",
)
@click.option("--name", default="", help="Name of the run; default: student-N.")
@store_option
@as_json_option
def student_baseline(
    *, url: str, captioner: str, model: str, base_url: str, name: str, as_json: bool
) -> None:
    """Create the paper's text-only baseline.

    Regions are captioned, and a language model answers from the captions without seeing the image.
    """
    from student.training.baseline_run import create_baseline_run

    run = create_baseline_run(open_store(url), name, captioner, model, base_url)
    print_result(run, as_json=as_json)


@student.command("ask")
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("question", required=False)
@click.option(
    "--region",
    "boxes",
    multiple=True,
    required=True,
    metavar="X1,Y1,X2,Y2",
    help="A region in pixels; repeat for more. The first one is [0].",
)
@run_option
@store_option
@as_json_option
def student_ask(
    *,
    url: str,
    image: Path,
    question: str | None,
    boxes: tuple[str, ...],
    name: str | None,
    as_json: bool,
) -> None:
    """Ask about regions of IMAGE, a file.

    Without QUESTION the student generates a question and answers it.
    """
    from db.images.image_files import decode
    from student.asking.inference import ask

    store = open_store(url)
    decoded = decode(image, str(image))
    regions = [_region(n, box, decoded.size) for n, box in enumerate(boxes)]
    answer = ask(store, decoded, regions, question, run_name=name, loader=student_loader())
    print_result(answer, as_json=as_json)


@student.command("answer")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The answers, jsonl.")
@click.option(
    "--images", type=click.Path(path_type=Path), default=Path(), help="The folder of the images."
)
@run_option
@store_option
@as_json_option
def student_answer(
    *, url: str, file: Path, out: Path, images: Path, name: str | None, as_json: bool
) -> None:
    """Answer the questions in FILE; resumes a stopped run.

    FILE has a JSON object per line, with image, regions and question.
    """
    from student.asking.batch_answer import answer_file

    result = answer_file(
        open_store(url),
        file,
        out,
        images,
        run_name=name,
        progress=progress_bar("lines"),
        loader=student_loader(),
    )
    print_result(result, as_json=as_json)


@student.command("hold-out")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--release", required=True, help="Its triples on test images become questions.")
@click.option("--seed", default=0, show_default=True, help="Random seed for the choices.")
@store_option
@as_json_option
def student_hold_out(*, url: str, out: Path, release: str, seed: int, as_json: bool) -> None:
    """Write held-out triples to OUT as a benchmark.

    Each triple of the release on a test image becomes a question with four choices.
    """
    from student.benchmarks.held_out_export import export_held_out

    print_result(export_held_out(open_store(url), release, out, seed=seed), as_json=as_json)


@student.command("evaluate")
@click.option(
    "--benchmark",
    "benchmark_name",
    required=True,
    help="vcr, sherlock, visualcomet, aokvqa, snli-ve, visual7w, pope or held-out.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of its official files and images.",
)
@limit_option(0, "Items, evenly spaced; 0: all.")
@run_option
@store_option
@as_json_option
def student_evaluate(
    *, url: str, benchmark_name: str, data: Path, limit: int, name: str | None, as_json: bool
) -> None:
    """Evaluate a student on a benchmark.

    After an interruption, items that were answered are not answered again.
    """
    from student.benchmarks.evaluate import evaluate

    report = evaluate(
        open_store(url),
        name,
        benchmark_name,
        data,
        limit=limit,
        progress=progress_bar("items"),
        loader=student_loader(),
    )
    print_result(report if as_json else _report_columns(report), as_json=as_json)


@student.command("compare")
@click.option("--run", "names", multiple=True, help="A student run; default: all.")
@store_option
@as_json_option
def student_compare(url: str, names: tuple[str, ...], *, as_json: bool) -> None:
    """Compare students with the paper's figures."""
    from student.benchmarks.compare import compare

    comparison = compare(open_store(url), names)
    print_result(comparison.rows if as_json else _comparison_table(comparison), as_json=as_json)


@student.command("errors")
@click.argument("benchmark_name", metavar="BENCHMARK")
@limit_option(10, "Items to show.")
@run_option
@store_option
@as_json_option
def student_errors(
    *, url: str, benchmark_name: str, limit: int, name: str | None, as_json: bool
) -> None:
    """Show what a student got wrong on a benchmark."""
    from student.benchmarks.evaluate import find_errors

    errors = find_errors(open_store(url), name, benchmark_name, limit=limit)
    if as_json:
        print_result(errors, as_json=True)
        return
    click.echo(f"{errors.wrong} of {errors.items} items are wrong, at least in part")
    print_result(_error_table(errors), as_json=False)


@student.command("publish")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--merged",
    is_flag=True,
    cls=OptionWithAliases,
    aliases=["--whole"],
    help="Write the whole model in the format of transformers.",
)
@click.option("--hub", metavar="USER/NAME", help="Upload the folder to this model of the hub.")
@run_option
@store_option
@as_json_option
def student_publish(
    *, url: str, out: Path, merged: bool, hub: str | None, name: str | None, as_json: bool
) -> None:
    """Write a student and its model card to folder OUT."""
    from student.publishing.publish import publish

    print_result(publish(open_store(url), name, out, merged=merged, hub=hub), as_json=as_json)


@student.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base", required=True, help="The BLIP-2 it was trained on: name or folder.")
@click.option("--name", default="", help="Name of the run; default: student-N.")
@click.option(
    "--image-size",
    default=480,
    show_default=True,
    cls=OptionWithAliases,
    aliases=["--size"],
    help="Side of the images in pixels.",
)
@store_option
@as_json_option
def student_convert(
    *, url: str, file: Path, base: str, name: str, image_size: int, as_json: bool
) -> None:
    """Convert a LAVIS checkpoint (.pth) to a student."""
    from student.publishing.lavis_conversion import convert

    print_result(convert(open_store(url), file, base, name, image_size), as_json=as_json)


def _report_columns(report: "EvaluationReport") -> dict[str, object]:
    from student.results import figure_title

    figures = {
        f"{figure_title(name)} (%)": f"{estimate:.1f}" for name, estimate in report.figures.items()
    }
    return {
        "run": report.run,
        "benchmark": report.benchmark,
        "items": report.items,
        "skipped": report.skipped,
        **({"repeated ids": report.repeated_keys} if report.repeated_keys else {}),
        **figures,
        "seconds": report.seconds,
    }


def _comparison_table(comparison: "Comparison") -> Sequence[dict[str, str]]:
    return [
        {
            "student": row.student,
            **{
                column: f"{row.figures[column]:.1f}" if column in row.figures else "-"
                for column in comparison.columns
            },
        }
        for row in comparison.rows
    ]


def _error_table(errors: "Errors") -> Sequence[dict[str, str]]:
    return [
        {"item": record.key, "question": question.text, "prediction": prediction}
        for record in errors.records
        for question, prediction in zip(record.questions, record.predictions(), strict=True)
    ]


def _region(number: int, text: str, size: tuple[int, int]) -> "Region":
    """Return a region as `--region` gives it."""
    from student.asking.batch_answer import region_from_box

    try:
        box = [float(value) for value in text.split(",")]
    except ValueError:
        box = []
    return region_from_box(number, box, size, where=text)
