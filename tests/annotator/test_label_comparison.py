"""Comparing labels of the same votes: by runs and by methods."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from annotator.crowd import gold
from annotator.labels import methods
from annotator.labels.aggregation import VoteTable
from annotator.labels.comparison import PairRow, compare_labels, list_label_runs
from annotator.labels.label_runs import make_labels
from annotator.labels.settings import LabelSettings
from db.schema import Gold, Person, Vote
from db.store.session import Store
from lskd_cli import cli
from regions.errors import UserError
from tests.annotator.labelling import add_votes, fill

# Triple by person: + accepts, - rejects. The third person always contradicts the first.
VOTES = ("++-", "++-", "--+", "--+", "+--", "++-", "--+", "---")


@pytest.fixture
def voted(sqlite_store: Store) -> Store:
    people = fill(sqlite_store, triples=len(VOTES))
    add_votes(sqlite_store, people, VOTES)
    return sqlite_store


def test_a_pair_is_described_by_its_differences_and_kappa(voted: Store) -> None:
    run = make_labels(voted, LabelSettings("majority"))
    with voted.write() as session:
        judged = {"accept": (4, 6), "reject": (5,)}
        for decision, triples in judged.items():
            for triple in triples:
                gold.set_gold(session, triple, decision)  # type: ignore[arg-type]
    (pair,) = compare_labels(voted, [run.name, "majority"], simulated=False).pairs
    # Accepted by the majority: 1, 2, 6; and with the known answers: 1, 2, 4, 6.
    chance = 3 / 8 * 4 / 8 + 5 / 8 * 4 / 8
    kappa = (7 / 8 - chance) / (1 - chance)
    assert pair == PairRow(run.name, "majority", triples=8, differ=1, kappa=pair.kappa)
    assert pair.kappa == pytest.approx(kappa)


def test_methods_do_not_know_the_answers_that_they_are_measured_by(voted: Store) -> None:
    with voted.write() as session:
        gold.set_gold(session, 1, "accept")
        gold.set_gold(session, 2, "reject")
        gold.set_gold(session, 3, "accept")
    (majority,) = compare_labels(voted, ["majority"], simulated=False).labels
    assert majority.known_triples == 3
    assert majority.accuracy.value == pytest.approx(1 / 3)
    assert majority.accepted == 3  # 1, 3 and 6: the labels themselves use the answers


def test_a_run_is_measured_by_answers_given_since(voted: Store) -> None:
    with voted.write() as session:
        gold.set_gold(session, 1, "reject")
        session.flush()
        session.get_one(Gold, 1).created = 0
    run = make_labels(voted, LabelSettings("majority"))
    with voted.write() as session:
        gold.set_gold(session, 2, "accept")
        gold.set_gold(session, 3, "accept")
    (row,) = compare_labels(voted, [run.name], simulated=False).labels
    assert row.known_triples == 2
    assert row.accuracy.value == pytest.approx(1 / 2)


def test_a_tie_is_no_label(voted: Store) -> None:
    with voted.write() as session:
        people = session.scalars(select(Person.id).order_by(Person.id)).all()
        vote = session.scalars(select(Vote).where(Vote.person_id == people[0])).first()
        assert vote is not None
        vote.withdrawn = 1
    comparison = compare_labels(voted, ["dawid_skene", "majority"], simulated=False)
    assert [row.triples for row in comparison.labels] == [len(VOTES), len(VOTES) - 1]
    assert comparison.pairs[0].triples == len(VOTES) - 1


def test_without_names_all_methods_that_need_votes_alone_are_compared(voted: Store) -> None:
    comparison = compare_labels(voted, simulated=False)
    names = [row.labels for row in comparison.labels]
    assert names == ["majority", "weighted", "dawid_skene", "one_coin"]
    assert len(comparison.pairs) == 6


def test_an_unknown_name_is_reported_with_the_methods(voted: Store) -> None:
    with pytest.raises(UserError, match=r"no method or labels named 'magic'.*dawid_skene"):
        compare_labels(voted, ["magic"], simulated=False)


def test_held_out_votes_are_predicted_from_the_others() -> None:
    """Everybody accepts: by hand, with rates from the prior and the other votes."""
    n = 40
    votes = VoteTable(
        np.repeat(np.arange(n), 2), np.tile([0, 1], n), np.ones(2 * n, bool), n, 2, {}
    )
    likelihood = methods.mean_log_likelihood(votes, "majority")
    assert likelihood is not None
    assert np.log(0.95) < likelihood < 0
    single = VoteTable(np.arange(3), np.arange(3), np.ones(3, bool), 3, 3, {})
    assert methods.mean_log_likelihood(single, "majority") is None


def test_commands_list_and_compare(voted: Store) -> None:
    url = str(voted.engine.url)

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, ["labels", *words, "--store", url])
        assert result.exit_code == 0, result.output
        return result.stdout

    run("make", "--method", "one_coin")
    with voted.read() as session:
        (row,) = list_label_runs(session)
    assert (row.run, row.method, row.votes) == ("labels-1", "one_coin", 24)
    assert json.loads(run("list", "--json"))[0]["run"] == "labels-1"
    tables = run("compare", "labels-1", "majority")
    assert "Held-out log-likelihood" in tables
    assert "Kappa" in tables
    document = json.loads(run("compare", "labels-1", "majority", "--json"))
    assert {row["labels"] for row in document["labels"]} == {"labels-1", "majority"}
    assert document["pairs"][0]["triples"] == 8
