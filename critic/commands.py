"""Commands of the critic: train, compare, slices, thresholds, scores, releases."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from critic.settings import PictureSettings, Selection, TrainSettings
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

_LONG = ("curve", "composition", "calibration", "promises")
"""What a table has no room for."""

run_option = click.option("--run", "name", help="A critic's run; default: the newest.")
threshold_option = click.option(
    "--at", "threshold", type=float, default=0.8, show_default=True, help="The threshold."
)


@click.group(cls=Group)
def critic() -> None:
    """The model that learns to accept as people do."""


@critic.command("train")
@options_from_dataclass(TrainSettings)
@options_from_dataclass(PictureSettings)
@click.option("--forecast", is_flag=True, help="Only say what memory and time it would take.")
@store_option
@as_json_option
def critic_train(url: str, *, forecast: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Learn from the labels of train images, test on those of test images, score every triple."""
    from blip2.training import distributed
    from critic.training.train import foreseen, train

    looks, settings, store = (
        settings_from(PictureSettings, chosen),
        TrainSettings(**chosen),
        open_store(url),
    )
    if forecast or settings.kind == "blip2":
        told = foreseen(store, settings, looks)
        if forecast:
            print_result(told, as_json=as_json)
            return
        if distributed.is_main():
            click.echo(
                f"about {told['GiB at once']} GiB on {told['device']}, at most"
                f" {told['minutes at most']} minutes for {told['steps at most']} steps",
                err=True,
            )
    run = train(store, settings, progress_bar("steps"), looks=looks)
    if distributed.is_main():
        print_result({"run": run.name, **_short(run.results)}, as_json=as_json)


@critic.command("retrain")
@click.option("--every", type=int, help="Train anew after so many votes, with these settings.")
@click.option("--off", is_flag=True, help="No more.")
@options_from_dataclass(TrainSettings)
@options_from_dataclass(PictureSettings)
@store_option
@as_json_option
def critic_retrain(url: str, *, every: int | None, off: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Train if so many votes have come since the last time; --every says how many.

    The app looks after it by itself; this is for whoever runs without one.
    """
    from critic.training import retraining

    store = open_store(url)
    if every is not None:
        looks = settings_from(PictureSettings, chosen)
        retraining.begin(store, every, TrainSettings(**chosen), looks)
    elif off:
        retraining.end(store)
    made = retraining.train_if_due(store, progress_bar("steps"))
    with store.read() as session:
        found = retraining.standing(session) or {"every": None}
    print_result({"trained": made, **found}, as_json=as_json)


@critic.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base", required=True, help="The BLIP-2 that it was trained on: name or folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--size", default=480, show_default=True, help="Side of its pictures, in pixels.")
@as_json_option
def critic_convert(*, file: Path, base: str, out: Path, size: int, as_json: bool) -> None:
    """Turn a released checkpoint of LAVIS (.pth) into a folder that --model takes."""
    from critic.models.lavis_conversion import convert

    print_result(convert(file, base, out, size), as_json=as_json)


@critic.command("evaluate")
@run_option
@click.option("--at", "threshold", type=float, help="Figures at one threshold only.")
@store_option
@as_json_option
def critic_evaluate(url: str, name: str | None, threshold: float | None, *, as_json: bool) -> None:
    """Print precision, recall and F1 of accepting by threshold, as measured on test images."""
    from critic.page_data import at_thresholds

    print_result(at_thresholds(open_store(url), name, threshold), as_json=as_json)


@critic.command("compare")
@click.option("--run", "names", multiple=True, help="A critic's run; default: all of them.")
@click.option(
    "--resamples",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="For each interval.",
)
@store_option
@as_json_option
def critic_compare(url: str, names: tuple[str, ...], resamples: int, *, as_json: bool) -> None:
    """Critics side by side on the same test triples, beside a random choice of equal size."""
    from critic.thresholds.comparison import compare

    rows = compare(open_store(url), names, resamples=resamples)
    print_result(rows if as_json else [in_words(row) for row in rows], as_json=as_json)


@critic.command("slices")
@click.argument("dimension")
@run_option
@threshold_option
@store_option
@as_json_option
def critic_slices(
    *, url: str, dimension: str, name: str | None, threshold: float, as_json: bool
) -> None:
    """What a threshold keeps, by source, kind, model, prompt version, regions or box size."""
    from critic.page_data import slices_of

    rows = slices_of(open_store(url), name, threshold, dimension)
    print_result(rows if as_json else [in_words(row) for row in rows], as_json=as_json)


@critic.command("promise")
@click.argument("precision", type=float)
@run_option
@click.option("--confidence", default=0.9, show_default=True, help="How sure it has to be.")
@store_option
@as_json_option
def critic_promise(
    *, url: str, precision: float, name: str | None, confidence: float, as_json: bool
) -> None:
    """The threshold whose precision is above PRECISION, certified on sealed calibration labels."""
    from critic.releases.release import promise

    print_result(asdict(promise(open_store(url), name, precision, confidence)), as_json=as_json)


@critic.command("next")
@run_option
@threshold_option
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["estimate", "guarantee"]),
    default="estimate",
    show_default=True,
    help="What is to become sure: on test images, or on calibration images.",
)
@click.option("--size", default=100, show_default=True, help="Triples to label.")
@click.option("--votes", "wanted", default=3, show_default=True, help="Votes for each.")
@store_option
@as_json_option
def critic_next(
    *,
    url: str,
    name: str | None,
    threshold: float,
    purpose: str,
    size: int,
    wanted: int,
    as_json: bool,
) -> None:
    """Put triples before the annotators whose votes narrow a threshold's precision the most."""
    from critic.thresholds import vote_planning

    use: vote_planning.Purpose = "guarantee" if purpose == "guarantee" else "estimate"
    batch, count = vote_planning.send(
        open_store(url), name, threshold, use, size=size, votes_required=wanted
    )
    print_result({"batch": batch, "triples": count}, as_json=as_json)


@critic.command("score")
@run_option
@click.option("--workers", default=0, show_default=True, help="Workers of Ray; 0: this process.")
@store_option
@as_json_option
def critic_score(url: str, name: str | None, workers: int, *, as_json: bool) -> None:
    """Score the triples that a critic has not scored yet."""
    from critic.training.ray_workers import on_ray
    from critic.training.score import score

    by = on_ray(workers) if workers else None
    run, scored = score(open_store(url), name, progress_bar("triples"), by=by)
    print_result({"run": run, "newly scored": scored}, as_json=as_json)


@critic.command("release")
@click.argument("name")
@click.option("--threshold", type=float, help="Keep triples that score so much.")
@click.option("--precision", type=float, help="Or the threshold that promises so much.")
@click.option("--confidence", default=0.9, show_default=True, help="Of that promise.")
@options_from_dataclass(Selection)
@click.option("--run", "run_name", help="A critic's run; default: the newest.")
@click.option("--simulated", is_flag=True, help="Even if it learned from simulated votes.")
@click.option("--note", default="", help="Why this choice.")
@store_option
@as_json_option
def critic_release(
    *,
    url: str,
    name: str,
    threshold: float | None,
    precision: float | None,
    confidence: float,
    run_name: str | None,
    simulated: bool,
    note: str,
    as_json: bool,
    **limits: Any,  # noqa: ANN401 - the selection's fields
) -> None:
    """Freeze what a critic keeps, under a name: by threshold, by promise, or the best so many."""
    from critic.releases.release import release
    from db.formats.data_card import estimate_text

    store, selection = open_store(url), Selection(**limits)
    made = release(
        store,
        name,
        threshold,
        run_name=run_name,
        simulated=simulated,
        note=note,
        selection=selection,
        precision=precision,
        confidence=confidence,
    )
    figures = {f"estimated {figure}": estimate_text(e) for figure, e in made.estimate.items()}
    told = {"release": name, "threshold": made.threshold, **selection.stated(), "kept": made.kept}
    print_result({**told, **figures}, as_json=as_json)


@critic.command("card")
@click.argument("release")
@click.option("--out", type=click.Path(path_type=Path), help="A file; default: the screen.")
@store_option
def critic_card(*, url: str, release: str, out: Path | None) -> None:
    """Write a release's data card, in Markdown."""
    from db.formats.data_card import card_by_name

    text = card_by_name(open_store(url), release)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text, "utf-8")


@critic.command("differ")
@click.argument("first")
@click.argument("second")
@store_option
@as_json_option
def critic_differ(*, url: str, first: str, second: str, as_json: bool) -> None:
    """What two releases keep both, and each alone, with examples."""
    from critic.releases.release import compared

    found = compared(open_store(url), first, second)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    examples = found.pop("examples")
    print_result(found, as_json=False)
    for whose, texts in examples.items():
        for text in texts:
            print_result({whose: text}, as_json=False)


def _short(results: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in results.items() if key not in _LONG}


def in_words(row: Mapping[str, Any]) -> dict[str, str]:
    """A row whose figures have their intervals beside them."""
    told = {}
    for name, value in row.items():
        if name.endswith(" interval"):
            continue
        shown = "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
        if bounds := row.get(f"{name} interval"):
            low, high = ("?" if bound is None else f"{bound:.2f}" for bound in bounds)
            shown += f" [{low}, {high}]"
        told[name] = shown
    return told
