"""Commands in which a language model writes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from generation.settings import InstructionSettings, JudgeSettings, LLMSettings, TripleSettings
from lskd_console import (
    Group,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    progress_bar,
    settings_from,
    store_option,
)
from regions.errors import UserError

if TYPE_CHECKING:
    from db.schema import InstructionKind
    from generation.tasks.protocol import Task


@click.group(cls=Group)
def generate() -> None:
    """A language model writes about the images, from what is known of them in words."""


def asking(
    group: click.Group, name: str, settings: type, make: "Callable[[Any], Task]", help_: str
) -> None:
    """Add a command that asks for everything of a task that has no reply yet."""

    @group.command(name, help=help_)
    @options_from_dataclass(settings)
    @options_from_dataclass(LLMSettings)
    @click.option("--dry-run", is_flag=True, help="Print calls, tokens and cost, and ask nothing.")
    @click.option("--submit", is_flag=True, help="Hand in all requests, to be answered in a day.")
    @click.option("--collect", is_flag=True, help="Fetch the replies to what was submitted.")
    @click.option("--read-again", metavar="RUN", help="Read the replies of RUN anew; ask nothing.")
    @store_option
    @as_json_option
    def command(
        *,
        url: str,
        dry_run: bool,
        submit: bool,
        collect: bool,
        read_again: str | None,
        as_json: bool,
        **chosen: Any,  # noqa: ANN401 - the settings' fields
    ) -> None:
        from generation.runs.cost_estimate import plan
        from generation.runs.run import generate as write
        from generation.runs.run import read_again as read

        if submit and collect:
            raise UserError("submitted is not answered", hint="use --collect some hours later")
        store = open_store(url)
        llm = settings_from(LLMSettings, chosen)
        task = make(settings(**chosen))
        if dry_run:
            print_result(plan(store, task, llm, later=submit), as_json=as_json)
        elif submit or collect:
            from generation.runs import batch_runs

            do = batch_runs.submit if submit else batch_runs.collect
            made = do(store, task, llm, progress_bar("images" if submit else "submissions"))
            print_result({"run": made.name, **made.results}, as_json=as_json)
        elif read_again:
            print_result(read(store, task, read_again), as_json=as_json)
        else:
            made = write(store, task, llm, progress=progress_bar("images"))
            print_result({"run": made.name, **made.results}, as_json=as_json)


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


asking(
    generate,
    "triples",
    TripleSettings,
    _triples,
    "Questions, answers and rationales about regions.",
)
asking(
    generate,
    "judge",
    JudgeSettings,
    _judge,
    "How likely people would accept each triple: for a critic that averages judges.",
)
asking(
    generate,
    "conversations",
    InstructionSettings,
    _instructions("conversation"),
    "Conversations about the whole picture, as LLaVA learns from.",
)
asking(
    generate,
    "descriptions",
    InstructionSettings,
    _instructions("description"),
    "Detailed descriptions, as LLaVA learns from.",
)
asking(
    generate,
    "reasoning",
    InstructionSettings,
    _instructions("reasoning"),
    "Questions that take several steps of thought, as LLaVA learns from.",
)
