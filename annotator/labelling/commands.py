"""Commands about batches and gold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lskd_console import (
    Group,
    OptionWithAliases,
    as_json_option,
    open_store,
    print_result,
    store_option,
)

if TYPE_CHECKING:
    from db.labelling.batches import Selection
    from db.schema import Decision, Order, PriceUnit

_SHARE = click.FloatRange(0, 1)
_VOTES_EACH = click.option("--votes", type=int, help="Votes that each triple requires from now on.")


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


_SELECTION = (
    click.option("--size", type=int, help="Number of triples (default: all that match)."),
    click.option("--source", help="Only triples of this source."),
    click.option("--kind", help="Only triples of this kind."),
    click.option("--score-from", type=_SHARE, help="Only triples with at least this critic score."),
    click.option("--score-to", type=_SHARE, help="Only triples with at most this critic score."),
    click.option("--run", help="Critic run that gives the scores (default: the newest)."),
    click.option(
        "--voted",
        type=click.Choice(["none", "split", "any"]),
        default="none",
        show_default=True,
        help="Triples that are in no batch yet, that people disagree on, or any.",
    ),
    click.option(
        "--stratify",
        type=click.Choice(["source", "kind", "score"]),
        help="Take equally many triples of each source, kind, or tenth of the scores.",
    ),
)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select triples."""
    for option in reversed(_SELECTION):
        command = option(command)
    return command


def selection_from(options: dict[str, Any]) -> "Selection":
    """The selection made of the options that `selection_options` adds."""
    from db.labelling.batches import Selection

    return Selection(votes=options.pop("voted"), **options)


@click.group(cls=Group, default="create")
def batch() -> None:
    """Create batches of triples to label, and change them.

    `lskd batch NAME` is short for `lskd batch create NAME`.
    """


@batch.command("create")
@click.argument("name")
@click.option("--votes", default=3, show_default=True, help="Votes required for each triple.")
@selection_options
@click.option(
    "--order",
    type=click.Choice(["random", "uncertain", "disagreed", "information"]),
    default="random",
    show_default=True,
    help="Random, the critic's least certain first, those people disagree on first, or for each"
    " person those on which their vote is expected to tell most.",
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
def create(
    url: str,
    name: str,
    *,
    votes: int,
    order: "Order",
    random_share: float,
    gold_rate: float,
    qualification_items: int,
    min_gold_accuracy: float,
    fast_ms: int,
    seed: int,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - fields of `Selection`
) -> None:
    """Create a batch of triples to label."""
    from db.labelling.batches import QualityPolicy, draw_batch

    n_triples = draw_batch(
        open_store(url),
        name,
        votes_required=votes,
        selection=selection_from(options),
        seed=seed,
        ordering=order,
        random_share=random_share,
        policy=QualityPolicy(gold_rate, qualification_items, min_gold_accuracy, fast_ms),
    )
    print_result(_BatchResult(name, n_triples, votes, order), as_json=as_json)


@batch.command("list")
@store_option
@as_json_option
def list_(url: str, *, as_json: bool) -> None:
    """List all batches."""
    from annotator.crowd.batch_rows import list_batches

    with open_store(url).read() as session:
        print_result(list_batches(session), as_json=as_json)


@batch.command("close")
@click.argument("name")
@store_option
def close(url: str, name: str) -> None:
    """Give no more triples of a batch to annotators."""
    from annotator.crowd.batch_rows import set_batch_open

    with open_store(url).write() as session:
        set_batch_open(session, name, is_open=False)
    click.echo(f"closed {name}")


@batch.command("reopen")
@click.argument("name")
@_VOTES_EACH
@store_option
@as_json_option
def reopen(url: str, name: str, *, votes: int | None, as_json: bool) -> None:
    """Open a closed batch, or a complete one with more votes each."""
    from db.labelling import changes

    with open_store(url).write() as session:
        result = changes.reopen(session, name, votes)
    print_result(result, as_json=as_json)


@batch.command("extend")
@click.argument("name")
@_VOTES_EACH
@selection_options
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@store_option
@as_json_option
def extend(
    url: str,
    name: str,
    *,
    votes: int | None,
    seed: int,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - fields of `Selection`
) -> None:
    """Add triples to a batch, or require more votes for each.

    With --votes and no option that selects triples, none is added. Adjudicated triples get no more
    votes.
    """
    from db.labelling import changes
    from db.labelling.batches import Selection

    selection = selection_from(options)
    results = []
    with open_store(url).write() as session:
        if votes is not None:
            results.append(changes.require_votes(session, name, votes))
        if votes is None or selection != Selection():
            results.append(changes.add_triples(session, name, selection, seed=seed))
    print_result(results, as_json=as_json)


@batch.command("send-back")
@click.argument("name")
@click.argument("person")
@click.option("--note", required=True, help="What to look at again; the annotator reads it.")
@click.option("--triple", "triples", type=int, multiple=True, help="Only votes on this triple.")
@click.option(
    "--decision",
    type=click.Choice(["accept", "reject", "skip"]),
    help="Only votes with this decision.",
)
@click.option("--too-fast", is_flag=True, help="Only votes faster than the batch's --fast-ms.")
@click.option(
    "--days",
    default=7,
    show_default=True,
    help="Days after which anybody may judge the triples instead.",
)
@store_option
@as_json_option
def send_back(
    url: str,
    name: str,
    person: str,
    *,
    note: str,
    triples: tuple[int, ...],
    decision: "Decision | None",
    too_fast: bool,
    days: int,
    as_json: bool,
) -> None:
    """Ask an annotator to judge triples again, with a note.

    Their votes are withdrawn and kept. Left out, and counted, are votes on adjudicated triples and
    on gold, and those that a crowd worker was paid for.
    """
    from annotator.labelling import returns

    selection = returns.VoteSelection(triples=triples, decision=decision, too_fast=too_fast)
    result = returns.send_back(open_store(url), name, person, note, selection=selection, days=days)
    print_result(result, as_json=as_json)


@batch.command("price")
@click.argument("name")
@click.argument("price", type=float)
@click.option(
    "--per",
    "unit",
    type=click.Choice(["vote", "hour"]),
    default="vote",
    show_default=True,
    help="Whether annotators are paid per vote or per hour of active time.",
)
@store_option
def price_(url: str, name: str, price: float, *, unit: "PriceUnit") -> None:
    """Set what annotators of a batch are paid, in any currency.

    The project page shows the cost so far and to come.
    """
    from db.labelling import changes

    with open_store(url).write() as session:
        changes.set_price(session, name, price, unit)
    click.echo(f"{name}: {price:g} per {unit}")


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


@click.group(cls=Group, default="set")
def gold() -> None:
    """Set the correct decision for triples.

    Annotators' accuracy is measured on such triples. `lskd gold TRIPLE accept` is short for
    `lskd gold set TRIPLE accept`; `lskd import gold FILE` imports many.
    """


@gold.command("set")
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
def set_(url: str, triple: int, decision: "Decision", note: str, *, is_training_item: bool) -> None:
    """Set the correct decision for a triple."""
    from annotator.crowd.gold import set_gold

    with open_store(url).write() as session:
        set_gold(session, triple, decision, note=note, is_training_item=is_training_item)
    click.echo(f"triple {triple} is gold: {decision}")
