"""What came of calls: every one of them and every reply accounted for."""

from typing import Any, get_args

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
from generation.llm.pricing import dollars
from generation.tasks.protocol import Written

_TURN = ("question", "answer")


def table_of(task: str) -> Written:
    """Where what a task writes is stored, by the task's name."""
    if task in get_args(InstructionKind):
        return Instruction
    tables: dict[str, Written] = {"triples": Triple, "judge": Judgement}
    return tables.get(task, Verbalization)


def kept(session: Session, run: Run, image_id: int) -> list[list[tuple[str, str]]]:
    """What a run wrote about an image: of each row its texts, and what they are."""
    table = table_of(run.settings["task"])
    rows = select(table).where(table.run_id == run.id, table.image_id == image_id)
    return [_texts(row) for row in session.scalars(rows.order_by(table.id))]


def _texts(row: object) -> list[tuple[str, str]]:
    if isinstance(row, Triple):
        return [(part, getattr(row, part)) for part in ("question", "answer", "rationale")]
    if isinstance(row, Instruction):
        return [(word, text) for turn in row.turns for word, text in zip(_TURN, turn, strict=True)]
    if isinstance(row, Judgement):
        return [(f"triple {row.triple_id}", f"{row.value:.0%}: {row.why}")]
    assert isinstance(row, Verbalization)
    place = row.kind if row.region_number is None else f"{row.kind} [{row.region_number}]"
    return [(place, row.text), *([("answer", row.answer)] if row.answer else [])]


def results(session: Session, run_id: int, task: str) -> dict[str, Any]:
    """Every call and every reply accounted for."""
    table = table_of(task)
    mine = Call.run_id == run_id
    came = mine & (Call.status != "submitted")
    by_status = dict(
        session.execute(select(Call.status, func.count()).where(mine).group_by(Call.status)).all()
    )
    sums = session.execute(
        select(
            func.coalesce(func.sum(Call.prompt_tokens), 0),
            func.coalesce(func.sum(Call.completion_tokens), 0),
            func.coalesce(func.sum(Call.cost), 0),
        ).where(came)
    ).one()
    held = session.scalar(select(func.sum(Call.cost)).where(mine, Call.status == "submitted"))
    rejected = dict(
        session.execute(
            select(Rejection.reason, func.count())
            .join(Call, Call.id == Rejection.call_id)
            .where(mine)
            .group_by(Rejection.reason)
            .order_by(Rejection.reason)
        ).all()
    )
    kept = session.scalar(select(func.count()).where(table.run_id == run_id))
    failures = dict(
        session.execute(
            select(Call.error, func.count())
            .where(mine, Call.status == "failed")
            .group_by(Call.error)
            .order_by(func.count().desc())
            .limit(5)
        ).all()
    )
    return {
        "replies": by_status.get("answered", 0),
        "failed calls": by_status.get("failed", 0),
        **({"submitted": by_status["submitted"]} if "submitted" in by_status else {}),
        **({"failures": failures} if failures else {}),
        f"kept {table.__tablename__}": kept,
        "rejected": rejected,
        "prompt tokens": int(sums[0]),
        "completion tokens": int(sums[1]),
        "cost": dollars(int(sums[2])),
        **({"cost of what is submitted, at most": dollars(int(held))} if held else {}),
    }
