"""The commands of `lskd generate`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from generation.settings import InstructionSettings, JudgeSettings, TripleSettings
from generation.task_command import add_task_command
from lskd_console import Group

if TYPE_CHECKING:
    from db.schema import InstructionKind
    from generation.tasks.protocol import Task


@click.group(cls=Group)
def generate() -> None:
    """Write triples and instructions with a language model.

    The model reads what the store knows of each image in words; see `lskd verbalize`.
    """


def _triples(settings: TripleSettings) -> "Task":
    from generation.tasks.triples import Triples

    return Triples(settings)


def _judge(settings: JudgeSettings) -> "Task":
    from generation.tasks.judge import Judge

    return Judge(settings)


def _instructions(kind: "InstructionKind") -> "Callable[[InstructionSettings], Task]":
    def make(settings: InstructionSettings) -> "Task":
        from generation.tasks.instructions import Instructions

        return Instructions(kind, settings)

    return make


add_task_command(
    generate,
    "triples",
    TripleSettings,
    _triples,
    "Write questions, answers and rationales about regions.",
)
add_task_command(
    generate,
    "judge",
    JudgeSettings,
    _judge,
    "Judge how likely people would accept each triple.",
)
add_task_command(
    generate,
    "conversations",
    InstructionSettings,
    _instructions("conversation"),
    "Write LLaVA conversations about whole images.",
)
add_task_command(
    generate,
    "descriptions",
    InstructionSettings,
    _instructions("description"),
    "Write LLaVA detailed descriptions of images.",
)
add_task_command(
    generate,
    "reasoning",
    InstructionSettings,
    _instructions("reasoning"),
    "Write LLaVA complex reasoning questions about images.",
)
