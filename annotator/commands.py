"""Commands about who labels what: batches, gold, accounts, studies, tokens."""

from typing import TYPE_CHECKING, Any

import click

from annotator.labels.settings import LabelSettings
from lskd_console import (
    Group,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    store_option,
)

if TYPE_CHECKING:
    from db.schema import Decision, Role

_ROLES = click.Choice(["annotator", "researcher", "admin"])
_SHARE = click.FloatRange(0, 1)


@click.command()
@click.argument("name")
@click.option("--votes", default=3, show_default=True, help="Votes wanted for each triple.")
@click.option("--size", type=int, help="How many triples; default: all that fit.")
@click.option("--source", help="Only triples of this source.")
@click.option("--kind", help="Only triples of this kind.")
@click.option("--score-from", type=_SHARE, help="Only triples with this critic's score or more.")
@click.option("--score-to", type=_SHARE, help="Only triples with this critic's score or less.")
@click.option("--run", help="The critic's run whose scores are meant; default: the newest.")
@click.option(
    "--voted",
    type=click.Choice(["none", "split", "any"]),
    default="none",
    show_default=True,
    help="Triples in no batch yet, those that people disagree on, or any.",
)
@click.option(
    "--stratify",
    type=click.Choice(["source", "kind", "score"]),
    help="As many of each source, kind, or tenth of the scores.",
)
@click.option(
    "--order",
    type=click.Choice(["random", "uncertain", "disagreed"]),
    default="random",
    show_default=True,
    help="What comes first: chance, what the critic is unsure of, what people disagree on.",
)
@click.option(
    "--random-share",
    type=_SHARE,
    default=0.2,
    show_default=True,
    help="Share of places drawn at random in any order: estimates rest on those.",
)
@click.option("--gold-rate", type=_SHARE, default=0.0, show_default=True, help="Share of gold.")
@click.option("--qualify", default=0, show_default=True, help="Gold with feedback to begin with.")
@click.option(
    "--bar",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Accuracy on gold below which a person pauses.",
)
@click.option("--fast-ms", default=1000, show_default=True, help="Quicker votes are flagged.")
@click.option("--seed", default=0, show_default=True, help="Draws and orders the triples.")
@store_option
@as_json_option
def batch(
    url: str,
    name: str,
    *,
    votes: int,
    voted: Any,  # noqa: ANN401 - click's choice
    order: Any,  # noqa: ANN401 - click's choice
    random_share: float,
    gold_rate: float,
    qualify: int,
    bar: float,
    fast_ms: int,
    seed: int,
    as_json: bool,
    **wish: Any,  # noqa: ANN401 - the selection's fields
) -> None:
    """Make a batch: triples to be labelled, in an order, with gold among them."""
    from db.labelling.batches import QualityPolicy, Selection, draw_batch

    made = draw_batch(
        open_store(url),
        name,
        votes_required=votes,
        selection=Selection(votes=voted, **wish),
        seed=seed,
        ordering=order,
        random_share=random_share,
        policy=QualityPolicy(gold_rate, qualify, bar, fast_ms),
    )
    print_result(
        {"batch": name, "triples": made, "votes each": votes, "order": order}, as_json=as_json
    )


@click.command()
@click.argument("name")
@click.option("--run", help="The critic's run whose scores are meant; default: the newest.")
@click.option("--seed", default=0, show_default=True, help="Mixes in what was drawn at random.")
@store_option
@as_json_option
def reorder(url: str, name: str, run: str | None, seed: int, *, as_json: bool) -> None:
    """Order what nobody has begun in a batch anew, by the newest scores and votes."""
    from db.labelling.batches import reorder as order

    moved = order(open_store(url), name, run=run, seed=seed)
    print_result({"batch": name, "triples ordered anew": moved}, as_json=as_json)


@click.command()
@click.argument("triple", type=int)
@click.argument("decision", type=click.Choice(["accept", "reject"]))
@click.option("--note", default="", help="Why; shown as feedback in a qualification round.")
@click.option("--teaches", is_flag=True, help="For the qualification round; else it is hidden.")
@store_option
def gold(url: str, triple: int, decision: "Decision", note: str, *, teaches: bool) -> None:
    """State what is right of a triple: everybody is measured by it."""
    from annotator.crowd.gold import set_gold

    with open_store(url).write() as session:
        set_gold(session, triple, decision, note=note, is_training_item=teaches)
    click.echo(f"triple {triple} is gold: {decision}")


@click.group(cls=Group)
def users() -> None:
    """Accounts of those who sign in."""


@users.command("add")
@click.argument("name")
@click.option(
    "--role", type=_ROLES, default="annotator", show_default=True, help="What they may do."
)
@click.password_option(help="Asked for when not given.")
@store_option
def users_add(url: str, name: str, role: "Role", password: str) -> None:
    """Add an account; with the first one, everybody has to sign in."""
    from annotator.accounts.sessions import add_person

    with open_store(url).write() as session:
        add_person(session, name, role, password)
    click.echo(f"{name} can sign in as {role}")


@users.command("list")
@store_option
@as_json_option
def users_list(url: str, *, as_json: bool) -> None:
    """List the accounts, and who is simulated."""
    from annotator.accounts.accounts import list_accounts

    with open_store(url).read() as session:
        print_result(list_accounts(session), as_json=as_json)


@users.command("token")
@click.argument("name")
@click.argument("what_for")
@store_option
def users_token(url: str, name: str, what_for: str) -> None:
    """Make a token for a script, which may do what the account may; shown once."""
    from annotator.accounts.accounts import create_token
    from annotator.accounts.sessions import account_by_name

    with open_store(url).write() as session:
        click.echo(create_token(session, account_by_name(session, name).id, what_for))


@click.command()
@click.argument("name")
@click.argument("batch_name", metavar="BATCH")
@click.option("--quota", default=40, show_default=True, help="Triples for each worker.")
@click.option("--code", default="", help="Completion code; default: a random one.")
@click.option("--finish-url", default="", help="Where workers go in the end, https://...")
@store_option
@as_json_option
def study(  # noqa: PLR0917 - each is an option
    url: str, name: str, batch_name: str, quota: int, code: str, finish_url: str, *, as_json: bool
) -> None:
    """Open a batch to a crowd: workers come by a link, do their share, and get a code."""
    from annotator.crowd import studies

    with open_store(url).write() as session:
        made = studies.create_study(
            session, name, batch_name, quota=quota, code=code, finish_url=finish_url
        )
        print_result(
            {"study": name, "path": f"/join/{made.link}", "code": made.code}, as_json=as_json
        )


@click.group(cls=Group)
def labels() -> None:
    """What votes add up to, and how much people agree."""


@labels.command("make")
@options_from_dataclass(LabelSettings)
@store_option
@as_json_option
def labels_make(url: str, *, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    """Add up every triple's votes, and keep the labels for `lskd critic train --labels`."""
    from annotator.labels.aggregation import make_labels

    run = make_labels(open_store(url), LabelSettings(**chosen))
    people = run.results["people"].items()
    shown = run.results | {"people": [f"{name}: {share:.2f}" for name, share in people]}
    print_result({"run": run.name, **(run.results if as_json else shown)}, as_json=as_json)


@labels.command("agreement")
@click.option("--batch", "batch_name", help="Only votes of this batch.")
@click.option("--simulated", is_flag=True, help="Count votes of simulated annotators too.")
@store_option
@as_json_option
def labels_agreement(url: str, batch_name: str | None, *, simulated: bool, as_json: bool) -> None:
    """Print how much people agree beyond chance, with intervals by bootstrap over triples."""
    from annotator.labels.statistics import batch_agreement

    with open_store(url).read() as session:
        print_result(batch_agreement(session, batch_name, simulated=simulated), as_json=as_json)
