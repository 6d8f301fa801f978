"""Shared parts of the command line: errors, help, options from settings, tables and progress."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import click

from regions.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from tqdm import tqdm

    from db.store.session import Store

    Result = DataclassInstance | Mapping[str, Any]

Command = Callable[..., Any]
T = TypeVar("T")

DEFAULT_STORE = "sqlite:///lskd-data/store.db"
_HELP_INDENT = 6
"""Columns that click puts around a command's name in help."""


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
    """A group of commands that prints a UserError as one line and exits with code 2.

    Help lists the commands in the order in which they were added; with `sections`, under their
    headings. `former_names` maps names of commands that are still accepted to today's. Without a
    command, `default` is run.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own
        sections: Mapping[str, Sequence[str]] | None = None,
        former_names: Mapping[str, str] | None = None,
        default: str = "",
        **attributes: Any,  # noqa: ANN401 - click's own
    ) -> None:
        super().__init__(*args, **attributes)
        self._sections, self._former_names = sections or {}, former_names or {}
        self._default = default

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, section by section."""
        del ctx
        sorted_names = [name for names in self._sections.values() for name in names]
        return [*sorted_names, *(name for name in self.commands if name not in sorted_names)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the default command before its options."""
        if self._default and not {*args[:1]} & {*self.commands, "-h", "--help"}:
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name or a former one."""
        return super().get_command(ctx, self._former_names.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and the first sentence of each one's help."""
        names = self.list_commands(ctx)
        column = max(map(len, names), default=0)
        limit = formatter.width - _HELP_INDENT - column
        sections = self._sections or {"Commands": names}
        for heading, members in sections.items():
            commands = [(name, self.commands[name]) for name in members]
            rows = [
                (name.ljust(column), command.get_short_help_str(limit))
                for name, command in commands
                if not command.hidden
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own
        """Run the command."""
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"error: {printable(error)}", err=True)
            context.exit(2)


def store_option(command: Command) -> Command:
    """Add --store."""
    return click.option(
        "--store",
        "url",
        default=DEFAULT_STORE,
        envvar="LSKD_STORE",
        show_default=True,
        help="The store: a file, sqlite:///FILE or postgresql+psycopg://...",
    )(command)


def as_json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def open_store(url: str, *, create: bool = False) -> "Store":
    """Open an existing store, or create one, and clean up after processes that were killed."""
    from db.store import recovery
    from db.store.session import Store

    store = Store.create(url) if create else Store.open(url)
    for line in recovery.recover(store):
        click.echo(printable(line), err=True)
    return store


def options_from_dataclass(settings: type) -> Callable[[Command], Command]:
    """Add an option for each field of a settings dataclass, with its type, default and help.

    `metadata={"help": ..., "aliases": ["--former-name"]}`; aliases are accepted and not shown. A
    field with a tuple is an option that can be given several times, called `metadata["option"]`.
    """

    def add(command: Command) -> Command:
        for field in reversed(dataclasses.fields(settings)):
            option = field.metadata.get("option", "--" + field.name.replace("_", "-"))
            is_flag = isinstance(field.default, bool)
            is_required = field.default is dataclasses.MISSING
            has_shown_default = not is_required and field.default not in {"", None, ()}
            command = click.option(
                f"{option}/--no-{option[2:]}" if is_flag else option,
                field.name,
                cls=OptionWithAliases,
                aliases=field.metadata.get("aliases", ()),
                required=is_required,
                show_default=has_shown_default,
                multiple=isinstance(field.default, tuple),
                metavar=field.metadata.get("metavar"),
                **({} if is_required else {"default": field.default}),
                help=field.metadata["help"],
            )(command)
        return command

    return add


def settings_from(settings: type[T], options: dict[str, Any]) -> T:
    """Return a settings dataclass made of the options of its fields, which are removed."""
    fields = dataclasses.fields(settings)  # type: ignore[arg-type]
    return settings(**{field.name: options.pop(field.name) for field in fields})


def print_result(result: "Result | Sequence[Result]", *, as_json: bool) -> None:
    """Print the result of a command: one result as two columns, several as a table.

    A result is a dataclass or a mapping; the columns have the titles of `db.store.results`.
    """
    from db.store.results import title, to_json

    several = isinstance(result, Sequence)
    results: Sequence[Result] = result if isinstance(result, Sequence) else [result]
    if as_json:
        rows = [r if isinstance(r, Mapping) else to_json(r) for r in results]
        click.echo(
            json.dumps(rows if several else rows[0], ensure_ascii=False, indent=2, default=to_json)
        )
        return
    records = [_fields(r) for r in results]
    if several:
        head = [title(field) for field in records[0]] if records else ["none"]
        lines = [head, *([_cell(*item) for item in row.items()] for row in records)]
    else:
        lines = list(_lines(records[0]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _lines(record: Mapping[str, Any], indent: str = "") -> Iterator[list[str]]:
    """Yield title and value of each field; the fields of a record within it are indented."""
    from db.store.results import title

    for field, value in record.items():
        is_record = bool(value) and (isinstance(value, Mapping) or _has_fields(value))
        yield [
            indent + printable(title(field) if not indent or field.isidentifier() else field),
            "" if is_record else _cell(field, value),
        ]
        if is_record:
            yield from _lines(_fields(value), indent + "  ")


def printable(value: object) -> str:
    """Return a value on one line, without Python's notation or control characters.

    >>> printable({"kept": 3, "share": 0.5}), printable(None), printable([True, "a" + chr(7)])
    ('kept: 3, share: 0.500', '-', 'yes, a ')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if _has_fields(value):
        value = {name.replace("_", " "): item for name, item in _fields(value).items()}
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {printable(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(printable, value)) or "none"
    return "".join(c if c.isprintable() else " " for c in str(value))


def _cell(field: str, value: object) -> str:
    if field.endswith("_usd") and isinstance(value, int | float):
        return f"${value:,.4f}"
    return printable(value)


def _has_fields(value: object) -> "TypeGuard[DataclassInstance]":
    """Whether a value is a dataclass that is printed field by field, unlike an Estimate."""
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return is_record and "__str__" not in type(value).__dict__


def _fields(result: "Result") -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


class ProgressBar:
    """A progress callback that shows a bar on stderr after two seconds, and notes beside it."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: tqdm[Any] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Report the work done and the total."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(unit=f" {self._unit}", delay=2, file=sys.stderr)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()
            self._bar = None  # the next loop gets a bar of its own

    def note(self, text: str) -> None:
        """Show a line above the bar."""
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)


def progress_bar(unit: str) -> ProgressBar:
    """Return a progress callback that shows a bar on stderr after two seconds."""
    return ProgressBar(unit)
