"""Stores with votes and a critic, made once a session and copied for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from critic.settings import TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.schema import Run
from db.store.session import Store
from tests.conftest import copy_of

QUICK = TrainSettings(simulated=True, resamples=20)


@pytest.fixture(scope="session")
def voted_store_file(demo_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voted")
    with copy_of(demo_store_file, folder) as store:
        simulate_votes(store, accuracies=[0.95, 0.9, 0.9])
    return folder / "store.db"


@pytest.fixture(scope="session")
def trained_store_file(voted_store_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with copy_of(voted_store_file, folder) as store:
        train(store, QUICK)
    return folder / "store.db"


@pytest.fixture
def voted(voted_store_file: Path, tmp_path: Path) -> Iterator[Store]:
    """The demo project with votes of three simulated annotators."""
    with copy_of(voted_store_file, tmp_path) as store:
        yield store


@pytest.fixture
def trained(trained_store_file: Path, tmp_path: Path) -> Iterator[tuple[Store, Run]]:
    """The voted store with a critic, and its run."""
    with copy_of(trained_store_file, tmp_path) as store:
        with store.read() as session:
            run = session.scalars(select(Run).where(Run.kind == "critic")).one()
        yield store, run
