"""Every example in a docstring runs, and what the guides say of the program is what it prints."""

import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lskd_cli import cli
from lskd_console import OptionWithAliases

ROOT = Path(__file__).parent.parent
PACKAGES = ["annotator", "blip2", "critic", "db", "generation", "regions", "student"]
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in file.read_text("utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(
        importlib.import_module(name),
        optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL,
    )
    assert result.attempted
    assert not result.failed


def test_the_guide_lists_the_commands_as_the_program_prints_them() -> None:
    printed = CliRunner().invoke(cli, ["commands"]).output
    assert printed.strip() in (ROOT / "docs" / "commands.md").read_text("utf-8")


def test_the_paths_in_the_architecture_guide_exist() -> None:
    guide = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| .*\? \| `([^`]+)` \|$", guide, re.MULTILINE)
    assert len(rows) >= 20
    assert [path for path in rows if not (ROOT / path).is_file()] == []


def test_the_table_of_former_names_gives_names_that_exist() -> None:
    guide = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = guide.partition("## Former names")[2]
    rows = re.findall(r"^\| ([\w.]*) ?\| (.+) \| (.+) \|$", table, re.MULTILINE)
    package, unknown = "", []
    for name, _, today in rows:
        package = name or package
        if package in {"package", "---"}:
            continue
        files = ROOT.glob("*.py") if package == "." else (ROOT / package).rglob("*.py")
        code = "\n".join(file.read_text("utf-8") for file in files)
        unknown += [
            (package, term)
            for term in re.findall(r"`([^`]+)`", today)
            if not (ROOT / package / term).is_file()
            and not re.search(rf"\b{term.rpartition('.')[2]}\b", code)
        ]
    assert len(rows) > 40
    assert unknown == []


def test_the_table_of_former_options_is_complete() -> None:
    former = {
        (alias, max(set(option.opts) - set(option.aliases), key=len))
        for command in _commands(cli, click.Context(cli))
        for option in command.params
        if isinstance(option, OptionWithAliases)
        for alias in option.aliases
    }
    guide = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(--\S+)` \| `(--\S+)` \|", guide, re.MULTILINE)) == former


def _commands(command: click.Command, context: click.Context) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            yield from _commands(subcommand, context)
    else:
        yield command
