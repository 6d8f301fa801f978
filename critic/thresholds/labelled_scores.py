"""Labels of triples beside a critic's scores: the arrays that every metric is computed from."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.labelling.labels import Label, load_labels
from db.schema import Batch, BatchItem, Part, Run, Score, Split, StoredLabel, Triple, Vote
from db.store import runs

NEVER = np.inf
_MAX_IN_QUERY = 10_000


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Labelled and scored triples: arrays of shape (triples,)."""

    triple_ids: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    accepted: NDArray[np.bool_]
    scores: NDArray[np.float64]
    unbiased_from: NDArray[np.float64]
    """Lowest threshold at which a triple was selected for labelling at random.

    0: at random among all triples, so it counts at every threshold. inf: selected for what it is,
    as by active learning, so it is excluded from estimates.
    """

    def __len__(self) -> int:
        return len(self.triple_ids)

    def subset(self, mask: NDArray[np.bool_]) -> "LabelledScores":
        """Return the rows where `mask`, shape (triples,), is true."""
        return LabelledScores(
            self.triple_ids[mask],
            self.image_ids[mask],
            self.accepted[mask],
            self.scores[mask],
            self.unbiased_from[mask],
        )

    def random_subset(self) -> "LabelledScores":
        """Return the rows that were selected at random among all triples."""
        return self.subset(self.unbiased_from <= 0)


class LabelledTriple(NamedTuple):
    """A label with the triple's image and the part of the split that the image is in."""

    image_id: int
    part: Part
    label: Label


def with_images(session: Session, labels: Mapping[int, Label]) -> dict[int, LabelledTriple]:
    """Labels with their images and parts; labels of deleted triples are left out."""
    parts = runs.split(session)
    image_ids = _image_ids(session, labels.keys())
    return {
        i: LabelledTriple(image_ids[i], parts[image_ids[i]], labels[i]) for i in sorted(image_ids)
    }


def load_labelled_scores(session: Session, run: Run, part: Part) -> LabelledScores:
    """Labels and scores of the triples in a part of the split that a critic's run has scored."""
    query = labelled_triple_ids(run, part)
    labels, _ = load_labels(session, run.settings, simulated=run.simulated, triple_ids=query)
    ids = [i for i in session.scalars(query) if i in labels]
    image_ids, scores = _image_ids(session, ids), _scores(session, run.id, ids)
    rows = sorted((image_ids[i], i, scores[i]) for i in ids if i in scores)
    unbiased_from = unbiased_thresholds(session, run.name)
    return LabelledScores(
        np.array([i for _, i, _ in rows], dtype=np.int64),
        np.array([image_id for image_id, _, _ in rows], dtype=np.int64),
        np.array([labels[i].accept for _, i, _ in rows], dtype=bool),
        np.array([score for *_, score in rows], dtype=np.float64),
        np.array([unbiased_from.get(i, 0.0) for _, i, _ in rows], dtype=np.float64),
    )


def unbiased_thresholds(session: Session, run_name: str) -> dict[int, float]:
    """`LabelledScores.unbiased_from` of each triple in a batch, for the scores of a run.

    Active orders, gold, and batches cut by another run's scores select triples for what they are:
    inf. Triples in no batch were imported with their votes and count from 0.
    """
    items = session.execute(
        select(
            BatchItem.triple_id, BatchItem.at_random, BatchItem.votes_required, Batch.selection
        ).join(Batch, Batch.id == BatchItem.batch_id)
    )
    thresholds: defaultdict[int, float] = defaultdict(lambda: NEVER)
    for triple_id, at_random, votes_required, selection in items:
        is_random = at_random and votes_required
        threshold = _unbiased_from(selection, run_name) if is_random else NEVER
        thresholds[triple_id] = min(thresholds[triple_id], threshold)
    return dict(thresholds)


def _unbiased_from(selection: Mapping[str, Any], run_name: str) -> float:
    low, high = selection.get("score_from"), selection.get("score_to")
    if low is None and high is None:
        return 0.0 if selection.get("votes") != "split" else NEVER
    is_threshold = selection.get("run") == run_name and high is None and low is not None
    return float(low) if is_threshold and low is not None else NEVER


def labelled_triple_ids(run: Run, part: Part) -> Select[Any]:
    """Query of the triples in a part of the split that the run's labels are about."""
    if name := run.settings.get("labels"):
        labelling = select(Run.id).where(Run.name == name, Run.kind == "labels")
        ids = select(StoredLabel.triple_id.label("id")).where(StoredLabel.run_id.in_(labelling))
    else:
        ids = select(Vote.triple_id.label("id")).where(Vote.withdrawn.is_(None)).distinct()
    labelled = ids.subquery()
    return (
        select(labelled.c.id)
        .join(Triple, Triple.id == labelled.c.id)
        .join(Split, Split.image_id == Triple.image_id)
        .where(Split.part == part)
    )


def _image_ids(session: Session, triple_ids: Collection[int]) -> dict[int, int]:
    """The image of each triple that exists."""
    query = select(Triple.id, Triple.image_id)
    return {
        row[0]: row[1]
        for ids in _chunks(triple_ids)
        for row in session.execute(query.where(Triple.id.in_(ids)))
    }


def _scores(session: Session, run_id: int, triple_ids: Collection[int]) -> dict[int, float]:
    query = select(Score.triple_id, Score.value).where(Score.run_id == run_id)
    return {
        row[0]: row[1]
        for ids in _chunks(triple_ids)
        for row in session.execute(query.where(Score.triple_id.in_(ids)))
    }


def _chunks(triple_ids: Collection[int]) -> Iterator[list[int]]:
    """Ids in lists that fit into the parameters of a query."""
    ids = sorted(triple_ids)
    for start in range(0, len(ids), _MAX_IN_QUERY):
        yield ids[start : start + _MAX_IN_QUERY]
