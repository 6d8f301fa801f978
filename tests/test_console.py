"""The command line: help by section, options made from settings, former names, and errors."""

from dataclasses import dataclass, field
from typing import Any

import click
import pytest
from click.testing import CliRunner

import lskd_cli
from lskd_console import Group, options_from_dataclass, print_result, printable, settings_from
from regions.errors import NotFoundError, UserError


@dataclass(frozen=True, slots=True)
class Settings:
    eval_every: int = field(default=3, metadata={"help": "Steps.", "aliases": ["--every"]})
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "Less memory.", "aliases": ["--frugal"]}
    )


@click.command()
@options_from_dataclass(Settings)
def command(**chosen: Any) -> None:  # noqa: ANN401 - the settings' fields
    click.echo(repr(settings_from(Settings, chosen)))


def chosen_by(*words: str) -> str:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_a_former_name_of_an_option_sets_the_same_field() -> None:
    assert chosen_by("--every", "5") == chosen_by("--eval-every", "5") == repr(Settings(5))
    assert chosen_by("--frugal") == repr(Settings(gradient_checkpointing=True))
    assert chosen_by("--frugal", "--no-frugal") == repr(Settings())


def test_help_shows_no_former_name() -> None:
    help_text = CliRunner().invoke(command, ["--help"]).output
    assert "--eval-every" in help_text
    assert "--gradient-checkpointing / --no-gradient-checkpointing" in help_text
    assert "--every" not in help_text
    assert "--frugal" not in help_text


def test_an_unknown_option_is_still_an_error() -> None:
    assert CliRunner().invoke(command, ["--evr", "5"]).exit_code == 2


@click.group(
    cls=Group, sections={"Serve": ["app"], "Data": ["import"]}, former_names={"bring": "import"}
)
def program() -> None:
    """Do something."""


@program.command("import")
def import_() -> None:
    """Import a file. All of it."""
    click.echo("imported")


@program.command("app")
def app() -> None:
    """Serve the app."""
    raise NotFoundError("no store here", hint="create one")


def test_help_lists_commands_by_section() -> None:
    lines = CliRunner().invoke(program, ["--help"]).output.splitlines()
    start = lines.index("Serve:")
    expected = ["Serve:", "  app     Serve the app.", "", "Data:", "  import  Import a file."]
    assert lines[start:] == expected


def test_a_former_name_of_a_command_runs_it() -> None:
    assert CliRunner().invoke(program, ["bring"]).output == "imported\n"


def test_a_user_error_is_one_line_and_exit_code_2() -> None:
    done = CliRunner().invoke(program, ["app"])
    assert (done.exit_code, done.stderr) == (2, "error: no store here: create one\n")


def test_every_command_is_in_a_section() -> None:
    names = lskd_cli.cli.list_commands(click.Context(lskd_cli.cli))
    assert sorted(names) == sorted(lskd_cli.cli.commands)
    help_text = CliRunner().invoke(lskd_cli.cli, ["--help"]).output
    assert all(f"\n  {name} " in help_text for name in names)


def test_a_result_within_a_result_is_printed_in_words() -> None:
    assert printable(Settings(5)) == "eval every: 5, gradient checkpointing: no"


def test_help_shows_no_empty_default() -> None:
    commands = [
        (lskd_cli.cli.commands["generate"], "triples"),
        (lskd_cli.cli.commands["critic"], "train"),
    ]
    for group, name in commands:
        assert '""' not in CliRunner().invoke(group, [name, "--help"]).output


def test_fields_within_a_result_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"run": "import-1", "new": {"images": 3}, "notes": {}}, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "Run       import-1",
        "New",
        "  Images  3",
        "Notes     none",
    ]


def groups_below(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every group of commands, the program itself first."""
    subgroups = {n: c for n, c in group.commands.items() if isinstance(c, click.Group)}
    return [path, *(p for n, c in subgroups.items() for p in groups_below(c, (*path, n)))]


@pytest.mark.parametrize("path", groups_below(lskd_cli.cli), ids=" ".join)
def test_help_lists_each_command_on_one_whole_line_of_80_columns(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(lskd_cli.cli, [*path, "--help"], env={"COLUMNS": "80"})
    lines = done.output.splitlines()[1:]
    commands = [line for line in lines if line.startswith("  ") and "  --" not in line]
    assert len(commands) > 1
    assert not [line for line in lines if line.endswith("...") or len(line) > 80]


def test_an_error_is_printed_without_control_characters() -> None:
    @click.group(cls=Group)
    def program() -> None:
        """Fail."""

    @program.command()
    def fail() -> None:
        raise UserError("no such image", where="a\x1b[2J\nb")

    result = CliRunner().invoke(program, ["fail"])
    assert (result.exit_code, result.stderr) == (2, "error: no such image (a [2J b)\n")
