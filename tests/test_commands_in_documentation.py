"""Every `lskd ...` in the documentation, in help texts and in messages is a command that exists.

Found are code spans and lines of code blocks. In a span, `a | b` means one command or the other;
words in capitals, `...` and `{...}` stand for values.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lskd_cli import cli

ROOT = Path(__file__).parent.parent
PACKAGES = ("annotator", "blip2", "critic", "db", "generation", "regions", "student")
GUIDES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SOURCES = [
    *ROOT.glob("lskd*.py"),
    *(
        file
        for package in PACKAGES
        for ending in ("py", "js", "html", "md", "json")
        for file in (ROOT / package).rglob(f"*.{ending}")
    ),
]
MENTION = re.compile(r"`(lskd [^`]+)`|^[ \t]*(?:\$ )?(lskd [^\n`]+)$", re.MULTILINE)


def mentions() -> Iterator[tuple[str, str]]:
    for file in [*GUIDES, *SOURCES]:
        text = file.read_text("utf-8")
        # A command that is continued on the next line.
        text = re.sub(r"\\\n[ \t]+", "", text)
        for span, line in MENTION.findall(text):
            if not line or file in GUIDES:
                yield str(file.relative_to(ROOT)), re.sub(r"\s+", " ", span or line)


FOUND = sorted(set(mentions()))


def problem(command: str) -> str | None:
    """Why `command` cannot be typed; None if it can.

    >>> problem("lskd critic train --kind blip2"), problem("lskd labels make | agreement")
    (None, None)
    >>> problem("lskd critic dance"), problem("lskd status --loudly")
    ('no command dance', 'no option --loudly')
    """
    words = shlex.split(command.split(" #", maxsplit=1)[0])[1:]
    group: click.Command = cli
    commands = [group]
    while isinstance(group, click.Group) and words:
        names = [words.pop(0)]
        while words[:1] == ["|"] and len(words) > 1:
            names.append(words[1])
            del words[:2]
        if not re.fullmatch(r"[a-z][a-z-]*", names[0]):
            words.insert(0, names[0])
            break
        unknown = [name for name in names if name not in group.commands]
        if unknown:
            return f"no command {unknown[0]}"
        commands = [group.commands[name] for name in names]
        if any(command.hidden for command in commands):
            return f"{names[0]} is an old name"
        group = commands[0]
    if isinstance(group, click.Group) and group is not cli and len(commands) == 1 and words:
        words = [word for word in words if word.startswith("--")]
    options = {
        name
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
        for name in (*option.opts, *option.secondary_opts)
    } | {"--help", "-h", "--version"}
    for word in words:
        name = word.split("=")[0].rstrip(",;:.)")
        if re.fullmatch(r"--?[a-z][a-z0-9-]*", name) and name not in options:
            return f"no option {name}"
    return None


def test_there_are_commands_to_check() -> None:
    assert len({command for _, command in FOUND}) > 60


@pytest.mark.parametrize(("file", "command"), FOUND, ids=lambda value: str(value)[:60])
def test_a_command_that_is_mentioned_exists(file: str, command: str) -> None:
    assert problem(command) is None, f"{file}: `{command}`: {problem(command)}"
