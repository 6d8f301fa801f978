"""Who labels what next. All state is in the store; each call is one transaction.

A batch item is `taken` once for each vote and each live lease, and the table refuses more than are
wanted: never the same person twice on a triple, never too many votes, whatever crashes or repeats.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
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
_RECLAIM_MS = 1000
_BLOCK, _KEPT_BLOCKS, _KEPT_BATCHES = 64, 256, 100

Item = dict[str, Any]
"""What the page needs to show a triple: texts, regions, and where the picture is."""

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
_OWN_VOTE = text("""
    SELECT votes.id, decision, votes.batch_id, item.position FROM votes
    JOIN batch_items AS item ON item.batch_id = votes.batch_id AND item.triple_id = votes.triple_id
    WHERE key = :key AND person_id = :person AND withdrawn IS NULL
""")
_WITHDRAW = text("UPDATE votes SET withdrawn = :now WHERE id = :id")
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
    batch = batch_of(session, name)
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


class Queue:
    """Leases, votes and undo over a store. What items say is kept, since it never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._block = lru_cache(_KEPT_BLOCKS)(self._read_block)
        self._batch_id = lru_cache(_KEPT_BATCHES)(self._read_batch_id)
        self._reclaim_at = 0

    def lease(self, person_id: int, batch: str, count: int, after: int = -1) -> list[Item]:
        """The next items: those leased already, then new ones behind `after`, then before it.

        `count` is how many the person should hold.
        """
        batch_id = self._batch_id(batch)

        def do(connection: Connection) -> list[int]:
            self._reclaim(connection)
            held, new = _hold(connection, person_id, batch_id, count, after)
            return held + new

        return self._items(batch_id, self._store.write_together(do))

    def decide(
        self,
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
    ) -> list[Item]:
        """Store a vote, acknowledged only once it is on disk, and lease what comes next.

        With `ahead`, the person then holds so many items; those that are new come back. The same
        key again changes nothing. Refused: a second vote on a triple, and a vote whose lease has
        run out and whose place has gone to somebody else.
        """
        if set(reasons) - set(REASONS) or (reasons and decision != "reject"):
            raise UserError("reasons go with a rejection, and are those of the page")
        batch_id = self._batch_id(batch)
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

        def do(connection: Connection) -> list[int]:
            self._reclaim(connection)
            if connection.execute(_VOTE, vote).rowcount:
                leased = connection.execute(_END_LEASE, {**place, "person": person_id}).rowcount
                _settle(connection, place, leased=bool(leased), counts=decision != "skip")
            else:
                _explain(connection, key, person_id)
            return _hold(connection, person_id, batch_id, ahead, after)[1] if ahead else []

        return self._items(batch_id, self._store.write_together(do))

    def undo(self, person_id: int, key: str) -> Item:
        """Withdraw one's own vote and lease its item again; the item, to be judged anew."""

        def do(connection: Connection) -> tuple[int, int]:
            found = connection.execute(_OWN_VOTE, {"key": key, "person": person_id}).first()
            if found is None:
                raise Refused("this vote is not there, or was withdrawn already")
            connection.execute(_WITHDRAW, {"id": found.id, "now": now()})
            place = {"batch": found.batch_id, "position": found.position}
            # A vote held its place; a skip gave it back, and may find it gone.
            if found.decision == "skip" and not connection.execute(_TAKE, place).rowcount:
                raise Refused("others have finished this triple since you skipped it")
            connection.execute(_LEASE, {**place, "person": person_id, "expires": now() + LEASE_MS})
            return found.batch_id, found.position

        batch_id, position = self._store.write_together(do)
        return self._items(batch_id, [position])[0]

    def _reclaim(self, connection: Connection) -> None:
        """Give back what has expired; once a second is often enough."""
        if now() < self._reclaim_at:
            return
        self._reclaim_at = now() + _RECLAIM_MS
        for row in connection.execute(_EXPIRE, {"now": now()}).all():
            connection.execute(_GIVE_BACK, {"batch": row.batch_id, "position": row.position})

    def _items(self, batch_id: int, positions: Sequence[int]) -> list[Item]:
        return [self._block(batch_id, position // _BLOCK)[position] for position in positions]

    def _read_block(self, batch_id: int, block: int) -> dict[int, Item]:
        """Items of neighbouring positions, which annotators reach at about the same time."""
        first = block * _BLOCK
        with self._store.read() as session:
            rows = session.execute(
                select(BatchItem.position, Triple, Image, Batch.name)
                .join(Triple, Triple.id == BatchItem.triple_id)
                .join(Image, Image.id == Triple.image_id)
                .join(Batch, Batch.id == BatchItem.batch_id)
                .where(BatchItem.batch_id == batch_id)
                .where(BatchItem.position.between(first, first + _BLOCK - 1))
            ).all()
            regions = records.regions_of(session, {image.id for _, _, image, _ in rows})
        return {
            position: _item(batch, position, triple, image, regions[image.id])
            for position, triple, image, batch in rows
        }

    def _read_batch_id(self, name: str) -> int:
        with self._store.read() as session:
            return batch_of(session, name).id


def _item(
    batch: str, position: int, triple: Triple, image: Image, regions: Sequence[Region]
) -> Item:
    texts = {part: getattr(triple, part) for part in ("question", "answer", "rationale")}
    return {
        "batch": batch,
        "position": position,
        "triple": triple.id,
        "image": image_record(image),
        "regions": [asdict(region) for region in regions if region.number in triple.shown],
        **texts,
        "mentioned": references.mentioned(" ".join(texts.values())),
    }


def image_record(image: Image) -> dict[str, Any]:
    """What a page says of an image, and where it gets the picture."""
    fields = ("id", "width", "height", "title", "author", "licence", "origin")
    return {field: getattr(image, field) for field in fields} | {"url": f"/images/{image.id}"}


def batch_of(session: Session, name: str) -> Batch:
    """A batch by its name; UserError where there is none."""
    batch = session.scalar(select(Batch).where(Batch.name == name))
    if batch is None:
        raise UserError(f"no batch named {name!r}", todo="make one with `lskd batch`")
    return batch


def _hold(
    connection: Connection, person_id: int, batch_id: int, count: int, after: int
) -> tuple[list[int], list[int]]:
    """Lease until the person holds `count` items: positions held already, and the new ones."""
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
