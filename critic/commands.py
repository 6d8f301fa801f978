"""Commands of the critic: train, compare, certify, score, release."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from critic.settings import ModelConfig, ReleaseFilter, TrainSettings
from lskd_console import (
    Group,
    OptionWithAliases,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    printable,
    progress_bar,
    settings_from,
    store_option,
)

run_option = click.option("--run", "name", help="Run of the critic; default: the newest.")
threshold_option = click.option(
    "--threshold",
    cls=OptionWithAliases,
    aliases=["--at"],
    type=float,
    default=0.8,
    show_default=True,
    help="The threshold, between 0 and 1.",
)


@click.group(cls=Group, former_names={"promise": "certify", "next": "label-next", "differ": "diff"})
def critic() -> None:
    """Train critics, certify thresholds, release triples."""


@critic.command("train")
@options_from_dataclass(TrainSettings)
@options_from_dataclass(ModelConfig)
@click.option("--forecast", is_flag=True, help="Only estimate memory and time of training.")
@store_option
@as_json_option
def critic_train(url: str, *, forecast: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Train a critic on votes and score every triple.

    It is trained on labels of train images and evaluated on those of test images.
    """
    from blip2.training import distributed
    from critic.results import LONG_FIELDS, CriticResults
    from critic.training.train import estimate_resources, train
    from db.store.results import from_json

    config, settings, store = (
        settings_from(ModelConfig, chosen),
        TrainSettings(**chosen),
        open_store(url),
    )
    if forecast or settings.kind == "blip2":
        estimate = estimate_resources(store, settings, config)
        if forecast:
            print_result(estimate, as_json=as_json)
            return
        if distributed.is_main():
            click.echo(
                f"about {estimate.memory_gib} GiB on {estimate.device}, at most"
                f" {estimate.max_minutes} minutes for {estimate.max_steps} steps",
                err=True,
            )
    run = train(store, settings, progress_bar("steps"), config=config)
    if distributed.is_main():
        results = from_json(CriticResults, run.results)
        shown = {
            f.name: value
            for f in fields(results)
            if f.name not in LONG_FIELDS and (value := getattr(results, f.name)) is not None
        }
        print_result({"run": run.name, **shown}, as_json=as_json)


@critic.command("retrain")
@click.option("--every", type=int, help="Enable retraining after N new votes, as set here.")
@click.option("--off", is_flag=True, help="Disable automatic retraining.")
@options_from_dataclass(TrainSettings)
@options_from_dataclass(ModelConfig)
@store_option
@as_json_option
def critic_retrain(url: str, *, every: int | None, off: bool, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Retrain if enough new votes have been cast.

    The app does this by itself while it runs; use the command where no app runs.
    """
    from critic.training import retraining

    store = open_store(url)
    if every is not None:
        config = settings_from(ModelConfig, chosen)
        retraining.enable(store, every, TrainSettings(**chosen), config)
    elif off:
        retraining.disable(store)
    trained = retraining.train_if_due(store, progress_bar("steps"))
    with store.read() as session:
        status = retraining.status(session)
    schedule = asdict(status) if status else {"every": None}
    print_result({"trained": trained, **schedule}, as_json=as_json)


@critic.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base", required=True, help="The BLIP-2 it was trained from: name or folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option(
    "--image-size",
    cls=OptionWithAliases,
    aliases=["--size"],
    type=int,
    default=480,
    show_default=True,
    help="Side of its input images in pixels.",
)
@as_json_option
def critic_convert(*, file: Path, base: str, out: Path, image_size: int, as_json: bool) -> None:
    """Convert a released LAVIS checkpoint for --model."""
    from critic.models.blip2.lavis_conversion import convert

    print_result(convert(file, base, out, image_size), as_json=as_json)


@critic.command("evaluate")
@run_option
@click.option(
    "--threshold",
    cls=OptionWithAliases,
    aliases=["--at"],
    type=float,
    help="Only this threshold; default: every tenth.",
)
@store_option
@as_json_option
def critic_evaluate(url: str, name: str | None, threshold: float | None, *, as_json: bool) -> None:
    """Precision, recall and F1 by threshold, on test images."""
    from critic.page_data import metrics_at_thresholds

    print_result(metrics_at_thresholds(open_store(url), name, threshold), as_json=as_json)


@critic.command("compare")
@click.option("--run", "names", multiple=True, help="A critic's run; default: all of them.")
@click.option(
    "--resamples",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Bootstrap resamples for each interval.",
)
@store_option
@as_json_option
def critic_compare(url: str, names: tuple[str, ...], resamples: int, *, as_json: bool) -> None:
    """Compare critics on the same test triples.

    A random selection of equal size is the last row.
    """
    from critic.thresholds.comparison import COLUMNS, compare_critics

    rows = compare_critics(open_store(url), names, resamples=resamples)
    table = [{column: getattr(row, column) for column in COLUMNS} for row in rows]
    print_result(table, as_json=as_json)


@critic.command("slices")
@click.argument("dimension")
@run_option
@threshold_option
@store_option
@as_json_option
def critic_slices(
    *, url: str, dimension: str, name: str | None, threshold: float, as_json: bool
) -> None:
    """Show what a threshold keeps, by groups of triples.

    DIMENSION is source, kind, model, prompt_version, regions or box_size.
    """
    from critic.page_data import slices_at

    print_result(slices_at(open_store(url), name, threshold, dimension), as_json=as_json)


@critic.command("certify")
@click.argument("precision", type=float)
@run_option
@click.option("--confidence", default=0.9, show_default=True, help="Confidence of the guarantee.")
@store_option
@as_json_option
def critic_certify(
    *, url: str, precision: float, name: str | None, confidence: float, as_json: bool
) -> None:
    """Find the lowest threshold with certified precision.

    It is tested on labels of calibration images, which nothing else uses.
    """
    from critic.releases.guarantees import certify

    # As a mapping, which is not rounded: a rounded threshold may exclude its own triple.
    print_result(asdict(certify(open_store(url), name, precision, confidence)), as_json=as_json)


@critic.command("label-next")
@run_option
@threshold_option
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["estimate", "guarantee"]),
    default="estimate",
    show_default=True,
    help="What to narrow: the estimate on test images, or the guarantee on calibration images.",
)
@click.option("--size", default=100, show_default=True, help="Number of triples.")
@click.option("--votes", "votes_required", default=3, show_default=True, help="Votes per triple.")
@store_option
@as_json_option
def critic_label_next(
    *,
    url: str,
    name: str | None,
    threshold: float,
    purpose: str,
    size: int,
    votes_required: int,
    as_json: bool,
) -> None:
    """Create a batch that narrows a threshold's precision."""
    from critic.thresholds import vote_planning

    kind: vote_planning.Purpose = "guarantee" if purpose == "guarantee" else "estimate"
    batch = vote_planning.create_batch(
        open_store(url), name, threshold, kind, size=size, votes_required=votes_required
    )
    print_result(batch, as_json=as_json)


@critic.command("score")
@run_option
@click.option("--workers", default=0, show_default=True, help="Ray workers; 0: this process.")
@store_option
@as_json_option
def critic_score(url: str, name: str | None, workers: int, *, as_json: bool) -> None:
    """Score the triples that a critic has not scored yet."""
    from critic.training.ray_workers import ray_executor
    from critic.training.score import score

    executor = ray_executor(workers) if workers else None
    summary = score(open_store(url), name, progress_bar("triples"), executor=executor)
    print_result(summary, as_json=as_json)


@critic.command("release")
@click.argument("name")
@click.option("--threshold", type=float, help="Keep triples scoring at least this.")
@click.option("--precision", type=float, help="Keep triples above a threshold certified for this.")
@click.option("--confidence", default=0.9, show_default=True, help="Confidence of --precision.")
@options_from_dataclass(ReleaseFilter)
@click.option("--run", "run_name", help="Run of the critic; default: the newest.")
@click.option(
    "--simulated", is_flag=True, help="Allow a critic that was trained on simulated votes."
)
@click.option("--note", default="", help="A note on this choice.")
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
    **chosen: Any,  # noqa: ANN401 - the filter's fields
) -> None:
    """Save the triples that a critic keeps, under a name.

    Choose by threshold, certified precision, or limits such as the top N.
    """
    from critic.releases.release import create_release
    from db.store.releases import ReleaseEstimate
    from db.store.results import from_json

    limits = ReleaseFilter(**chosen)
    release = create_release(
        open_store(url),
        name,
        threshold,
        run_name=run_name,
        simulated=simulated,
        note=note,
        limits=limits,
        precision=precision,
        confidence=confidence,
    )
    estimate = from_json(ReleaseEstimate, release.estimate)
    print_result(
        {
            "release": name,
            "threshold": release.threshold,
            **{limit: value for limit, value in asdict(limits).items() if value},
            "kept": release.kept,
            **{f.name: getattr(estimate, f.name) for f in fields(estimate)},
        },
        as_json=as_json,
    )


@critic.command("card")
@click.argument("release")
@click.option("--out", type=click.Path(path_type=Path), help="A file; default: the screen.")
@store_option
def critic_card(*, url: str, release: str, out: Path | None) -> None:
    """Write a release's data card in Markdown."""
    from db.formats.data_card import card_by_name

    text = card_by_name(open_store(url), release)
    if out is None:
        click.echo("\n".join(map(printable, text.splitlines())))
    else:
        out.write_text(text, "utf-8")


@critic.command("diff")
@click.argument("first")
@click.argument("second")
@store_option
@as_json_option
def critic_diff(url: str, first: str, second: str, *, as_json: bool) -> None:
    """Compare the triples that two releases keep."""
    from critic.releases.compare import compare_releases

    comparison = compare_releases(open_store(url), first, second)
    if as_json:
        print_result(comparison, as_json=True)
        return
    sides = (comparison.only_first, comparison.only_second)
    counts = [{"kept": f"by {side.release} only", "triples": side.triples} for side in sides]
    print_result([{"kept": "by both", "triples": comparison.kept_by_both}, *counts], as_json=False)
    examples = [{"only_in": side.release, "text": text} for side in sides for text in side.examples]
    if examples:
        print_result(examples, as_json=False)
