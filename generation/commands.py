"""The commands of `lskd generate`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from generation.settings import InstructionSettings, JudgeSettings, TripleSettings
from generation.task_command import add_task_command, print_results
from lskd_console import Group, as_json_option, open_store, store_option

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


@generate.command("reparse")
@click.argument("run")
@click.option("--language", default="", help="Required language instead of the run's, or any.")
@store_option
@as_json_option
def reparse_command(*, run: str, language: str, url: str, as_json: bool) -> None:
    """Read the stored replies of a run again, without a call.

    For replies that an earlier version could not read, or after a check has changed.
    """
    from db.schema import Run
    from db.store import queries
    from db.store.results import to_json
    from generation.runs.parsing import reparse
    from generation.stored_tasks import task_of

    store = open_store(url)
    with store.read() as session:
        stored = queries.by_name(session, Run, run, Run.kind == "generate", noun="generation run")
        task = task_of(run, stored.settings, language=language)
    print_results(to_json(reparse(store, task, run)), as_json=as_json)
