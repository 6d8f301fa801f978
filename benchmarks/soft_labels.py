"""Critics trained on hard and on soft labels, side by side.

A soft label is the probability that a triple is acceptable; a hard one is accept or reject. On the
demo project, people of different accuracy are simulated, labels are made of their votes, and the
scores of test triples are compared with the answer key. On explanation_votes, three people each
judged the explanations of a language model; the share of them is the soft label, and scores are
compared with the majority on the published test part.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from explanations import fill
from sklearn.metrics import average_precision_score, brier_score_loss
from sqlalchemy import select
from table import SHARED_DATA, row

from annotator.labels.label_runs import make_labels
from annotator.labels.settings import LabelSettings
from critic.settings import TrainSettings
from critic.training.train import train
from db.demo import project
from db.demo.simulated_annotators import simulate_votes
from db.labelling.labels import majority_labels
from db.schema import AnswerKey, Run, Score, Split, Triple
from db.store.session import Store

ACCURACIES, SEEDS = (0.95, 0.75, 0.6, 0.6), 5
KINDS = ("hard", "soft")


def scores_and_truth(store: Store, run: Run, truth: dict[int, bool]) -> tuple[list[float], ...]:
    """Scores of test triples, and whether each is acceptable."""
    with store.read() as session:
        scores = dict(
            session.execute(
                select(Score.triple_id, Score.value)
                .join(Triple, Triple.id == Score.triple_id)
                .join(Split, Split.image_id == Triple.image_id)
                .where(Score.run_id == run.id, Split.part == "test")
            ).all()
        )
    ids = sorted(scores.keys() & truth.keys())
    return [scores[i] for i in ids], [float(truth[i]) for i in ids]


def demo(seed: int) -> dict[str, tuple[float, float]]:
    """Average precision and Brier score of both on the demo project."""
    with TemporaryDirectory() as folder:
        store = Store.create(f"sqlite:///{folder}/store.db")
        project.create(store)
        simulate_votes(store, accuracies=ACCURACIES, seed=seed)
        labels = make_labels(store, LabelSettings("dawid_skene", simulated=True))
        with store.read() as session:
            flaws = session.execute(select(AnswerKey.triple_id, AnswerKey.flaw)).all()
        truth = {triple: flaw is None for triple, flaw in flaws}
        return {
            kind: measured(
                store, TrainSettings(labels=labels.name, soft_labels=kind == "soft"), truth
            )
            for kind in KINDS
        }


def explanations(folder: Path) -> dict[str, tuple[float, float]]:
    """The same on explanation_votes."""
    with TemporaryDirectory() as place:
        store = Store.create(f"sqlite:///{place}/store.db")
        fill(store, folder)
        with store.read() as session:
            truth = {i: label.accept for i, label in majority_labels(session).items()}
        return {
            kind: measured(
                store, TrainSettings(from_runs="GPT-3", soft_labels=kind == "soft"), truth
            )
            for kind in KINDS
        }


def measured(store: Store, settings: TrainSettings, truth: dict[int, bool]) -> tuple[float, float]:
    """Average precision and Brier score of a critic on test triples."""
    scores, accepted = scores_and_truth(store, train(store, settings), truth)
    return (
        float(average_precision_score(accepted, scores)),
        float(brier_score_loss(accepted, scores)),
    )


def main() -> None:
    """Print both figures of both kinds of labels."""
    results: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for seed in range(SEEDS):
        for kind, figures in demo(seed).items():
            results[kind].append(figures)
    difference = np.array(results["soft"]) - np.array(results["hard"])
    for kind, values in results.items():
        precision, brier = np.mean(values, axis=0)
        row(
            f"critic on {kind} labels, demo with simulated votes, {SEEDS} seeds",
            f"average precision {precision:.3f}, Brier score {brier:.3f}",
            f"soft - hard: {difference[:, 0].mean():+.3f} ({difference[:, 0].min():+.3f} to"
            f" {difference[:, 0].max():+.3f}), {difference[:, 1].mean():+.3f}",
        )
    folder = SHARED_DATA / "explanation_votes"
    if not folder.is_dir():
        row("critic on soft labels, explanation_votes", f"skipped: no {folder.name} here", "")
        return
    for kind, (precision, brier) in explanations(folder).items():
        row(
            f"critic on {kind} labels, explanation_votes",
            f"average precision {precision:.4f}, Brier score {brier:.4f}",
            "",
        )


if __name__ == "__main__":
    main()
