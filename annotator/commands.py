"""Commands about labelling: batches and gold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from lskd_console import (
    OptionWithAliases,
    as_json_option,
    open_store,
    print_result,
    store_option,
)

if TYPE_CHECKING:
    from db.labelling.batches import Strata, VoteState
    from db.schema import Decision, Order

_SHARE = click.FloatRange(0, 1)


@dataclass(frozen=True, slots=True)
class _BatchResult:
    batch: str
    triples: int
    votes_each: int
    order: str


@dataclass(frozen=True, slots=True)
class _ReorderResult:
    batch: str
    reordered_triples: int


@click.command()
@click.argument("name")
@click.option("--votes", default=3, show_default=True, help="Votes required for each triple.")
@click.option("--size", type=int, help="Number of triples (default: all that match).")
@click.option("--source", help="Only triples of this source.")
@click.option("--kind", help="Only triples of this kind.")
@click.option("--score-from", type=_SHARE, help="Only triples with at least this critic score.")
@click.option("--score-to", type=_SHARE, help="Only triples with at most this critic score.")
@click.option("--run", help="Critic run that gives the scores (default: the newest).")
@click.option(
    "--voted",
    type=click.Choice(["none", "split", "any"]),
    default="none",
    show_default=True,
    help="Triples that are in no batch yet, that people disagree on, or any.",
)
@click.option(
    "--stratify",
    type=click.Choice(["source", "kind", "score"]),
    help="Take equally many triples of each source, kind, or tenth of the scores.",
)
@click.option(
    "--order",
    type=click.Choice(["random", "uncertain", "disagreed"]),
    default="random",
    show_default=True,
    help="Random, the critic's least certain first, or those people disagree on first.",
)
@click.option(
    "--random-share",
    type=_SHARE,
    default=0.2,
    show_default=True,
    help="Share of randomly drawn triples in other orders, for unbiased estimates.",
)
@click.option(
    "--gold-rate",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Share of hidden gold among the items that annotators get.",
)
@click.option(
    "--qualification-items",
    cls=OptionWithAliases,
    aliases=["--qualify"],
    default=0,
    show_default=True,
    help="Training items with feedback that come first.",
)
@click.option(
    "--min-gold-accuracy",
    cls=OptionWithAliases,
    aliases=["--bar"],
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Accuracy on gold below which a person is paused.",
)
@click.option(
    "--fast-ms",
    default=1000,
    show_default=True,
    help="Votes faster than this many milliseconds count as too fast.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@store_option
@as_json_option
def batch(
    url: str,
    name: str,
    *,
    votes: int,
    voted: "VoteState",
    order: "Order",
    random_share: float,
    gold_rate: float,
    qualification_items: int,
    min_gold_accuracy: float,
    fast_ms: int,
    seed: int,
    size: int | None,
    source: str | None,
    kind: str | None,
    score_from: float | None,
    score_to: float | None,
    run: str | None,
    stratify: "Strata | None",
    as_json: bool,
) -> None:
    """Create a batch of triples to label."""
    from db.labelling.batches import QualityPolicy, Selection, draw_batch

    n_triples = draw_batch(
        open_store(url),
        name,
        votes_required=votes,
        selection=Selection(
            source=source,
            kind=kind,
            run=run,
            score_from=score_from,
            score_to=score_to,
            votes=voted,
            size=size,
            stratify=stratify,
        ),
        seed=seed,
        ordering=order,
        random_share=random_share,
        policy=QualityPolicy(gold_rate, qualification_items, min_gold_accuracy, fast_ms),
    )
    print_result(_BatchResult(name, n_triples, votes, order), as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--run", help="Critic run that gives the scores (default: the newest).")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@store_option
@as_json_option
def reorder(url: str, name: str, run: str | None, seed: int, *, as_json: bool) -> None:
    """Re-order a batch's untouched triples.

    Uses the newest scores and votes. Triples that anyone has labelled or is labelling keep their
    place.
    """
    from db.labelling.batches import reorder as reorder_batch

    n_triples = reorder_batch(open_store(url), name, run=run, seed=seed)
    print_result(_ReorderResult(name, n_triples), as_json=as_json)


@click.command()
@click.option("--repair", is_flag=True, help="Restore what can be restored without a decision.")
@store_option
@as_json_option
def check(url: str, *, repair: bool, as_json: bool) -> None:
    """Check that votes, leases and batches are consistent.

    The exit code is 1 if a violation remains.
    """
    from annotator.crowd import invariants

    checks = invariants.check(open_store(url), repair=repair)
    print_result(checks, as_json=as_json)
    if any(row.violations > row.repaired for row in checks):
        raise SystemExit(1)


@click.command()
@click.argument("triple", type=int)
@click.argument("decision", type=click.Choice(["accept", "reject"]))
@click.option("--note", default="", help="Why; shown as feedback on training items.")
@click.option(
    "--training-item",
    "is_training_item",
    cls=OptionWithAliases,
    aliases=["--teaches"],
    is_flag=True,
    help="Use it in qualification rounds, with feedback; otherwise it is hidden gold.",
)
@store_option
def gold(url: str, triple: int, decision: "Decision", note: str, *, is_training_item: bool) -> None:
    """Set the correct decision for a triple.

    Annotators' accuracy is measured on such triples.
    """
    from annotator.crowd.gold import set_gold

    with open_store(url).write() as session:
        set_gold(session, triple, decision, note=note, is_training_item=is_training_item)
    click.echo(f"triple {triple} is gold: {decision}")
