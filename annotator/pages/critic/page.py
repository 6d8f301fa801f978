"""The researcher's page: train critics, drag a threshold, see what it keeps, promise, release."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from annotator.jobs.training_job import Trainer
from annotator.pages import shell
from db.store.session import Store


def build(store: Store) -> gr.Blocks:
    """The page over a store; what it calls is below."""
    with gr.Blocks() as page:
        shell.render_shell("critic", [*looking(store), *training(store), *releasing(store)])
    return page


def looking(store: Store) -> list[Any]:
    """What shows a critic. Models are imported when they are needed, not with the page."""

    def overview() -> dict[str, Any]:
        from critic import page_data

        return page_data.overview(store)

    def curve(run: str) -> dict[str, Any]:
        from critic import page_data

        return page_data.curve_of(store, run)

    def around(run: str, threshold: float) -> list[dict[str, Any]]:
        from critic import page_data

        return page_data.around(store, run, threshold)

    def slices(run: str, threshold: float, dimension: str) -> list[dict[str, Any]]:
        from critic import page_data

        return page_data.slices_of(store, run, threshold, dimension)

    def compare() -> list[dict[str, Any]]:
        from critic import page_data

        return page_data.compared(store)

    return [overview, curve, around, slices, compare]


def training(store: Store) -> list[Any]:
    """What makes critics, and asks for the votes that they lack."""
    trainer = Trainer(store)

    def simulate() -> dict[str, Any]:
        from db.demo.simulated_annotators import DEFAULT_ACCURACIES, simulate_votes

        return {"votes": simulate_votes(store, accuracies=DEFAULT_ACCURACIES)}

    def train(kind: str, *, simulated: bool) -> dict[str, Any]:
        trainer.start(["train", "--kind", kind, "--simulated" if simulated else "--no-simulated"])
        return trainer.state()

    def training_state() -> dict[str, Any]:
        return trainer.state()

    def retrain(every: int, kind: str, *, simulated: bool) -> dict[str, Any]:
        from critic.settings import PictureSettings, TrainSettings
        from critic.training import retraining

        if every:
            settings = TrainSettings(kind=kind, simulated=simulated)
            retraining.begin(store, every, settings, PictureSettings())
        else:
            retraining.end(store)
        with store.read() as session:
            return retraining.standing(session) or {"every": 0}

    def next_votes(run: str, threshold: float, size: int) -> dict[str, Any]:
        from critic import page_data

        return page_data.next_votes(store, run, threshold, size)

    def send(run: str, threshold: float, purpose: str, size: int) -> dict[str, Any]:
        from critic.thresholds import vote_planning

        use: vote_planning.Purpose = "guarantee" if purpose == "guarantee" else "estimate"
        batch, count = vote_planning.send(store, run, threshold, use, size=size, votes_required=3)
        return {"batch": batch, "triples": count}

    return [simulate, train, training_state, retrain, next_votes, send]


def releasing(store: Store) -> list[Any]:
    """What promises, freezes and compares."""

    def promise(run: str, target: float, confidence: float) -> dict[str, Any]:
        from critic.releases.release import promise as find

        return asdict(find(store, run, target, confidence))

    def release(run: str, **chosen: Any) -> dict[str, Any]:  # noqa: ANN401 - of the form
        from critic.releases.release import release as make
        from critic.settings import Selection

        limits = Selection(**chosen.pop("limits"))
        made = make(store, run_name=run, selection=limits, **chosen)
        return {"name": made.name, "kept": made.kept}

    def differ(first: str, second: str) -> dict[str, Any]:
        from critic.releases.release import compared

        return compared(store, first, second)

    def card(name: str) -> dict[str, Any]:
        from db.formats.data_card import card_by_name

        return {"text": card_by_name(store, name)}

    return [promise, release, differ, card]
