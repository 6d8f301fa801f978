"""Command-line options of tasks and describers."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from db.store.session import Store
from generation import prompts
from lskd_cli import cli


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("verbalize vision --model m --tell smell", "unknown parts 'smell'"),
        (
            "verbalize captions --model /nowhere --longest 5",
            "'/nowhere' cannot be loaded",
        ),
        ("verbalize answers --model /nowhere --longest 5", "'/nowhere' cannot be loaded"),
        ("generate triples --model m --read-again x", "no generation run named 'x'"),
    ],
)
def test_former_names_of_options_are_accepted(store: Store, command: str, message: str) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    result = CliRunner().invoke(cli, [*command.split(), "--store", url])
    assert result.exit_code == 2
    assert message in result.stderr


def test_only_one_way_to_handle_replies_can_be_chosen(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    words = "generate triples --model m --submit --collect --store"
    result = CliRunner().invoke(cli, [*words.split(), url])
    assert result.exit_code == 2
    assert "--submit and --collect cannot be combined" in result.stderr


def test_a_prompt_file_may_use_the_former_name_of_a_placeholder(tmp_path: Path) -> None:
    file = tmp_path / "prompt.md"
    file.write_text("version: mine\n\n# user\n$data\n\nTell: $tell.", "utf-8")
    prompt = prompts.load("vision", str(file), frozenset({"data", "parts"}))
    assert prompt.fill(data="{}", parts="scene")[-1]["content"] == "{}\n\nTell: scene."
