"""VisualCOMET, ranking (Park et al. 2020): inferences about an event among fifty candidates.

Files: `val_annots.json` and `vcr1images/`. For each event and relation the true inferences are
mixed with others of the file, sampled with a fixed seed. Acc@50 is the share of true inferences
among as many best-scored candidates.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regions import references
from student.benchmarks.protocol import (
    Counts,
    Item,
    LoadReport,
    Question,
    Sums,
    choices_from,
    find_file,
    read_json,
)
from student.benchmarks.vcr_images import Still, load_still

name = "visualcomet"
title = "VisualCOMET"
paper_columns = ("VisualCOMET",)

CANDIDATES = 50
_SEED = 42
_QUESTIONS = {
    "before": "What did {who} need to do before?",
    "intent": "What does {who} want to do?",
    "after": "What will {who} most likely do next?",
}
_NUMBER = re.compile(r"\b\d+\b")


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per event and relation that has inferences."""
    records = read_json(find_file(folder, ["val_annots.json"], title))
    pool = [
        str(text)
        for record in records
        for relation in _QUESTIONS
        for text in choices_from(record.get(relation))
    ]
    for n, record in enumerate(records):
        still = load_still(folder, record, report)
        if still is not None:
            yield from _items_of_event(n, record, still, pool, report)


def _items_of_event(
    n: int, record: dict[str, Any], still: Still, pool: list[str], report: LoadReport
) -> Iterator[Item]:
    event = number_from_zero(str(record["event"]), len(still.names))
    place = str(record.get("place", ""))
    for index, (relation, template) in enumerate(_QUESTIONS.items()):
        true = [str(text) for text in choices_from(record.get(relation))]
        if not true or len(pool) < CANDIDATES:
            report.skipped["no inference, or too few candidates"] += 1
            continue
        rng = np.random.default_rng([_SEED, n, index])
        others = [text for text in rng.permutation(pool).tolist() if text not in true]
        choices = [number_from_zero(text, len(still.names)) for text in true]
        # Distractors mention persons of other images, who have no number here.
        distractors = others[: max(0, CANDIDATES - len(true))]
        choices += [_NUMBER.sub("someone", text) for text in distractors]
        mentioned = references.mentioned(" ".join([event, *choices[: len(true)]]))
        if any(number not in still.regions for number in mentioned):
            report.skipped["a person without a region"] += 1
            continue
        who = f"[{mentioned[0]}]" if mentioned else "the person"
        question = f"{event}. {place}. {template.format(who=who)}"
        yield Item(
            f"{n}-{relation}",
            still.image,
            still.visible_regions(mentioned),
            (Question(question, tuple(choices), len(true)),),
        )


def number_from_zero(text: str, persons: int) -> str:
    """Convert numbers of persons, which start at 1, to references, which start at 0.

    >>> number_from_zero("3 hugs 1 for 20 minutes", 4)
    '[2] hugs [0] for 20 minutes'
    """
    return _NUMBER.sub(
        lambda match: f"[{int(match[0]) - 1}]" if 1 <= int(match[0]) <= persons else match[0], text
    )


def count_item(item: Item, outputs: Sequence[Any]) -> Counts:
    """Return the recall at the number of true inferences, as in the released `run_rank`.

    They are the first choices.
    """
    true = int(item.questions[0].target)
    best = np.argsort(-np.asarray(outputs[0]), kind="stable")[:true]
    return {"items": 1.0, "recall": float((best < true).mean())}


def figures(sums: Sums) -> Sums:
    """Return the mean recall over events and relations."""
    return {"acc_at_50": 100 * sums["recall"] / sums["items"]}
