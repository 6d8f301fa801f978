"""VisualCOMET's ranking (Park et al. 2020): inferences of an event among fifty.

Files: `val_annots.json` and `vcr1images/`. For each event and relation the true inferences stand
among others of the file, drawn by a seed until there are fifty; Acc@50 is the share of true ones
among as many best.
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
    Question,
    Reading,
    Sums,
    document,
    first_of,
)
from student.benchmarks.vcr_images import Still, still

name = "visualcomet"
title = "VisualCOMET"
paper = ("VisualCOMET",)

CANDIDATES = 50
_SEED = 42
_ASKED = {
    "before": "What did {who} need to do before?",
    "intent": "What does {who} want to do?",
    "after": "What will {who} most likely do next?",
}
_NUMBER = re.compile(r"\b\d+\b")


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One an event and relation that has inferences."""
    records = document(first_of(folder, ["val_annots.json"], title))
    pool = [
        str(text) for record in records for relation in _ASKED for text in record.get(relation, [])
    ]
    for n, record in enumerate(records):
        seen = still(folder, record, reading)
        if seen is None:
            continue
        yield from _of(n, record, seen, pool, reading)


def _of(
    n: int, record: dict[str, Any], seen: Still, pool: list[str], reading: Reading
) -> Iterator[Item]:
    event = pointed(str(record["event"]), len(seen.names))
    place = str(record.get("place", ""))
    for relation, asked in _ASKED.items():
        true = [str(text) for text in record.get(relation, [])]
        if not true or len(pool) < CANDIDATES:
            reading.left_out["no inference, or too few to choose from"] += 1
            continue
        rng = np.random.default_rng([_SEED, n, list(_ASKED).index(relation)])
        others = [text for text in rng.permutation(pool).tolist() if text not in true]
        texts = [*true, *others[: CANDIDATES - len(true)]]
        # Others speak of people of other stills: their numbers are nobody's here.
        choices = [pointed(text, len(seen.names)) for text in texts[: len(true)]]
        choices += [_NUMBER.sub("someone", text) for text in texts[len(true) :]]
        mentioned = references.mentioned(" ".join([event, *choices[: len(true)]]))
        if any(number not in seen.regions for number in mentioned):
            reading.left_out["a person without a region"] += 1
            continue
        who = f"[{mentioned[0]}]" if mentioned else "the person"
        question = f"{event}. {place}. {asked.format(who=who)}"
        yield Item(
            f"{n}-{relation}",
            seen.image,
            seen.shown(mentioned),
            (Question(question, tuple(choices), len(true)),),
        )


def pointed(text: str, people: int) -> str:
    """A text in which people are numbered from 1, as references from 0.

    >>> pointed("3 hugs 1 for 20 minutes", 4)
    '[2] hugs [0] for 20 minutes'
    """
    return _NUMBER.sub(
        lambda found: f"[{int(found[0]) - 1}]" if 1 <= int(found[0]) <= people else found[0], text
    )


def counts(item: Item, found: Sequence[Any]) -> Counts:
    """As the released `run_rank` counts: the true ones come first among the choices."""
    true = int(item.questions[0].truth)
    best = np.argsort(-np.asarray(found[0]), kind="stable")[:true]
    return {"items": 1.0, "recall": float((best < true).mean())}


def figures(sums: Sums) -> Sums:
    """The mean over events and relations."""
    return {"Acc@50": 100 * sums["recall"] / sums["items"]}
