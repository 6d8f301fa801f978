"""What people say of triples beside what a critic says: the arrays that every figure is made of."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.labelling.labels import Label, majority_labels, stored_labels
from db.schema import Batch, BatchItem, Part, Run, Score, Split, StoredLabel, Triple, Vote
from db.store import runs

NEVER = np.inf
_NAMED = 10_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """Labelled triples: arrays of shape (triples,)."""

    triples: NDArray[np.int64]
    images: NDArray[np.int64]
    accepted: NDArray[np.bool_]
    scores: NDArray[np.float64]
    since: NDArray[np.float64]
    """From which threshold on chance alone chose it for labelling: 0 everywhere, inf nowhere."""

    def __len__(self) -> int:
        return len(self.triples)

    def where(self, chosen: NDArray[np.bool_]) -> "Evidence":
        """Some of it."""
        return Evidence(
            self.triples[chosen],
            self.images[chosen],
            self.accepted[chosen],
            self.scores[chosen],
            self.since[chosen],
        )

    def by_chance(self) -> "Evidence":
        """What stands for all triples: those that nobody chose for what they are."""
        return self.where(self.since <= 0)


class Labelled(NamedTuple):
    """A labelled triple: its image, the part of that image, and its label."""

    image_id: int
    part: Part
    label: Label


def labels_of(
    session: Session,
    settings: Mapping[str, Any],
    *,
    simulated: bool,
    triple_ids: Select[Any] | None = None,
) -> tuple[dict[int, Label], bool]:
    """Labels of the labelling that is named, or the majority; and whether simulated votes count.

    Of the majority, those that the query `triple_ids` finds are enough, if it is given.
    """
    if name := settings.get("labels"):
        return stored_labels(session, name)
    return majority_labels(session, simulated=simulated, triple_ids=triple_ids), simulated


def labelled(session: Session, found: Mapping[int, Label]) -> dict[int, Labelled]:
    """Labels with their images; those of triples that are gone are left out."""
    parts = runs.split(session)
    images = _images(session, found.keys())
    return {i: Labelled(images[i], parts[images[i]], found[i]) for i in sorted(images)}


def gather(session: Session, run: Run, part: Part) -> Evidence:
    """What people say of the triples of a part that a critic's run has scored."""
    mine = voted(run, part)
    found, _ = labels_of(session, run.settings, simulated=run.simulated, triple_ids=mine)
    ids = [i for i in session.scalars(mine) if i in found]
    images, scores = _images(session, ids), _scores(session, run.id, ids)
    rows = sorted((images[i], i, scores[i]) for i in ids if i in scores)
    since = drawn_since(session, run.name)
    return Evidence(
        np.array([i for _, i, _ in rows], dtype=np.int64),
        np.array([image for image, _, _ in rows], dtype=np.int64),
        np.array([found[i].accept for _, i, _ in rows], dtype=bool),
        np.array([score for *_, score in rows], dtype=np.float64),
        np.array([since.get(i, 0.0) for _, i, _ in rows], dtype=np.float64),
    )


def drawn_since(session: Session, run_name: str) -> dict[int, float]:
    """From which threshold of a run on chance alone chose each triple that is in a batch.

    Active orders, gold, and batches cut by somebody else's score choose by what a triple is. A
    triple that is in no batch came with its votes, and counts from 0.
    """
    items = session.execute(
        select(
            BatchItem.triple_id, BatchItem.at_random, BatchItem.votes_required, Batch.selection
        ).join(Batch, Batch.id == BatchItem.batch_id)
    )
    since: defaultdict[int, float] = defaultdict(lambda: NEVER)
    for triple_id, at_random, wanted, selection in items:
        begins = _begins(selection, run_name) if at_random and wanted else NEVER
        since[triple_id] = min(since[triple_id], begins)
    return dict(since)


def _begins(selection: Mapping[str, Any], run_name: str) -> float:
    cut = [selection.get(name) for name in ("score_from", "score_to")]
    if cut == [None, None] and selection.get("votes") != "split":
        return 0.0
    mine = selection.get("run") == run_name and cut[1] is None and cut[0] is not None
    return float(cut[0]) if mine and cut[0] is not None else NEVER


def voted(run: Run, part: Part) -> Select[Any]:
    """The triples of a part that a run's labels are about, as a query."""
    if name := run.settings.get("labels"):
        labelling = select(Run.id).where(Run.name == name, Run.kind == "labels")
        ids = select(StoredLabel.triple_id.label("id")).where(StoredLabel.run_id.in_(labelling))
    else:
        ids = select(Vote.triple_id.label("id")).where(Vote.withdrawn.is_(None)).distinct()
    some = ids.subquery()
    return (
        select(some.c.id)
        .join(Triple, Triple.id == some.c.id)
        .join(Split, Split.image_id == Triple.image_id)
        .where(Split.part == part)
    )


def _images(session: Session, triple_ids: Collection[int]) -> dict[int, int]:
    """The image of each triple that is there."""
    query = select(Triple.id, Triple.image_id)
    return {
        row[0]: row[1]
        for some in _pieces(triple_ids)
        for row in session.execute(query.where(Triple.id.in_(some)))
    }


def _scores(session: Session, run_id: int, triple_ids: Collection[int]) -> dict[int, float]:
    query = select(Score.triple_id, Score.value).where(Score.run_id == run_id)
    return {
        row[0]: row[1]
        for some in _pieces(triple_ids)
        for row in session.execute(query.where(Score.triple_id.in_(some)))
    }


def _pieces(triple_ids: Collection[int]) -> Iterator[list[int]]:
    """As many as a query may name."""
    ids = sorted(triple_ids)
    for start in range(0, len(ids), _NAMED):
        yield ids[start : start + _NAMED]
