"""Commands of the student: train, ask."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console import as_json_option, bar, open_store, options, show, store_option
from regions.errors import UserError
from student.settings import TrainSettings

if TYPE_CHECKING:
    from regions.geometry import Region

run_option = click.option("--run", "name", help="A student's run; default: the newest.")


@click.group()
def student() -> None:
    """The model that learns from what the critic kept."""


@student.command("train")
@options(TrainSettings)
@click.option("--forecast", is_flag=True, help="Only say what memory and time it would take.")
@store_option
@as_json_option
def student_train(url: str, *, forecast: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Train a student on a release; a run that was stopped goes on."""
    from blip2 import team
    from student.train import foreseen, train

    store, settings = open_store(url), TrainSettings(**chosen)
    if forecast:
        show(foreseen(store, settings), as_json=as_json)
        return

    def foretold(told: Mapping[str, Any]) -> None:
        click.echo(
            f"about {told['GiB at once']} GiB on {told['device']}, {told['minutes']} minutes for"
            f" {told['steps']} steps",
            err=True,
        )

    run = train(store, settings, bar("steps"), foretold=foretold)
    if team.leads():
        show({"run": run.name, **run.results}, as_json=as_json)


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
    from db.pictures import decode
    from student.answer import ask

    store = open_store(url)
    picture = decode(image, str(image))
    regions = [_region(n, box, picture.size) for n, box in enumerate(boxes)]
    found = ask(store, picture, regions, question, run_name=name)
    show(dataclasses.asdict(found), as_json=as_json)


def _region(number: int, text: str, size: tuple[int, int]) -> "Region":
    """A region as `--region` gives it."""
    from regions.geometry import Region, box_fault, clipped

    try:
        box = [float(value) for value in text.split(",")]
    except ValueError:
        box = []
    if fault := box_fault(box, *size):
        raise UserError(f"no region: {fault}", where=text, todo="give x1,y1,x2,y2 in pixels")
    x1, y1, x2, y2 = box
    return Region(number, clipped((x1, y1, x2, y2), *size))
