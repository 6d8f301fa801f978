"""The researcher's page: train the critic, drag its threshold, see what it keeps, release."""

from typing import Any

import gradio as gr

from annotator.pages import shell
from db.session import Store


def build(store: Store) -> gr.Blocks:
    """The page over a store; what it calls is below."""
    with gr.Blocks() as page:
        shell.surface("critic", actions(store))
    return page


def actions(store: Store) -> list[Any]:
    """What the page may call. Models are imported when they are needed, not with the page."""

    def overview() -> dict[str, Any]:
        from critic import browse

        return browse.overview(store)

    def curve(run: str) -> dict[str, Any]:
        from critic import browse

        return browse.curve_of(store, run)

    def around(run: str, threshold: float) -> list[dict[str, Any]]:
        from critic import browse

        return browse.around(store, run, threshold)

    def simulate() -> dict[str, Any]:
        from db.simulate import ACCURACIES, simulate_votes

        return {"votes": simulate_votes(store, accuracies=ACCURACIES)}

    def train(*, simulated: bool) -> dict[str, Any]:
        from critic.settings import TrainSettings
        from critic.train import train as learn

        return {"name": learn(store, TrainSettings(simulated=simulated)).name}

    def release(run: str, threshold: float, name: str, *, simulated: bool) -> dict[str, Any]:
        from critic.release import release as make

        made = make(store, name, threshold, run_name=run, simulated=simulated)
        return {"name": made.name, "kept": made.kept}

    return [overview, curve, around, simulate, train, release]
