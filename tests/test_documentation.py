"""Every example in a docstring runs, and what the guides say of the program is what it prints."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from lskd_cli import cli

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
