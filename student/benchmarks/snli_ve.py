"""SNLI-VE (Xie et al. 2019): whether an image entails or contradicts a sentence, or neither.

Files: `snli_ve_test.jsonl` (or `snli_ve_dev.jsonl`) and `flickr30k-images/`. Sentences refer to no
region.
"""

from collections.abc import Iterator
from pathlib import Path

from student.benchmarks.protocol import (
    Item,
    LoadReport,
    Question,
    accuracy_figure,
    count_correct,
    find_file,
    find_image,
    read_json_lines,
)

name = "snli-ve"
title = "SNLI-VE"
paper_columns = ("SNLI-VE",)
count_item, figures = count_correct, accuracy_figure

LABELS = ("contradiction", "neutral", "entailment")


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per sentence, with the question of LSKD's own evaluation."""
    folders = [folder / "flickr30k-images", folder / "flickr30k_images", folder / "images", folder]
    files = ["snli_ve_test.jsonl", "snli_ve_dev.jsonl"]
    for row in read_json_lines(find_file(folder, files, title)):
        image = find_image(folders, f"{row['Flickr30K_ID']}.jpg", report)
        if image is None:
            continue
        if row.get("gold_label") not in LABELS:
            report.skipped["no gold label"] += 1
            continue
        text = f"Does the image describe {row['sentence2']}?"
        target = LABELS.index(row["gold_label"])
        yield Item(str(row["pairID"]), image, (), (Question(text, LABELS, target),))
