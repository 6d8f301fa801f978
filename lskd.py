"""The command line: one group of subcommands a package, each importing what it runs only then.

A user's mistake is one line and exit code 2; whatever a command did is one short table, or JSON.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regions.errors import UserError

if TYPE_CHECKING:
    from db.session import Store

DEFAULT_STORE = "sqlite:///lskd-data/store.db"
_SIMULATED = (0.9, 0.85, 0.8)
Command = Callable[..., Any]


class _Group(click.Group):
    """Prints a user's mistake as one line, without a traceback."""

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lskd-studio")
def main() -> None:
    """Region-grounded visual commonsense: write triples, judge them, learn from them."""


def _store(command: Command) -> Command:
    return click.option(
        "--store",
        "url",
        default=DEFAULT_STORE,
        envvar="LSKD_STORE",
        show_default=True,
        help="The store: a file, sqlite:///FILE or postgresql+psycopg://...",
    )(command)


def _json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(
        command
    )


def _options(settings: type) -> Callable[[Command], Command]:
    """One option for each field of a settings dataclass: its default, its type and its help."""

    def add(command: Command) -> Command:
        for field in reversed(dataclasses.fields(settings)):
            option = "--" + field.name.replace("_", "-")
            is_flag = isinstance(field.default, bool)
            command = click.option(
                f"{option}/--no-{option[2:]}" if is_flag else option,
                field.name,
                default=field.default,
                required=field.default is dataclasses.MISSING,
                show_default=True,
                help=field.metadata["help"],
            )(command)
        return command

    return add


def _open(url: str) -> "Store":
    from db.session import Store

    return Store.open(url)


def _show(record: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what a command did: a record as two columns, records as a table."""
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, indent=2))
        return
    if isinstance(record, Mapping):
        rows = [(key, _plain(value)) for key, value in record.items()]
    else:
        head = tuple(record[0]) if record else ("nothing",)
        rows = [head, *(tuple(_plain(value) for value in row.values()) for row in record)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _plain(value: object) -> str:
    """A value on one line, with nothing that a terminal would obey."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def _bar(unit: str) -> Callable[[int, int], None]:
    """Progress for a command: (done, total), shown once it has taken two seconds."""
    from tqdm import tqdm

    bar: tqdm[Any] = tqdm(unit=f" {unit}", delay=2, file=sys.stderr)

    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return report


@main.command()
@_store
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7860, show_default=True, help="Port to listen on.")
def app(url: str, host: str, port: int) -> None:
    """Serve the web app; with no store yet, make one with the demo project."""
    from annotator.serve import serve
    from db.demo import project
    from db.session import Store

    try:
        store = Store.open(url)
    except UserError as error:
        if error.what != "no store here":
            raise
        store = Store.create(url)
        project.create(store)
        click.echo(f"made {url} with the demo project")
    serve(store, host=host, port=port)


@main.command("import")
@click.argument("format_", metavar="FORMAT")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), required=True, help="Folder that holds the images."
)
@click.option("--source", default="", help="Name for where they come from; default: the folder's.")
@click.option("--accept-means", help="In label files with numbers: which number is accept, 1 or 0.")
@click.option("--strict", is_flag=True, help="Stop at the first bad row and change nothing.")
@_store
@_json
def import_(
    *,
    url: str,
    format_: str,
    file: Path,
    images: Path,
    source: str,
    accept_means: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Bring in FILE: lskd, coco or jsonl. Bad rows are kept out, counted and listed."""
    from db.formats.importing import check, import_file
    from db.session import Store

    check(format_, file, images, accept_means)
    report = import_file(
        Store.create(url),
        format_,
        file,
        images,
        source=source,
        strict=strict,
        accept_means=accept_means,
        progress=_bar("bytes"),
    )
    _show(report.as_dict(), as_json=as_json)


@main.command()
@click.argument("format_", metavar="FORMAT")
@click.option("--release", required=True, help="Name of the release to write.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@_store
@_json
def export(url: str, format_: str, release: str, out: Path, *, force: bool, as_json: bool) -> None:
    """Write a release's triples: lskd or jsonl."""
    from db.formats.exporting import export as write

    written = write(_open(url), format_, release, out, force=force, progress=_bar("triples"))
    _show({"release": release, "file": str(out), "triples": written}, as_json=as_json)


@main.command()
@_store
@_json
def status(url: str, *, as_json: bool) -> None:
    """What the store holds."""
    from db.status import status as read

    _show(read(_open(url)), as_json=as_json)


@main.command()
@_store
@_json
def verbalize(url: str, *, as_json: bool) -> None:
    """Describe every image and region from its annotations, without a model."""
    from generation.verbalize.annotations import Annotations
    from generation.verbalize.run import verbalize as describe

    run = describe(_open(url), Annotations(), progress=_bar("images"))
    _show({"run": run.name, **run.results}, as_json=as_json)


@main.command()
@click.argument("name")
@click.option("--votes", default=3, show_default=True, help="Votes wanted for each triple.")
@click.option("--size", type=int, help="How many triples; default: all that are in no batch.")
@click.option("--seed", default=0, show_default=True, help="Draws and orders the triples.")
@_store
@_json
def batch(url: str, name: str, votes: int, size: int | None, seed: int, *, as_json: bool) -> None:
    """Make a batch of triples that annotators have not been given yet."""
    from db.batches import draw_batch

    made = draw_batch(_open(url), name, wanted=votes, size=size, seed=seed)
    _show({"batch": name, "triples": made, "votes each": votes}, as_json=as_json)


@main.command("simulate-votes")
@click.option(
    "--accuracy",
    "accuracies",
    multiple=True,
    default=_SIMULATED,
    show_default=True,
    help="One simulated annotator each: how often it agrees with the answer key.",
)
@click.option("--seed", default=0, show_default=True, help="Draws their mistakes.")
@_store
@_json
def simulate_votes(url: str, accuracies: tuple[float, ...], seed: int, *, as_json: bool) -> None:
    """Let simulated annotators, named as such, vote on the demo from its answer key."""
    from db.simulate import simulate_votes as simulate

    votes = simulate(_open(url), accuracies=accuracies, seed=seed)
    _show({"simulated annotators": len(accuracies), "new votes": votes}, as_json=as_json)


@main.group()
def users() -> None:
    """Accounts of those who sign in."""


@users.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["annotator", "researcher", "admin"]),
    default="annotator",
    show_default=True,
    help="What they may do.",
)
@click.password_option(help="Asked for when not given.")
@_store
def users_add(url: str, name: str, role: str, password: str) -> None:
    """Add an account; with the first one, everybody has to sign in."""
    from annotator.login import add_person

    with _open(url).write() as session:
        add_person(session, name, role, password)
    click.echo(f"{name} can sign in as {role}")


@users.command("list")
@_store
@_json
def users_list(url: str, *, as_json: bool) -> None:
    """List the accounts, and who is simulated."""
    from annotator.login import people

    with _open(url).read() as session:
        _show(people(session), as_json=as_json)


@main.group()
def critic() -> None:
    """The model that learns to accept as people do."""


@main.group()
def student() -> None:
    """The model that learns from what the critic kept."""


@main.command()
def commands() -> None:
    """Print every command as a Markdown table, as the README has it."""
    click.echo("| command | what it does |\n|---|---|")
    for path, command in _walk(main, "lskd"):
        click.echo(f"| `{path}` | {command.get_short_help_str(200)} |")


def _walk(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _walk(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


if __name__ == "__main__":
    main()
