"""Usage of a run, counted in the store: calls, tokens, cost, rows kept and rejected."""

from dataclasses import asdict
from typing import Any, TypeVar, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import (
    Call,
    Instruction,
    InstructionKind,
    Judgement,
    Rejection,
    Run,
    Triple,
    Verbalization,
)
from generation.llm.pricing import to_dollars
from generation.runs.results import Usage
from generation.tasks.protocol import OutputTable

T = TypeVar("T", bound=Usage)

_N_FAILURES = 5


def output_table(task: str) -> OutputTable:
    """Return the table that the task of this name writes to."""
    if task in get_args(InstructionKind):
        return Instruction
    tables: dict[str, OutputTable] = {"triples": Triple, "judge": Judgement}
    return tables.get(task, Verbalization)


def outputs(session: Session, run: Run, image_id: int) -> list[list[str]]:
    """Return the texts of each row that a run wrote about an image."""
    table = output_table(run.settings["task"])
    rows = select(table).where(table.run_id == run.id, table.image_id == image_id)
    return [_texts(row) for row in session.scalars(rows.order_by(table.id))]


def _texts(row: object) -> list[str]:
    if isinstance(row, Triple):
        return [row.question, row.answer, row.rationale]
    if isinstance(row, Instruction):
        return [text for turn in row.turns for text in turn]
    if isinstance(row, Judgement):
        return [f"{row.value:.0%}: {row.why}"]
    assert isinstance(row, Verbalization)
    return [row.text, row.answer] if row.answer else [row.text]


def count_usage(session: Session, run_id: int, task: str) -> Usage:
    """Count all calls and replies of a run of `task`."""
    table = output_table(task)
    of_run = Call.run_id == run_id
    by_status = dict(
        session.execute(select(Call.status, func.count()).where(of_run).group_by(Call.status)).all()
    )
    prompt_tokens, completion_tokens, cost = session.execute(
        select(
            func.coalesce(func.sum(Call.prompt_tokens), 0),
            func.coalesce(func.sum(Call.completion_tokens), 0),
            func.coalesce(func.sum(Call.cost), 0),
        ).where(of_run, Call.status != "submitted")
    ).one()
    submitted_cost = session.scalar(
        select(func.sum(Call.cost)).where(of_run, Call.status == "submitted")
    )
    rejected = dict(
        session.execute(
            select(Rejection.reason, func.count())
            .join(Call, Call.id == Rejection.call_id)
            .where(of_run)
            .group_by(Rejection.reason)
            .order_by(Rejection.reason)
        ).all()
    )
    failures = dict(
        session.execute(
            select(Call.error, func.count())
            .where(of_run, Call.status == "failed")
            .group_by(Call.error)
            .order_by(func.count().desc())
            .limit(_N_FAILURES)
        ).all()
    )
    return Usage(
        replies=by_status.get("answered", 0),
        failed_calls=by_status.get("failed", 0),
        failures=failures,
        submitted=by_status.get("submitted", 0),
        kept=session.scalar(select(func.count()).where(table.run_id == run_id)) or 0,
        repaired=session.scalar(select(func.count()).select_from(Call).where(of_run, Call.repaired))
        or 0,
        rejected=rejected,
        prompt_tokens=int(prompt_tokens),
        completion_tokens=int(completion_tokens),
        cost_usd=to_dollars(int(cost)),
        submitted_max_cost_usd=to_dollars(int(submitted_cost or 0)),
    )


def extend(usage: Usage, kind: type[T], **more: Any) -> T:  # noqa: ANN401 - fields of `kind`
    """Return results of `kind` with the fields of `usage` and `more`."""
    return kind(**asdict(usage), **more)
