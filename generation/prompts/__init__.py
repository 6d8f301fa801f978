"""Prompts: text files with a version, their own examples, and place-holders that must be there."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from regions.errors import UserError

Message = dict[str, str]

_FOLDER = Path(__file__).parent
_HEAD = re.compile(r"^# (system|user|assistant)$", re.MULTILINE)
_VERSION = re.compile(r"\Aversion: ([\w.-]{1,40})\n")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file: messages in order, the last of which takes what is asked for."""

    version: str
    messages: tuple[tuple[str, str], ...]

    def fill(self, **values: str) -> list[Message]:
        """The messages, with each `$name` of the last one replaced; values are not looked into."""
        *before, (role, last) = self.messages
        filled = [{"role": r, "content": text} for r, text in before]
        return [*filled, {"role": role, "content": Template(last).substitute(values)}]


def load(name: str, file: str, needed: frozenset[str]) -> Prompt:
    """The prompt `name` that comes along, or `file`; UserError for one that cannot be used.

    A file's version is what it states and a digest of its text, so that a change shows.
    """
    path = Path(file) if file else _FOLDER / f"{name}.md"
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the prompt cannot be read", where=str(path), hint=str(error)) from error
    stated = _VERSION.match(text)
    if stated is None:
        raise UserError("a prompt begins with a line `version: NAME`", where=str(path))
    _, *pieces = _HEAD.split(text[stated.end() :])
    messages = [
        (role, words.strip()) for role, words in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    if not messages or messages[-1][0] != "user":
        raise UserError("a prompt ends with a part `# user`", where=str(path))
    template = Template(messages[-1][1])
    found = set(template.get_identifiers())
    if missing := sorted(needed - found):
        raise UserError(
            f"the place-holder ${missing[0]} is missing", where=str(path), hint="see `# user`"
        )
    if strange := sorted(found - needed):
        raise UserError(
            f"nothing fills ${strange[0]}",
            where=str(path),
            hint=f"use {', '.join('$' + name for name in sorted(needed))}; write $$ for a dollar",
        )
    if not template.is_valid():
        raise UserError("a lone dollar sign", where=str(path), hint="write $$ for a dollar")
    version = stated[1]
    if file:
        version = f"{version[:31]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Prompt(version, tuple(messages))
