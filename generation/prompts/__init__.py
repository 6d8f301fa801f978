"""Prompt files: a version, messages with worked examples, and placeholders in the last message."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from regions.errors import InvalidError

Message = dict[str, str]
"""Role and content, as chat completions take them."""

DEFAULT_SCALE = 100.0
_FOLDER = Path(__file__).parent
_ROLE_LINE = re.compile(r"^# (system|user|assistant)$", re.MULTILINE)
_VERSION_LINE = re.compile(r"\Aversion: ([\w.-]{1,40})\n")
_SCALE_LINE = re.compile(r"scale: 0 to (\d{1,6})\n")
_FORMER_PLACEHOLDERS = {"tell": "parts"}
"""Former names, which prompt files of users may still have."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file: messages as (role, content) in order, the last one with placeholders."""

    version: str
    messages: tuple[tuple[str, str], ...]
    scale: float = DEFAULT_SCALE
    """The highest value that the prompt asks a judge for; the lowest is 0."""

    def fill(self, **values: str) -> list[Message]:
        """Return the messages, with `$name` in the last one replaced; values are not expanded."""
        former = {old: values[new] for old, new in _FORMER_PLACEHOLDERS.items() if new in values}
        *before, (role, template) = self.messages
        messages = [{"role": r, "content": content} for r, content in before]
        return [
            *messages,
            {"role": role, "content": Template(template).substitute(values | former)},
        ]


def load(name: str, file: str, placeholders: frozenset[str]) -> Prompt:
    """Return the prompt in `file`, or the included prompt `name`; InvalidError if it is invalid.

    The last message must contain exactly these placeholders. The version of `file` includes a
    digest of its text, so that every change gives another version.
    """
    path = Path(file) if file else _FOLDER / f"{name}.md"
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError("cannot read the prompt", where=str(path), hint=str(error)) from error
    version_line = _VERSION_LINE.match(text)
    if version_line is None:
        raise InvalidError("a prompt must begin with a line `version: NAME`", where=str(path))
    scale_line = _SCALE_LINE.match(text, version_line.end())
    _, *parts = _ROLE_LINE.split(text[version_line.end() :])
    messages = [
        (role, content.strip()) for role, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    if not messages or messages[-1][0] != "user":
        raise InvalidError("a prompt must end with a section `# user`", where=str(path))
    _check_placeholders(Template(messages[-1][1]), placeholders, path)
    version = version_line[1]
    if file:
        version = f"{version[:31]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    scale = float(scale_line[1]) if scale_line else DEFAULT_SCALE
    if not scale:
        raise InvalidError("a scale must end above 0", where=str(path))
    return Prompt(version, tuple(messages), scale)


def _check_placeholders(template: Template, expected: frozenset[str], path: Path) -> None:
    names = {_FORMER_PLACEHOLDERS.get(name, name) for name in template.get_identifiers()}
    if missing := sorted(expected - names):
        raise InvalidError(
            f"the placeholder ${missing[0]} is missing",
            where=str(path),
            hint="add it to the last section `# user`",
        )
    if unknown := sorted(names - expected):
        raise InvalidError(
            f"unknown placeholder ${unknown[0]}",
            where=str(path),
            hint=f"use {', '.join('$' + name for name in sorted(expected))}; "
            "write $$ for a dollar sign",
        )
    if not template.is_valid():
        raise InvalidError(
            "a single dollar sign", where=str(path), hint="write $$ for a dollar sign"
        )
