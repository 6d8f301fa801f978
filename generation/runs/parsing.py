"""Parses stored replies into rows of the task's table and rejections.

Replies are stored before they are parsed, so that they can be parsed again without a call.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from db.schema import Call, Image, Rejection, Run, Source, Triple, Verbalization
from db.store import queries
from db.store.clock import now
from db.store.results import to_json
from db.store.session import Store
from db.store.upsert import dialect_insert
from generation.checks.validation import ValidationFailure
from generation.runs import journal
from generation.runs.results import ReparseResults
from generation.runs.usage import count_usage, extend
from generation.tasks.context import Context, load_contexts
from generation.tasks.protocol import Provenance, Task
from regions.errors import InvalidError

_BATCH_SIZE = 200
"""Replies per transaction."""


def parse_replies(store: Store, task: Task, run_id: int) -> None:
    """Parse every reply of a run that has not been parsed yet."""
    while parse_batch(store, task, run_id):
        pass


def reparse(store: Store, task: Task, run_name: str) -> ReparseResults:
    """Parse all replies of a run again, without a call.

    Rows that the replies no longer give stay, because people may have voted on them; they are
    counted as `no_longer_found`.
    """
    with store.write() as session:
        run = queries.by_name(session, Run, run_name, Run.kind == "generate", noun="generation run")
        if run.settings["task"] != task.name:
            raise InvalidError(f"run {run_name} is of task {run.settings['task']}, not {task.name}")
        run_id = run.id
        of_run = select(Call.id).where(Call.run_id == run_id)
        session.execute(delete(Rejection).where(Rejection.call_id.in_(of_run)))
        released = journal.release_errors(session, run_id)
        journal.mark_unparsed(session, run_id)
        not_found = set(session.scalars(select(task.table.id).where(task.table.run_id == run_id)))
    while parse_batch(store, task, run_id, not_found):
        pass
    with store.write() as session:
        usage = count_usage(session, run_id, task.name)
        results = extend(
            usage, ReparseResults, no_longer_found=len(not_found), turned_into_failures=released
        )
        run = session.get_one(Run, run_id)
        run.results = run.results | to_json(results)
    return results


def parse_batch(store: Store, task: Task, run_id: int, not_found: set[int] | None = None) -> int:
    """Parse some replies in one transaction; how many there were.

    Ids of stored rows in `not_found` are ignored as duplicates; those that the replies give again
    are removed from the set.
    """
    not_found = not_found if not_found is not None else set()
    with store.write() as session:
        calls = journal.unparsed(session, run_id, _BATCH_SIZE)
        if not calls:
            return 0
        contexts = _load_contexts(session, task, calls, not_found)
        provenances = _load_provenances(session, run_id, contexts)
        rows: list[dict[str, Any]] = []
        rejections: list[dict[str, Any]] = []
        for call in calls:
            context, provenance = contexts[call.image_id], provenances[call.image_id]
            result = task.parse(context, provenance, call.reply, call.finish)
            origin = {"image_id": call.image_id, "model": provenance.model, "run_id": run_id}
            rows += [row | origin for row in result.rows]
            rejections += [_rejection(call, failure) for failure in result.rejected]
            contexts[call.image_id] = context.with_rows(result.rows)
            call.repaired, call.read = result.is_repaired, now()
        if rows:
            _insert(session, task, rows)
            if not_found:
                not_found.difference_update(_stored_ids(session, task, rows))
        if rejections:
            session.execute(insert(Rejection), rejections)
        return len(calls)


def _load_contexts(
    session: Session, task: Task, calls: Sequence[Call], exclude: Iterable[int]
) -> dict[int, Context]:
    """Return contexts by image id, without the task's own rows in `exclude`."""
    contexts = load_contexts(
        session,
        sorted({call.image_id for call in calls}),
        exclude_triples=set(exclude) if task.table is Triple else (),
        exclude_texts=set(exclude) if task.table is Verbalization else (),
    )
    return {context.image_id: context for context in contexts}


def _load_provenances(
    session: Session, run_id: int, image_ids: Iterable[int]
) -> dict[int, Provenance]:
    settings = session.get_one(Run, run_id).settings
    query = select(Image.id, Source.name).join(Source).where(Image.id.in_(list(image_ids)))
    return {
        image_id: Provenance(source, settings["model"], settings["prompt"])
        for image_id, source in session.execute(query).all()
    }


def _rejection(call: Call, failure: ValidationFailure) -> dict[str, Any]:
    return {
        "call_id": call.id,
        "reason": failure.reason,
        "detail": failure.detail,
        "text": failure.text,
    }


def _insert(session: Session, task: Task, rows: Sequence[dict[str, Any]]) -> None:
    statement = dialect_insert(session, task.table)
    session.execute(
        statement.on_conflict_do_nothing(index_elements=["image_id", "key"]), list(rows)
    )


def _stored_ids(session: Session, task: Task, rows: Sequence[dict[str, Any]]) -> set[int]:
    table = task.table
    query = select(table.id).where(
        table.key.in_([row["key"] for row in rows]),
        table.image_id.in_({row["image_id"] for row in rows}),
    )
    return set(session.scalars(query))
