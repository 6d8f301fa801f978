"""Commands of tasks for language models: run, estimate, submit, collect, parse again."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from generation.settings import LLMSettings
from lskd_console import (
    OptionWithAliases,
    as_json_option,
    open_store,
    options_from_dataclass,
    print_result,
    progress_bar,
    settings_from,
    store_option,
)
from regions.errors import InvalidError

if TYPE_CHECKING:
    from db.schema import Run
    from db.store.session import Store
    from generation.tasks.protocol import Task

_ALWAYS_SHOWN = frozenset({"calls", "replies", "kept", "images", "texts", "max_cost_usd"})


def add_task_command(
    group: click.Group, name: str, settings: type, make: "Callable[[Any], Task]", help_: str
) -> None:
    """Add a command to `group` that runs the task made from `settings` over all images."""

    @group.command(name, help=help_)
    @options_from_dataclass(settings)
    @options_from_dataclass(LLMSettings)
    @click.option("--dry-run", is_flag=True, help="Estimate calls, tokens and cost; call nothing.")
    @click.option("--submit", is_flag=True, help="Submit all requests to the Batch API and exit.")
    @click.option("--collect", is_flag=True, help="Fetch and parse the replies to --submit.")
    @click.option(
        "--reparse",
        hidden=True,  # a former name of `lskd generate reparse`
        cls=OptionWithAliases,
        aliases=["--read-again"],
    )
    @store_option
    @as_json_option
    def command(
        *,
        url: str,
        dry_run: bool,
        submit: bool,
        collect: bool,
        reparse: str | None,
        as_json: bool,
        **options: Any,  # noqa: ANN401 - the settings' fields
    ) -> None:
        if submit + collect + bool(reparse) > 1:
            raise InvalidError("--submit and --collect cannot be combined")
        store = open_store(url)
        llm = settings_from(LLMSettings, options)
        task = make(settings(**options))
        if dry_run:
            from db.store.results import to_json
            from generation.runs.cost_estimate import estimate_cost

            results = to_json(estimate_cost(store, task, llm, batch=submit))
            if results["max_cost_usd"] is None:
                click.echo(f"no price is known for {llm.model}; --prices FILE adds one", err=True)
        elif reparse:
            from db.store.results import to_json
            from generation.runs.parsing import reparse as parse_again

            results = to_json(parse_again(store, task, reparse))
        else:
            run = _run(store, task, llm, submit=submit, collect=collect)
            results = {"run": run.name, **run.results}
        print_results(results, as_json=as_json)


def _run(store: "Store", task: "Task", llm: LLMSettings, *, submit: bool, collect: bool) -> "Run":
    from generation.runs import batch_runs
    from generation.runs.run import generate

    if submit:
        return batch_runs.submit(store, task, llm, progress_bar("images"))
    if collect:
        return batch_runs.collect(store, task, llm, progress_bar("submissions"))
    progress = progress_bar("images")
    return generate(
        store,
        task,
        llm,
        progress=progress,
        on_wait=lambda s: progress.note(f"rate limited, waiting {math.ceil(s)} s"),
    )


def print_results(results: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the results of a run; the table leaves out what is zero or empty."""
    if not as_json:
        results = {
            key: value
            for key, value in results.items()
            if value or isinstance(value, bool) or key in _ALWAYS_SHOWN
        }
    print_result(results, as_json=as_json)
