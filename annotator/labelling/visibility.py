"""Which images annotators see: those of what they may label, or have labelled."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from annotator.accounts.sessions import CurrentUser
from db.schema import Image
from db.store import queries
from regions.errors import NotFoundError

# Triples of an image are few, and each is looked up by an index: no cache is faster.
_IN_OPEN_BATCH = """
    SELECT 1 FROM triples
    JOIN batch_items AS item ON item.triple_id = triples.id
    JOIN batches ON batches.id = item.batch_id
    WHERE triples.image_id = :image AND batches.open LIMIT 1
"""
_IN_BATCH = text(_IN_OPEN_BATCH.replace("batches.open", "batches.name = :batch"))
_OPEN = text(_IN_OPEN_BATCH)
_VOTED = text("""
    SELECT 1 FROM triples JOIN votes ON votes.triple_id = triples.id
    WHERE triples.image_id = :image AND votes.person_id = :person LIMIT 1
""")


def visible_image(session: Session, user: CurrentUser, image_id: int) -> Image:
    """The image; NotFoundError if there is none that the user may see."""
    image = queries.by_id(session, Image, image_id)
    if not may_see(session, user, image_id):
        raise NotFoundError("no such image", where=str(image_id))
    return image


def may_see(session: Session, user: CurrentUser, image_id: int) -> bool:
    """Whether a user may see an image: researchers all, others what they may label or have judged.

    A crowd worker may label the batch of their study, an annotator every open one.
    """
    if user.study is None and user.role != "annotator":
        return True
    key = {"image": image_id, "batch": user.batch, "person": user.id}
    may_label = _OPEN if user.study is None else _IN_BATCH
    connection = session.connection()
    return any(connection.scalar(query, key) is not None for query in (may_label, _VOTED))
