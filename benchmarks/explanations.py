"""Critics on real votes: explanations of a language model, judged by three people each.

A question takes the place of an image, since its explanations are correlated. Critics of every kind
that needs no pretrained weights are trained on the published training part, without a fifth that is
kept for calibration, and compared on the published test part. The likelihood that the language
model gave to each explanation is stored as a judgement that critics may use.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from table import SHARED_DATA, row

from critic.releases.guarantees import certify
from critic.releases.release import create_release
from critic.settings import ReleaseFilter, TrainSettings
from critic.thresholds.comparison import compare_critics
from critic.training.train import train
from db.schema import Image, Judgement, Part, Person, Release, Source, Split, Triple, Vote
from db.store import keys, runs
from db.store.releases import ReleaseEstimate
from db.store.results import from_json, title
from db.store.session import Store

PEOPLE, CALIBRATION_SHARE = 3, 0.2
REFERENCES = {
    "text": "word features .700",
    "likelihood": "likelihood alone .750",
    "baseline with likelihood": "both .755",
}
SHOWN = ("average_precision", "precision_in_top_fifth", "brier")
CRITICS = (
    TrainSettings(name="text", kind="text"),
    TrainSettings(name="likelihood", kind="average", from_runs="GPT-3"),
    TrainSettings(name="text with likelihood", kind="text", from_runs="GPT-3"),
    TrainSettings(name="baseline with likelihood", from_runs="GPT-3"),
    TrainSettings(name="average", kind="average", from_runs="text with likelihood,likelihood"),
)


@dataclass(frozen=True)
class Explanation:
    """One of a question's five explanations, with its votes."""

    question: str
    answer: str
    text: str
    likelihood: float
    votes: tuple[bool, ...]


def read(file: Path) -> list[Explanation]:
    """The explanations of a published file, with the votes of all three people."""
    votes: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    explanations: dict[tuple[str, str], tuple[str, str, float]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for record in csv.DictReader(lines):
            chosen = record["Answer.acceptable"].split("|")
            for n in "12345":
                question = f"{record['Input.question']} ({record['Input.answer_choices']})"
                key = question, record[f"Input.source_sample_{n}"]
                votes[key].append(n in chosen)
                text, answer = record[f"Input.explanation_{n}"], record["Input.gold_label"]
                explanations[key] = answer, text, float(np.exp(-float(record[f"Input.nll_{n}"])))
    return [
        Explanation(key[0], answer, text, likelihood, tuple(votes[key]))
        for key, (answer, text, likelihood) in explanations.items()
    ]


def fill(store: Store, folder: Path) -> None:
    """Store both parts: questions as images without a file, explanations as triples."""
    rng = np.random.default_rng(0)
    with store.write() as session:
        session.add(Source(id=1, name="explanations", root=str(folder)))
        people = [
            Person(id=n + 1, name=f"person {n}", role="annotator", created=0) for n in range(PEOPLE)
        ]
        session.add_all(people)
        judge = runs.start(session, "generate", settings={"model": "GPT-3"}, name="GPT-3")
        for published in ("train", "test"):
            by_question: defaultdict[str, list[Explanation]] = defaultdict(list)
            for explanation in read(folder / f"commonsenseqa_{published}.csv"):
                by_question[explanation.question].append(explanation)
            for question, explanations in by_question.items():
                part: Part = "test" if published == "test" else "train"
                if part == "train" and rng.random() < CALIBRATION_SHARE:
                    part = "calibration"
                name = keys.digest("question", question)
                image = Image(source_id=1, name=name, width=1, height=1)
                session.add(image)
                session.flush()
                session.add(Split(image_id=image.id, part=part))
                for n, explanation in enumerate(explanations):
                    triple = Triple(
                        key=keys.digest("explanation", question, n),
                        image_id=image.id,
                        question=question,
                        answer=explanation.answer,
                        rationale=explanation.text,
                        visible_regions=[],
                        source="explanations",
                        model="GPT-3",
                    )
                    session.add(triple)
                    session.flush()
                    session.add(
                        Judgement(
                            key=triple.key,
                            image_id=image.id,
                            triple_id=triple.id,
                            value=explanation.likelihood,
                            model="GPT-3",
                            prompt_version="",
                            run_id=judge.id,
                        )
                    )
                    session.add_all(
                        Vote(
                            key=f"{triple.id} {person}",
                            triple_id=triple.id,
                            person_id=person + 1,
                            decision="accept" if accepts else "reject",
                            created=0,
                        )
                        for person, accepts in enumerate(explanation.votes)
                    )


def _tested(release: Release) -> str:
    precision = from_json(ReleaseEstimate, release.estimate).precision
    return f"{release.kept} kept; precision on test {precision}"


def main() -> None:
    """Print metrics of all critics, then certified thresholds and what they keep."""
    folder = SHARED_DATA / "explanation_votes"
    if not folder.is_dir():
        row("critics on explanation_votes", f"skipped: no {folder.name} here", "")
        return
    with TemporaryDirectory() as place:
        store = Store.create(f"sqlite:///{place}/store.db")
        fill(store, folder)
        for settings in CRITICS:
            train(store, settings)
        for critic in compare_critics(store, [], resamples=500):
            metrics = "; ".join(f"{title(name)} {getattr(critic, name)}" for name in SHOWN)
            row(f"explanation_votes, {critic.critic}", metrics, REFERENCES.get(critic.critic, ""))
        best = "baseline with likelihood"
        for target in (0.7, 0.6):
            guarantee = certify(store, best, target, 0.9)
            threshold = guarantee.threshold
            row(
                f"explanation_votes, precision above {target} certified with confidence .9",
                f"no threshold qualifies; labels needed: {guarantee.labels_needed}"
                if threshold is None
                else f"threshold {threshold:.3f}, keeps {guarantee.kept_share:.0%}, measured"
                f" {guarantee.measured_precision:.3f} on {guarantee.labelled_triples} labels",
                "",
            )
            if threshold is not None:
                release = create_release(store, f"{target}", precision=target, run_name=best)
                row(f"explanation_votes, release at {target}", _tested(release), "")
        top_fifth = ReleaseFilter(share=0.2)
        release = create_release(store, "top fifth", run_name=best, limits=top_fifth)
        row("explanation_votes, release of the top fifth", _tested(release), "")


if __name__ == "__main__":
    main()
