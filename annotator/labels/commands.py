"""Commands about labels from votes."""

from typing import Any

import click

from annotator.labels.settings import LabelSettings
from lskd_console import (
    Group,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    settings_from,
    store_option,
)


@click.group(cls=Group)
def labels() -> None:
    """Aggregate votes into labels, and measure agreement."""


@labels.command("make")
@options_from_dataclass(LabelSettings)
@store_option
@as_json_option
def labels_make(url: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Aggregate the votes of every triple into labels.

    The labels are stored as a run, for `lskd critic train --labels RUN`.
    """
    from annotator.labels.label_runs import make_labels

    run = make_labels(open_store(url), settings_from(LabelSettings, options))
    print_result({"run": run.name, **run.results}, as_json=as_json)


@labels.command("list")
@store_option
@as_json_option
def labels_list(url: str, *, as_json: bool) -> None:
    """List the label runs."""
    from annotator.labels.comparison import list_label_runs

    with open_store(url).read() as session:
        print_result(list_label_runs(session), as_json=as_json)


@labels.command("compare")
@click.argument("names", metavar="[RUN|METHOD]...", nargs=-1)
@click.option("--simulated", is_flag=True, help="Include votes of simulated annotators.")
@store_option
@as_json_option
def labels_compare(url: str, names: tuple[str, ...], *, simulated: bool, as_json: bool) -> None:
    """Compare label runs and methods on the same votes.

    Without names, all methods that use votes alone. Prints the accuracy on adjudicated and gold
    triples, whose answers are withheld, the mean log-likelihood of held-out votes, and, for each
    pair, on how many triples they differ and Cohen's kappa.
    """
    from annotator.labels.comparison import compare_labels

    comparison = compare_labels(open_store(url), names, simulated=simulated)
    if as_json:
        print_result(comparison, as_json=True)
        return
    print_result(comparison.labels, as_json=False)
    if comparison.pairs:
        click.echo()
        print_result(comparison.pairs, as_json=False)


@labels.command("agreement")
@click.option("--batch", "batch_name", help="Only votes of this batch.")
@click.option("--simulated", is_flag=True, help="Include votes of simulated annotators.")
@store_option
@as_json_option
def labels_agreement(url: str, batch_name: str | None, *, simulated: bool, as_json: bool) -> None:
    """Print inter-annotator agreement coefficients.

    Krippendorff's alpha, Fleiss' kappa, Gwet's AC1 and the mean of pairwise Cohen's kappa, with
    95 % bootstrap intervals over triples.
    """
    from annotator.statistics.project import batch_agreement

    with open_store(url).read() as session:
        print_result(batch_agreement(session, batch_name, simulated=simulated), as_json=as_json)
