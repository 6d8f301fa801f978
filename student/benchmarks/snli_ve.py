"""SNLI-VE (Xie et al. 2019): whether a picture entails a sentence, contradicts it, or neither.

Files: `snli_ve_test.jsonl` (or `snli_ve_dev.jsonl`) and `flickr30k-images/`. No region is shown.
"""

from collections.abc import Iterator
from pathlib import Path

from student.benchmarks.protocol import (
    Item,
    Question,
    Reading,
    accuracy,
    first_of,
    lines,
    picture,
    share_right,
)

name = "snli-ve"
title = "SNLI-VE"
paper = ("SNLI-VE",)
counts, figures = accuracy, share_right

LABELS = ("contradiction", "neutral", "entailment")


def items(folder: Path, reading: Reading) -> Iterator[Item]:
    """One a sentence, asked as in LSKD's own evaluation."""
    places = [folder / "flickr30k-images", folder / "flickr30k_images", folder / "images", folder]
    names = ["snli_ve_test.jsonl", "snli_ve_dev.jsonl"]
    for one in lines(first_of(folder, names, title)):
        image = picture(places, f"{one['Flickr30K_ID']}.jpg", reading)
        if image is None:
            continue
        if one.get("gold_label") not in LABELS:
            reading.left_out["no label that people agreed on"] += 1
            continue
        asked = f"Does the image describe {one['sentence2']}?"
        truth = LABELS.index(one["gold_label"])
        yield Item(str(one["pairID"]), image, (), (Question(asked, LABELS, truth),))
