"""Commands of the student: train, evaluate, compare, ask, publish, convert."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lskd_console import (
    Group,
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


def loader() -> Any:  # noqa: ANN401 - a `student.asking.inference.Loader`
    """What makes a run's student ready: the command line's, which knows the baseline too."""
    from student.asking.inference import ready

    return click.get_current_context().find_root().obj or ready


run_option = click.option("--run", "name", help="A student's run; default: the newest.")


@click.group(cls=Group)
def student() -> None:
    """The model that learns from what the critic kept."""


@student.command("train")
@options_from_dataclass(TrainSettings)
@click.option("--forecast", is_flag=True, help="Only say what memory and time it would take.")
@store_option
@as_json_option
def student_train(url: str, *, forecast: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Train a student on a release; a run that was stopped goes on."""
    from blip2.training import distributed
    from student.training.train import foreseen, train

    store, settings = open_store(url), TrainSettings(**chosen)
    if forecast:
        print_result(foreseen(store, settings), as_json=as_json)
        return

    def foretold(told: Mapping[str, Any]) -> None:
        click.echo(
            f"about {told['GiB at once']} GiB on {told['device']}, {told['minutes']} minutes for"
            f" {told['steps']} steps",
            err=True,
        )

    run = train(store, settings, progress_bar("steps"), foretold=foretold)
    if distributed.is_main():
        print_result({"run": run.name, **run.results}, as_json=as_json)


@student.command("baseline")
@click.option("--captioner", required=True, help="What puts regions into words: name or folder.")
@click.option("--model", required=True, help="What reads them: as the server names it.")
@click.option("--base-url", default="https://api.openai.com/v1", show_default=True, help="It.")
@click.option("--name", default="", help="Name of the run; default: student-N.")
@store_option
@as_json_option
def student_baseline(
    *, url: str, captioner: str, model: str, base_url: str, name: str, as_json: bool
) -> None:
    """A student that sees nothing: regions in words, read by a language model, as before LSKD."""
    from student.models.caption_baseline import begin

    print_result({"run": begin(open_store(url), name, captioner, model, base_url)}, as_json=as_json)


@student.command("ask")
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("question", required=False)
@click.option(
    "--region",
    "boxes",
    multiple=True,
    required=True,
    metavar="X1,Y1,X2,Y2",
    help="A region in pixels; the first one is [0]. Give several for several.",
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
    """Ask about regions of IMAGE, a file; without QUESTION the student asks itself one."""
    from db.images.image_files import decode
    from student.asking.inference import ask

    store = open_store(url)
    picture = decode(image, str(image))
    regions = [_region(n, box, picture.size) for n, box in enumerate(boxes)]
    found = ask(store, picture, regions, question, run_name=name, loader=loader())
    print_result(dataclasses.asdict(found), as_json=as_json)


@student.command("answer")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The answers, jsonl.")
@click.option(
    "--images", type=click.Path(path_type=Path), default=Path(), help="The folder of its pictures."
)
@run_option
@store_option
@as_json_option
def student_answer(
    *, url: str, file: Path, out: Path, images: Path, name: str | None, as_json: bool
) -> None:
    """Answer all questions of FILE, a JSON object a line: image, regions, question."""
    from student.asking.batch_answer import answer_all

    told = answer_all(
        open_store(url),
        file,
        out,
        images,
        run_name=name,
        progress=progress_bar("lines"),
        loader=loader(),
    )
    print_result(told, as_json=as_json)


@student.command("hold-out")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--release", required=True, help="Whose triples on test images are asked.")
@click.option("--seed", default=0, show_default=True, help="Draws the other answers.")
@store_option
@as_json_option
def student_hold_out(*, url: str, out: Path, release: str, seed: int, as_json: bool) -> None:
    """Write a release's held-out triples into OUT as a benchmark: four answers to choose from."""
    from student.benchmarks.held_out_export import write

    print_result(write(open_store(url), release, out, seed=seed), as_json=as_json)


@student.command("evaluate")
@click.option(
    "--benchmark", "benchmark_name", required=True, help="vcr, sherlock, ... pope, or held-out."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder of its official files and images.",
)
@click.option("--most", default=0, show_default=True, help="Items, evenly spread; 0: all.")
@run_option
@store_option
@as_json_option
def student_evaluate(
    *, url: str, benchmark_name: str, data: Path, most: int, name: str | None, as_json: bool
) -> None:
    """A student on a benchmark, zero-shot; what was answered is not asked again."""
    from student.benchmarks.evaluate import evaluate

    told = evaluate(
        open_store(url),
        name,
        benchmark_name,
        data,
        most=most,
        progress=progress_bar("items"),
        loader=loader(),
    )
    if as_json:
        print_result(told, as_json=True)
        return
    figures = {
        f"{figure}, %": _cell(one["value"], one["interval"])
        for figure, one in told.pop("figures").items()
    }
    print_result({**told, **figures}, as_json=False)


@student.command("compare")
@click.option("--run", "names", multiple=True, help="A student's run; default: all of them.")
@store_option
@as_json_option
def student_compare(url: str, names: tuple[str, ...], *, as_json: bool) -> None:
    """Students beside the paper's figures, benchmark by benchmark."""
    from student.benchmarks.evaluate import table

    rows = table(open_store(url), names)
    told = [
        {
            column: _cell(value, row.get(f"{column} interval"))
            for column, value in row.items()
            if not column.endswith(" interval")
        }
        for row in rows
    ]
    print_result(rows if as_json else told, as_json=as_json)


@student.command("errors")
@click.argument("benchmark_name", metavar="BENCHMARK")
@click.option("--most", default=10, show_default=True, help="Items to show.")
@run_option
@store_option
@as_json_option
def student_errors(
    *, url: str, benchmark_name: str, most: int, name: str | None, as_json: bool
) -> None:
    """What a student got wrong on a benchmark."""
    from student.benchmarks.evaluate import chosen, errors

    found = errors(open_store(url), name, benchmark_name, most=most)
    if as_json:
        print_result(found, as_json=True)
        return
    click.echo(f"{found['wrong']} of {found['items']} items are not wholly right")
    rows = [(row["key"], pair) for row in found["rows"] for pair in chosen(row)]
    print_result(
        [{"item": key, "asked": asked, "said": said} for key, (asked, said) in rows], as_json=False
    )


@student.command("publish")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--whole", is_flag=True, help="The base too, for transformers alone.")
@click.option("--hub", metavar="USER/NAME", help="Push the folder to this model of the hub too.")
@run_option
@store_option
@as_json_option
def student_publish(
    *, url: str, out: Path, whole: bool, hub: str | None, name: str | None, as_json: bool
) -> None:
    """Write a student and its card into OUT, a new folder; push it to the hub by --hub."""
    from student.publishing.publish import publish

    print_result(publish(open_store(url), name, out, whole=whole, hub=hub), as_json=as_json)


@student.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base", required=True, help="The BLIP-2 that it was trained on: name or folder.")
@click.option("--name", default="", help="Name of the run; default: student-N.")
@click.option("--size", default=480, show_default=True, help="Side of its pictures, in pixels.")
@store_option
@as_json_option
def student_convert(
    *, url: str, file: Path, base: str, name: str, size: int, as_json: bool
) -> None:
    """Turn a released checkpoint of LAVIS (.pth) into a student that is asked as any other."""
    from student.publishing.lavis_conversion import convert

    print_result(convert(open_store(url), file, base, name, size), as_json=as_json)


def _cell(value: Any, interval: Any) -> str:  # noqa: ANN401 - of a table
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if not interval:
        return f"{value:.1f}"
    low, high = ("?" if bound is None else f"{bound:.1f}" for bound in interval)
    return f"{value:.1f} [{low}, {high}]"


def _region(number: int, text: str, size: tuple[int, int]) -> "Region":
    """A region as `--region` gives it."""
    from student.asking.batch_answer import region

    try:
        box = [float(value) for value in text.split(",")]
    except ValueError:
        box = []
    return region(number, box, size, where=text)
