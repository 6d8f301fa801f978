"""What every command does alike: errors in one line, options from settings, tables, progress."""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from regions.errors import UserError
from regions.progress import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from db.store.session import Store

    Result = DataclassInstance | Mapping[str, Any]

Command = Callable[..., Any]
T = TypeVar("T")

DEFAULT_STORE = "sqlite:///lskd-data/store.db"


class OptionWithAliases(click.Option):
    """An option that also accepts former names, which its help does not show."""

    def __init__(self, *names: Any, aliases: Sequence[str] = (), **attributes: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*names, **attributes)
        self.aliases = list(aliases)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:  # noqa: ANN401 - private type of click
        """Let the parser accept the aliases; a flag's also with `--no-`."""
        names, negative_names = self.opts, self.secondary_opts
        self.opts = [*names, *self.aliases]
        if negative_names:
            self.secondary_opts = [*negative_names, *(f"--no-{a[2:]}" for a in self.aliases)]
        super().add_to_parser(parser, ctx)
        self.opts, self.secondary_opts = names, negative_names


class Group(click.Group):
    """Prints a user's mistake as one line, without a traceback."""

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the command."""
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2)


def store_option(command: Command) -> Command:
    """Which store the command works on."""
    return click.option(
        "--store",
        "url",
        default=DEFAULT_STORE,
        envvar="LSKD_STORE",
        show_default=True,
        help="The store: a file, sqlite:///FILE or postgresql+psycopg://...",
    )(command)


def as_json_option(command: Command) -> Command:
    """Whether the command prints JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(
        command
    )


def open_store(url: str) -> "Store":
    """The store that is there."""
    from db.store.session import Store

    return Store.open(url)


def options_from_dataclass(settings: type) -> Callable[[Command], Command]:
    """One option for each field of a settings dataclass: its default, its type and its help.

    `metadata={"help": ..., "aliases": ["--former-name"]}`; aliases are accepted and not shown.
    """

    def add(command: Command) -> Command:
        for field in reversed(dataclasses.fields(settings)):
            option = "--" + field.name.replace("_", "-")
            is_flag = isinstance(field.default, bool)
            is_required = field.default is dataclasses.MISSING
            command = click.option(
                f"{option}/--no-{option[2:]}" if is_flag else option,
                field.name,
                cls=OptionWithAliases,
                aliases=field.metadata.get("aliases", ()),
                required=is_required,
                **({} if is_required else {"default": field.default, "show_default": True}),
                help=field.metadata["help"],
            )(command)
        return command

    return add


def settings_from(settings: type[T], chosen: dict[str, Any]) -> T:
    """A settings dataclass out of what was chosen, which loses its fields."""
    fields = dataclasses.fields(settings)  # type: ignore[arg-type]
    return settings(**{field.name: chosen.pop(field.name) for field in fields})


def print_result(result: "Result | Sequence[Result]", *, as_json: bool) -> None:
    """Print what a command did: one result as two columns, several as a table.

    A result is a dataclass or a mapping; the columns have the titles of `db.store.results`.
    """
    from db.store.results import title, to_json

    several = isinstance(result, Sequence)
    results: Sequence[Result] = result if isinstance(result, Sequence) else [result]
    if as_json:
        rows = [r if isinstance(r, Mapping) else to_json(r) for r in results]
        click.echo(json.dumps(rows if several else rows[0], ensure_ascii=False, indent=2))
        return
    records = [_fields(r) for r in results]
    if several:
        head = [title(field) for field in records[0]] if records else ["nothing"]
        lines = [head, *([printable(value) for value in row.values()] for row in records)]
    else:
        lines = [[title(field), printable(value)] for field, value in records[0].items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def printable(value: object) -> str:
    """A value on one line, without Python's notation and without control characters.

    >>> printable({"kept": 3, "share": 0.5}), printable(None), printable([True, "a" + chr(7)])
    ('kept: 3, share: 0.500', '-', 'yes, a ')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {printable(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(printable, value)) or "none"
    return "".join(c if c.isprintable() else " " for c in str(value))


def _fields(result: "Result") -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    return {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}


def progress_bar(unit: str) -> Progress:
    """Progress for a command: (done, total), shown once it has taken two seconds."""
    from tqdm import tqdm

    shown: tqdm[Any] | None = None

    def report(done: int, total: int) -> None:
        nonlocal shown
        if shown is None:
            shown = tqdm(unit=f" {unit}", delay=2, file=sys.stderr)
        shown.total = total
        shown.update(done - shown.n)
        if done >= total:
            shown.close()
            shown = None  # what comes next has a bar of its own

    return report
