"""What every command does alike: errors in one line, options from settings, tables, progress."""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from regions.errors import UserError

if TYPE_CHECKING:
    from db.store.session import Store

Command = Callable[..., Any]
T = TypeVar("T")

DEFAULT_STORE = "sqlite:///lskd-data/store.db"


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
    """One option for each field of a settings dataclass: its default, its type and its help."""

    def add(command: Command) -> Command:
        for field in reversed(dataclasses.fields(settings)):
            option = "--" + field.name.replace("_", "-")
            is_flag = isinstance(field.default, bool)
            is_required = field.default is dataclasses.MISSING
            command = click.option(
                f"{option}/--no-{option[2:]}" if is_flag else option,
                field.name,
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


def print_result(record: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what a command did: a record as two columns, records as a table."""
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, indent=2))
        return
    rows: list[tuple[str, ...]]
    if isinstance(record, Mapping):
        rows = [(key, printable(value)) for key, value in record.items()]
    else:
        head = tuple(record[0]) if record else ("nothing",)
        rows = [head, *(tuple(printable(value) for value in row.values()) for row in record)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def printable(value: object) -> str:
    """A value on one line, with nothing that a terminal would obey."""
    if isinstance(value, list | tuple):
        return " ".join(map(printable, value))
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def progress_bar(unit: str) -> Callable[[int, int], None]:
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
