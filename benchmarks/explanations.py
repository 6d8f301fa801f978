"""The embedded critic on real votes: a language model's explanations, three people each."""

import csv
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score
from table import row

from critic.baseline import Baseline
from critic.protocol import Example, Surroundings, Verdict
from critic.thresholds import bootstrap

DATA = Path(
    os.environ.get("LSKD_SHARED_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
NOTHING = Surroundings((1, 1), {}, "", {})
RESAMPLES = 1000


def read(file: Path) -> list[tuple[Example, bool]]:
    """Each explanation as an example (its question stands for the image) with its majority."""
    accepts: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    texts: dict[tuple[str, str], tuple[str, str, float]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for record in csv.DictReader(lines):
            chosen = record["Answer.acceptable"].split("|")
            for n in "12345":
                question = f"{record['Input.question']} ({record['Input.answer_choices']})"
                key = question, record[f"Input.source_sample_{n}"]
                accepts[key].append(n in chosen)
                texts[key] = (
                    record["Input.gold_label"],
                    record[f"Input.explanation_{n}"],
                    float(record[f"Input.nll_{n}"]),
                )
    questions = {question: i for i, question in enumerate(dict.fromkeys(k[0] for k in texts))}
    return [
        (
            Example(questions[key[0]], key[0], answer, explanation, (), NOTHING, (nll,)),
            sum(accepts[key]) * 2 > len(accepts[key]),
        )
        for key, (answer, explanation, nll) in texts.items()
    ]


def without_extra(examples: Iterable[Example]) -> list[Example]:
    """The same examples, without the number that came along."""
    return [
        Example(e.image_id, e.question, e.answer, e.rationale, e.shown, e.image) for e in examples
    ]


def main() -> None:
    """Print a row with the model's own likelihood among the features, and one without."""
    folder = DATA / "explanation_votes"
    if not folder.is_dir():
        row("average precision on explanation_votes", f"skipped: no {folder.name} here", "")
        return
    train, test = (read(folder / f"commonsenseqa_{part}.csv") for part in ("train", "test"))
    accepted = np.array([label for _, label in test])
    for what, limit, reference in (
        ("without", ".72", "word features .700"),
        ("with", ".76", "likelihood alone .750, both .755"),
    ):
        sides = [[example for example, _ in part] for part in (train, test)]
        if what == "without":
            sides = [without_extra(side) for side in sides]
        critic = Baseline()
        critic.fit(sides[0], [Verdict(label) for _, label in train], np.random.default_rng(0))
        scores = critic.score(sides[1])
        found = average_precision_score(accepted, scores)
        low, high = bootstrap(
            accepted,
            scores,
            np.array([example.image_id for example in sides[1]]),
            lambda a, s: float(average_precision_score(a, s)),
            resamples=RESAMPLES,
            rng=np.random.default_rng(0),
        )
        row(
            f"explanation_votes, average precision {what} `nll` (base {accepted.mean():.3f})",
            f"{found:.3f} [{low:.3f}, {high:.3f}]; reference: {reference}",
            limit,
        )


if __name__ == "__main__":
    main()
