"""Options made from settings: defaults, flags, and former names that are still accepted."""

from dataclasses import dataclass, field
from typing import Any

import click
from click.testing import CliRunner

from lskd_console import options_from_dataclass, settings_from


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
