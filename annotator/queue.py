"""Who labels what next. All state is in the store; each call is one transaction.

A batch item is `taken` once for each vote and each live lease, and the table refuses more than are
wanted: never the same person twice on a triple, never too many votes, whatever crashes or repeats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, TextClause, func, select, text
from sqlalchemy.orm import Session

from db import records
from db.clock import now
from db.schema import REASONS, Batch, BatchItem, Decision, Image, Reason, Triple, Vote
from db.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region

LEASE_MS = 10 * 60_000
AHEAD = 4

_EXPIRE = text("DELETE FROM leases WHERE expires < :now RETURNING batch_id, position")
_GIVE_BACK = text(
    "UPDATE batch_items SET taken = taken - 1 WHERE batch_id = :batch AND position = :position"
)
_TAKE = text(
    "UPDATE batch_items SET taken = taken + 1"
    " WHERE batch_id = :batch AND position = :position AND taken < wanted"
)
_MINE = text(
    "SELECT position FROM leases WHERE batch_id = :batch AND person_id = :person ORDER BY position"
)
# The look-ups behind NOT EXISTS use the unique index of standing votes and the leases' key.
_OPEN = """
    SELECT position FROM batch_items AS item
    WHERE batch_id = :batch AND taken < wanted AND position {side} :after
      AND NOT EXISTS (SELECT 1 FROM votes WHERE votes.triple_id = item.triple_id
                      AND votes.person_id = :person AND votes.withdrawn IS NULL)
      AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.batch_id = item.batch_id
                      AND leases.position = item.position AND leases.person_id = :person)
    ORDER BY position LIMIT :count
"""
_AFTER, _BEFORE = text(_OPEN.format(side=">")), text(_OPEN.format(side="<="))
_LEASE = text(
    "INSERT INTO leases (batch_id, position, person_id, expires)"
    " VALUES (:batch, :position, :person, :expires) ON CONFLICT DO NOTHING"
)
_END_LEASE = text(
    "DELETE FROM leases WHERE batch_id = :batch AND position = :position AND person_id = :person"
)
_VOTE = text("""
    INSERT INTO votes (key, triple_id, person_id, batch_id, decision, reasons, duration_ms, created)
    SELECT :key, triple_id, :person, batch_id, :decision, :reasons, :duration, :now
    FROM batch_items WHERE batch_id = :batch AND position = :position
    ON CONFLICT DO NOTHING
""")
_BATCH_ID = text("SELECT id FROM batches WHERE name = :name")
_SAME_KEY = text("SELECT person_id FROM votes WHERE key = :key")


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """A vote that cannot count, in words for whoever gave it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch as one person sees it: `left` are triples that still want this person's vote."""

    name: str
    wanted: int
    total: int
    mine: int
    left: int


def batches(session: Session, person_id: int) -> list[Progress]:
    """Every batch, the newest first."""
    names = session.scalars(select(Batch.name).order_by(Batch.id.desc())).all()
    return [progress(session, name, person_id) for name in names]


def progress(session: Session, name: str, person_id: int) -> Progress:
    """How far a batch is; UserError where there is none of that name."""
    batch = session.get_one(Batch, _batch_id(session.connection(), name))
    in_batch = select(func.count()).select_from(BatchItem).where(BatchItem.batch_id == batch.id)
    my_votes = select(Vote.triple_id).where(Vote.person_id == person_id, Vote.withdrawn.is_(None))
    judged = my_votes.where(Vote.decision != "skip")
    total = session.scalar(in_batch) or 0
    mine = session.scalar(in_batch.where(BatchItem.triple_id.in_(judged))) or 0
    open_ = in_batch.where(BatchItem.taken < BatchItem.wanted)
    left = session.scalar(open_.where(BatchItem.triple_id.not_in(my_votes))) or 0
    leased = session.execute(
        text("SELECT COUNT(*) FROM leases WHERE batch_id = :batch AND person_id = :person"),
        {"batch": batch.id, "person": person_id},
    ).scalar_one()
    full_but_mine = min(leased, total - mine - left)
    return Progress(batch.name, batch.wanted, total, mine, left + full_but_mine)


def lease(
    store: Store, person_id: int, batch: str, count: int, after: int = -1
) -> list[dict[str, Any]]:
    """The next items for a person: those leased already, then new ones behind `after`, then before.

    `count` is how many the person should hold. Items are as `items` gives them.
    """
    with store.write() as session:
        batch_id = _batch_id(session.connection(), batch)
        held, new = _hold(session.connection(), person_id, batch_id, count, after)
        return items(session, batch, batch_id, held + new)


def decide(
    store: Store,
    person_id: int,
    batch: str,
    position: int,
    *,
    decision: Decision,
    reasons: Sequence[Reason],
    key: str,
    duration_ms: int | None,
    ahead: int = 0,
    after: int = -1,
) -> list[dict[str, Any]]:
    """Store a vote, acknowledged only once it is on disk, and lease what comes next.

    With `ahead`, the person then holds so many items; those that are new come back.

    The same key again changes nothing. Refused: a second vote on a triple, and a vote whose lease
    has run out and whose place has gone to somebody else.
    """
    if set(reasons) - set(REASONS) or (reasons and decision != "reject"):
        raise UserError("reasons go with a rejection, and are those of the page")
    with store.write() as session:
        connection = session.connection()
        batch_id = _batch_id(connection, batch)
        place = {"batch": batch_id, "position": position}
        vote = {
            **place,
            "key": key,
            "person": person_id,
            "decision": decision,
            "reasons": _json(reasons),
            "duration": duration_ms,
            "now": now(),
        }
        if connection.execute(_VOTE, vote).rowcount:
            leased = connection.execute(_END_LEASE, {**place, "person": person_id}).rowcount
            _settle(connection, place, leased=bool(leased), counts=decision != "skip")
        else:
            _explain(connection, key, person_id)
        if not ahead:
            return []
        _, new = _hold(connection, person_id, batch_id, ahead, after)
        return items(session, batch, batch_id, new)


def undo(store: Store, person_id: int, key: str) -> dict[str, Any]:
    """Withdraw one's own vote and lease its item again; the item, to be judged anew."""
    with store.write() as session:
        connection = session.connection()
        vote = session.scalar(
            select(Vote).where(
                Vote.key == key, Vote.person_id == person_id, Vote.withdrawn.is_(None)
            )
        )
        if vote is None or vote.batch_id is None:
            raise Refused("this vote is not there, or was withdrawn already")
        item = session.scalars(
            select(BatchItem).where(
                BatchItem.batch_id == vote.batch_id, BatchItem.triple_id == vote.triple_id
            )
        ).one()
        place = {"batch": item.batch_id, "position": item.position}
        vote.withdrawn = now()
        session.flush()
        # A vote held its place; a skip gave it back, and may find it gone.
        if vote.decision == "skip" and not connection.execute(_TAKE, place).rowcount:
            raise Refused("others have finished this triple since you skipped it")
        connection.execute(_LEASE, {**place, "person": person_id, "expires": now() + LEASE_MS})
        name = session.get_one(Batch, item.batch_id).name
        return items(session, name, item.batch_id, [item.position])[0]


def items(
    session: Session, batch: str, batch_id: int, positions: Sequence[int]
) -> list[dict[str, Any]]:
    """What the page needs to show these places of a batch, in their order."""
    if not positions:
        return []
    rows = session.execute(
        select(BatchItem.position, Triple, Image)
        .join(Triple, Triple.id == BatchItem.triple_id)
        .join(Image, Image.id == Triple.image_id)
        .where(BatchItem.batch_id == batch_id, BatchItem.position.in_(positions))
    ).all()
    regions = records.regions_of(session, {image.id for _, _, image in rows})
    found = {}
    for position, triple, image in rows:
        texts = {part: getattr(triple, part) for part in ("question", "answer", "rationale")}
        found[position] = {
            "batch": batch,
            "position": position,
            "triple": triple.id,
            "image": image_record(image),
            "regions": [_region(r) for r in regions[image.id] if r.number in triple.shown],
            **texts,
            "mentioned": references.mentioned(" ".join(texts.values())),
        }
    return [found[position] for position in positions]


def image_record(image: Image) -> dict[str, Any]:
    """What a page says of an image, and where it gets the picture."""
    fields = ("id", "width", "height", "title", "author", "licence", "origin")
    return {field: getattr(image, field) for field in fields} | {"url": f"/images/{image.id}"}


def _region(region: Region) -> dict[str, Any]:
    """`dataclasses.asdict` without its copies, which took a third of a vote's time."""
    return {
        "number": region.number,
        "box": region.box,
        "polygons": region.polygons,
        "label": region.label,
    }


def _batch_id(connection: Connection, name: str) -> int:
    """The id of a batch; UserError where there is none of that name."""
    found: int | None = connection.execute(_BATCH_ID, {"name": name}).scalar()
    if found is None:
        raise UserError(f"no batch named {name!r}", todo="make one with `lskd batch`")
    return found


def _hold(
    connection: Connection, person_id: int, batch_id: int, count: int, after: int
) -> tuple[list[int], list[int]]:
    """Give back what expired, then lease until the person holds `count` items.

    The positions that were held already, and the new ones.
    """
    for row in connection.execute(_EXPIRE, {"now": now()}).all():
        connection.execute(_GIVE_BACK, {"batch": row.batch_id, "position": row.position})
    who = {"batch": batch_id, "person": person_id}
    held, new = list(connection.execute(_MINE, who).scalars()), list[int]()
    sides: tuple[TextClause, ...] = (_AFTER, _BEFORE)
    for side in sides:
        missing = count - len(held) - len(new)
        if missing <= 0:
            break
        asked = {**who, "after": after, "count": missing}
        for position in connection.execute(side, asked).scalars().all():
            place = {"batch": batch_id, "position": position}
            mine = {**place, "person": person_id, "expires": now() + LEASE_MS}
            # On PostgreSQL others, or another tab of this person, may have been quicker.
            if not connection.execute(_TAKE, place).rowcount:
                continue
            if connection.execute(_LEASE, mine).rowcount:
                new.append(position)
            else:
                connection.execute(_GIVE_BACK, place)
    return held, new


def _settle(connection: Connection, place: dict[str, int], *, leased: bool, counts: bool) -> None:
    """Keep `taken` true after a vote: a lease's place becomes the vote's; a skip needs none."""
    if leased and not counts:
        connection.execute(_GIVE_BACK, place)
    if not leased and counts and not connection.execute(_TAKE, place).rowcount:
        raise Refused("others have finished this triple; your vote was not needed any more")


def _explain(connection: Connection, key: str, person_id: int) -> None:
    """Why a vote was not stored: sent before, which is well, or refused."""
    owner = connection.execute(_SAME_KEY, {"key": key}).scalar()
    if owner is None:
        raise Refused("you have judged this triple already, or it is not in the batch")
    if owner != person_id:
        raise Refused("this key belongs to another vote")


def _json(reasons: Sequence[Reason]) -> str:
    return "[" + ", ".join(f'"{reason}"' for reason in reasons) + "]"
