"""Commands of the critic: train, convert, evaluate, score, release."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from console import as_json_option, bar, open_store, options, show, store_option, taken
from critic.settings import Blip2Settings, TrainSettings


@click.group()
def critic() -> None:
    """The model that learns to accept as people do."""


@critic.command("train")
@options(TrainSettings)
@options(Blip2Settings)
@store_option
@as_json_option
def critic_train(url: str, *, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Learn from the labels of train images, test on those of test images, score every triple."""
    from critic.train import train

    looks = taken(Blip2Settings, chosen)
    run = train(
        open_store(url),
        TrainSettings(**chosen),
        bar("steps"),
        blip2=looks,
    )
    show({"run": run.name, **_without_curve(run.results)}, as_json=as_json)


@critic.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base", required=True, help="The BLIP-2 that it was trained on: name or folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--size", default=480, show_default=True, help="Side of its pictures, in pixels.")
@as_json_option
def critic_convert(*, file: Path, base: str, out: Path, size: int, as_json: bool) -> None:
    """Turn a released checkpoint of LAVIS (.pth) into a folder that --model takes."""
    from critic.convert import convert

    show(convert(file, base, out, size), as_json=as_json)


@critic.command("evaluate")
@click.option("--run", "name", help="A critic's run; default: the newest.")
@click.option("--at", "threshold", type=float, help="Figures at one threshold only.")
@store_option
@as_json_option
def critic_evaluate(url: str, name: str | None, threshold: float | None, *, as_json: bool) -> None:
    """Print precision, recall and F1 of accepting by threshold, as measured on test images."""
    from critic.train import at_thresholds

    show(at_thresholds(open_store(url), name, threshold), as_json=as_json)


@critic.command("score")
@click.option("--run", "name", help="A critic's run; default: the newest.")
@store_option
@as_json_option
def critic_score(url: str, name: str | None, *, as_json: bool) -> None:
    """Score the triples that a critic has not scored yet."""
    from critic.score import score

    run, scored = score(open_store(url), name, bar("triples"))
    show({"run": run, "newly scored": scored}, as_json=as_json)


@critic.command("release")
@click.argument("name")
@click.option("--threshold", type=float, required=True, help="Keep triples that score so much.")
@click.option("--run", "run_name", help="A critic's run; default: the newest.")
@click.option("--simulated", is_flag=True, help="Even if it learned from simulated votes.")
@click.option("--note", default="", help="Why this threshold.")
@store_option
@as_json_option
def critic_release(
    *,
    url: str,
    name: str,
    threshold: float,
    run_name: str | None,
    simulated: bool,
    note: str,
    as_json: bool,
) -> None:
    """Freeze what a critic keeps at a threshold, under a name."""
    from critic.release import release

    made, kept = release(
        open_store(url), name, threshold, run_name=run_name, simulated=simulated, note=note
    )
    figures = {f"estimated {figure}": _with_interval(e) for figure, e in made.estimate.items()}
    show({"release": name, "threshold": threshold, "kept": kept, **figures}, as_json=as_json)


def _without_curve(results: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if key != "curve"}


def _with_interval(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "unknown"
    low, high = (f"{bound:.3f}" if bound is not None else "?" for bound in estimate["interval"])
    return f"{estimate['value']:.3f} [{low}, {high}]"
