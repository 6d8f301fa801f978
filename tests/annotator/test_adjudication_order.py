"""The order of triples to adjudicate: flagged ones, then the most uncertain."""

import pytest

from annotator.crowd import flags
from annotator.labels.adjudication import list_pending
from annotator.labels.label_runs import make_labels
from annotator.labels.settings import LabelSettings
from db.schema import StoredLabel
from db.store.session import Store
from tests.annotator.labelling import add_votes, fill

VOTES = ("+++-", "++--", "++++", "+-", "++-")


@pytest.fixture
def voted(store: Store) -> Store:
    people = fill(store, triples=6, people=4)
    add_votes(store, people, VOTES)
    return store


def order(store: Store) -> list[int]:
    with store.read() as session:
        return [item["triple"] for item in list_pending(session, simulated=False, limit=9).triples]


def test_without_labels_the_share_of_votes_nearest_to_a_half_comes_first(voted: Store) -> None:
    # Of the two ties, the one with fewer votes.
    assert order(voted) == [4, 2, 5, 1]


def test_a_flag_comes_before_all_else_and_needs_no_votes(voted: Store) -> None:
    with voted.write() as session:
        flags.add_flag(session, 1, 6, "the picture is missing")
    assert order(voted) == [6, 4, 2, 5, 1]


def test_the_newest_label_run_decides_by_posterior_and_interval(voted: Store) -> None:
    run = make_labels(voted, LabelSettings("dawid_skene"))
    bounds = {1: (0.3, 0.45, 0.6), 2: (0.1, 0.9, 1.0), 4: (0.4, 0.55, 0.6), 5: (0.0, 0.2, 1.0)}
    with voted.write() as session:
        for triple, (low, accept, high) in bounds.items():
            label = session.get_one(StoredLabel, (run.id, triple))
            label.low, label.accept, label.high = low, accept, high
    # 1 and 4 are as far from 0.5 and 1 has the wider interval.
    assert order(voted) == [1, 4, 5, 2]
    with voted.write() as session:
        session.delete(session.get_one(StoredLabel, (run.id, 2)))  # as on a tie
    assert order(voted)[0] == 2
