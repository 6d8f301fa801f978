"""The critic page: train critics, choose and certify thresholds, plan votes, release triples."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from annotator.jobs.training_job import TrainingJob
from annotator.pages import shell
from db.store.results import to_json
from db.store.session import Store


def build(store: Store) -> gr.Blocks:
    """The page of a store; its server functions are below."""
    with gr.Blocks() as page:
        shell.render_shell(
            "critic", [*viewing(store), *training(store), *labelling(store), *releasing(store)]
        )
    return page


def viewing(store: Store) -> list[Any]:
    """Functions that show a critic. scikit-learn is imported on the first call."""

    def overview() -> dict[str, Any]:
        from critic import page_data

        return to_json(page_data.overview(store))

    def curve(run: str) -> dict[str, Any]:
        from critic import page_data

        return to_json(page_data.curve(store, run))

    def triples(run: str, threshold: float) -> list[dict[str, Any]]:
        from annotator.labelling.payloads import triple_payloads
        from critic import page_data

        with store.read() as session:
            near = page_data.triples_near(session, run, threshold)
            payloads = triple_payloads(session, [triple.triple_id for triple in near])
        return [payloads[triple.triple_id] | to_json(triple) for triple in near]

    def slices(run: str, threshold: float, dimension: str) -> list[dict[str, Any]]:
        from critic import page_data

        return [to_json(row) for row in page_data.slices_at(store, run, threshold, dimension)]

    def compare() -> dict[str, Any]:
        from critic import page_data

        return to_json(page_data.compare(store))

    return [overview, curve, triples, slices, compare]


def training(store: Store) -> list[Any]:
    """Functions that train critics."""
    job = TrainingJob(store)

    def simulate() -> dict[str, Any]:
        from db.demo.simulated_annotators import DEFAULT_ACCURACIES, simulate_votes

        return {"votes": simulate_votes(store, accuracies=DEFAULT_ACCURACIES)}

    def train(kind: str, *, simulated: bool) -> dict[str, Any]:
        job.start(["train", "--kind", kind, "--simulated" if simulated else "--no-simulated"])
        return to_json(job.state())

    def training_state() -> dict[str, Any]:
        return to_json(job.state())

    def retrain(every: int, kind: str, *, simulated: bool) -> dict[str, Any]:
        from critic.settings import ModelConfig, TrainSettings
        from critic.training import retraining

        if every:
            settings = TrainSettings(kind=kind, simulated=simulated)
            retraining.enable(store, every, settings, ModelConfig())
        else:
            retraining.disable(store)
        with store.read() as session:
            status = retraining.status(session)
        return to_json(status) if status else {"every": 0}

    return [simulate, train, training_state, retrain]


def labelling(store: Store) -> list[Any]:
    """Functions that plan votes."""

    def labeling_options(run: str, threshold: float, size: int) -> dict[str, Any]:
        from critic import page_data

        return to_json(page_data.labeling_options(store, run, threshold, size))

    def create_batch(run: str, threshold: float, purpose: str, size: int) -> dict[str, Any]:
        from critic.thresholds import vote_planning

        kind: vote_planning.Purpose = "guarantee" if purpose == "guarantee" else "estimate"
        return to_json(
            vote_planning.create_batch(store, run, threshold, kind, size=size, votes_required=3)
        )

    return [labeling_options, create_batch]


def releasing(store: Store) -> list[Any]:
    """Functions that certify thresholds, and create and compare releases."""

    def certify(run: str, target: float, confidence: float) -> dict[str, Any]:
        from critic.releases import guarantees

        return asdict(guarantees.certify(store, run, target, confidence))

    def release(run: str, limits: dict[str, int], **form: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of the form
        from critic.releases.release import create_release
        from critic.settings import ReleaseFilter

        created = create_release(store, run_name=run, limits=ReleaseFilter(**limits), **form)
        return {"name": created.name, "kept": created.kept}

    def compare_releases(first: str, second: str) -> dict[str, Any]:
        from critic.releases import compare

        return to_json(compare.compare_releases(store, first, second))

    def card(name: str) -> dict[str, Any]:
        from db.formats.data_card import card_by_name

        return {"text": card_by_name(store, name)}

    return [certify, release, compare_releases, card]
