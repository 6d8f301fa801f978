"""What came of calls: every one of them and every reply accounted for."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import Call, Instruction, Rejection, Run, Triple
from generation.prices import dollars

_TURN = ("question", "answer")


def table_of(task: str) -> type[Triple] | type[Instruction]:
    """Where what a task writes is stored, by the task's name."""
    return Triple if task == "triples" else Instruction


def kept(session: Session, run: Run, image_id: int) -> list[list[tuple[str, str]]]:
    """What a run wrote about an image: of each row its texts, and what they are."""
    if table_of(run.settings["task"]) is Triple:
        triples = select(Triple).where(Triple.run_id == run.id, Triple.image_id == image_id)
        parts = ("question", "answer", "rationale")
        return [[(part, getattr(row, part)) for part in parts] for row in session.scalars(triples)]
    rows = select(Instruction).where(Instruction.run_id == run.id, Instruction.image_id == image_id)
    return [
        [(word, text) for turn in row.turns for word, text in zip(_TURN, turn, strict=True)]
        for row in session.scalars(rows)
    ]


def results(session: Session, run_id: int, task: str) -> dict[str, Any]:
    """Every call and every reply accounted for."""
    table = table_of(task)
    mine = Call.run_id == run_id
    by_status = dict(
        session.execute(select(Call.status, func.count()).where(mine).group_by(Call.status)).all()
    )
    sums = session.execute(
        select(
            func.coalesce(func.sum(Call.prompt_tokens), 0),
            func.coalesce(func.sum(Call.completion_tokens), 0),
            func.coalesce(func.sum(Call.cost), 0),
        ).where(mine)
    ).one()
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
        **({"failures": failures} if failures else {}),
        f"kept {table.__tablename__}": kept,
        "rejected": rejected,
        "prompt tokens": int(sums[0]),
        "completion tokens": int(sums[1]),
        "cost": dollars(int(sums[2])),
    }
