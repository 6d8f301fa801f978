"""Real votes from end to end: a language model's explanations, three people each, in a store.

Each question stands for an image, since its explanations rise and fall together. Critics of every
kind that runs without weights learn from the published training part, less a fifth that is sealed
for the guarantee, and are compared on the published test part. The likelihood that the language
model itself gave is there as a judge's word, which a critic may weigh.
"""

import csv
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from table import row

from critic.commands import in_words
from critic.releases.release import promise, release
from critic.settings import Selection, TrainSettings
from critic.thresholds.comparison import compare
from critic.training.train import train
from db.schema import Image, Judgement, Part, Person, Release, Source, Split, Triple, Vote
from db.store import keys, runs
from db.store.session import Store

DATA = Path(
    os.environ.get("LSKD_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
PEOPLE, SEALED = 3, 0.2
REFERENCES = {
    "text": "word features .700",
    "likelihood": "likelihood alone .750",
    "baseline with likelihood": "both .755",
}
SHOWN = ("average precision", "precision in top fifth", "Brier")
CRITICS = (
    TrainSettings(name="text", kind="text"),
    TrainSettings(name="likelihood", kind="average", of="GPT-3"),
    TrainSettings(name="text with likelihood", kind="text", of="GPT-3"),
    TrainSettings(name="baseline with likelihood", of="GPT-3"),
    TrainSettings(name="average", kind="average", of="text with likelihood,likelihood"),
)


@dataclass(frozen=True)
class Explanation:
    """One of a question's five explanations, and who accepts it."""

    question: str
    answer: str
    text: str
    likelihood: float
    votes: tuple[bool, ...]


def read(file: Path) -> list[Explanation]:
    """The explanations of a published part, with the votes of all three people."""
    votes: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    found: dict[tuple[str, str], tuple[str, str, float]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for record in csv.DictReader(lines):
            chosen = record["Answer.acceptable"].split("|")
            for n in "12345":
                question = f"{record['Input.question']} ({record['Input.answer_choices']})"
                key = question, record[f"Input.source_sample_{n}"]
                votes[key].append(n in chosen)
                text, answer = record[f"Input.explanation_{n}"], record["Input.gold_label"]
                found[key] = answer, text, float(np.exp(-float(record[f"Input.nll_{n}"])))
    return [
        Explanation(key[0], answer, text, likelihood, tuple(votes[key]))
        for key, (answer, text, likelihood) in found.items()
    ]


def fill(store: Store, folder: Path) -> None:
    """Both parts: questions as images without a picture, explanations as triples, every vote."""
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
            for one in read(folder / f"commonsenseqa_{published}.csv"):
                by_question[one.question].append(one)
            for question, some in by_question.items():
                sealed = published == "train" and rng.random() < SEALED
                part: Part = "calibration" if sealed else "test" if published == "test" else "train"
                name = keys.digest("question", question)
                image = Image(source_id=1, name=name, width=1, height=1)
                session.add(image)
                session.flush()
                session.add(Split(image_id=image.id, part=part))
                for n, one in enumerate(some):
                    triple = Triple(
                        key=keys.digest("explanation", question, n),
                        image_id=image.id,
                        question=question,
                        answer=one.answer,
                        rationale=one.text,
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
                            value=one.likelihood,
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
                        for person, accepts in enumerate(one.votes)
                    )


def _tested(made: Release) -> str:
    found = made.estimate["precision"]
    low, high = found["interval"]
    return f"{made.kept} kept; precision on test {found['value']:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print the table, then a threshold that promises something, and what it keeps."""
    folder = DATA / "explanation_votes"
    if not folder.is_dir():
        row("critics on explanation_votes", f"skipped: no {folder.name} here", "")
        return
    with TemporaryDirectory() as place:
        store = Store.create(f"sqlite:///{place}/store.db")
        fill(store, folder)
        for settings in CRITICS:
            train(store, settings)
        for found in compare(store, [], resamples=500):
            said = in_words(found)
            row(
                f"explanation_votes, {said['critic']}",
                "; ".join(f"{what} {said[what]}" for what in SHOWN),
                REFERENCES.get(said["critic"], ""),
            )
        best = "baseline with likelihood"
        for target in (0.7, 0.6):
            certified = promise(store, best, target, 0.9)
            threshold = certified.threshold
            row(
                f"explanation_votes, precision above {target} promised with .9 confidence",
                f"none qualifies; further labels that would do: {certified.further}"
                if threshold is None
                else f"threshold {threshold:.3f}, keeps {certified.kept:.0%},"
                f" measured {certified.measured:.3f} on {certified.labelled} labels",
                "",
            )
            if threshold is not None:
                made = release(store, f"{target}", precision=target, run_name=best)
                row(
                    f"explanation_votes, release at {target}",
                    _tested(made),
                    "",
                )
        made = release(store, "top fifth", run_name=best, selection=Selection(share=0.2))
        row(
            "explanation_votes, release of the top fifth",
            _tested(made),
            "",
        )


if __name__ == "__main__":
    main()
