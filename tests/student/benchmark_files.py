"""Benchmarks in their official formats, with an item or two each, and a student that knows them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image as Pillow

from regions import references
from regions.geometry import Region
from regions.view import View, make_view
from student.models.protocol import Answer, Query, Scores

Write = Callable[[str, Any], None]
"""Writes a file of a name and a content: JSON, lines of it, or an image's size."""


def write_still(write: Write) -> None:
    write("vcr1images/film/1.jpg", (100, 80))
    metadata = {
        "width": 100,
        "height": 80,
        "boxes": [[10, 10, 40, 70, 0.9], [50, 10, 90, 70, 0.8], [1, 1, 9, 9, 0.7]],
        "names": ["person", "person", "dog"],
        "segms": [],
    }
    write("vcr1images/film/1.json", metadata)


def write_all_benchmarks(write: Write) -> None:
    """All official ones, with one item or more each."""
    write_still(write)
    still = {"img_fn": "film/1.jpg", "metadata_fn": "film/1.json"}
    answers = [["No", "."], ["Yes", ",", [1], "is", "."], ["Maybe", "."], ["Ask", [0], "."]]
    annotation = {
        **still,
        "objects": ["person", "person", "dog"],
        "question": ["Is", [0], "glad", "?"],
        "answer_choices": answers,
        "rationale_choices": [["It", "rains", "."], [[0], "smiles", "."], ["So", "."], ["Eh", "."]],
        "answer_label": 1,
        "rationale_label": 1,
    }
    missing = {**annotation, "img_fn": "film/2.jpg", "annot_id": "val-1"}
    write("val.jsonl", [{**annotation, "annot_id": "val-0"}, missing])
    event = {
        **still,
        "place": "in a street",
        "event": "1 hugs 2",
        "before": ["meet 2", "run"],
        "intent": ["be glad"],
        "after": [f"go home {n} times" for n in range(60)],
    }
    write("val_annots.json", [event])
    write("VG_100K/7.jpg", (100, 80))
    box = [{"left": 10, "top": 10, "width": 30, "height": 30}]
    url = "https://example.org/VG_100K/7.jpg"
    image = {"url": url, "width": 100, "height": 80}
    instances = [
        {"image": image, "region": box, "inference": f"guess {n}", "test_id": f"t{n}"}
        for n in range(3)
    ]
    write("val_comparison/val_comparison_instances.json", instances)
    answer_key = {
        "test_id_map": {f"t{n}": {"Input_iid": "i", "candidate": f"c{n}"} for n in range(3)},
        "annotations": [
            {
                "Input_iid": "i",
                "candidates": [
                    {"source_iid": f"c{n}", "annot1": n, "annot2": [0, 0, 1][n]} for n in range(3)
                ],
            }
        ],
    }
    write("val_comparison/val_comparison_answer_key.json", answer_key)
    write("val2017/000000000012.jpg", (60, 60))
    row = {"question_id": "q", "image_id": 12, "question": "What is it?", "choices": ["a", "b"]}
    write("aokvqa_v1p0_val.json", [{**row, "correct_choice_idx": 1}])
    write("flickr30k-images/5.jpg", (60, 60))
    sentence = {"Flickr30K_ID": "5", "sentence2": "a dog [3]", "pairID": "p"}
    sentences = [{**sentence, "gold_label": "entailment"}, {**sentence, "gold_label": "-"}]
    write("snli_ve_test.jsonl", sentences)
    write("images/v7w_1.jpg", (60, 60))
    pair = {"qa_id": 6, "question": "Who?", "answer": "He.", "type": "who"}
    entry = {"filename": "v7w_1.jpg", "qa_pairs": [{**pair, "multiple_choices": ["A", "B", "C"]}]}
    write("dataset_v7w_telling.json", {"images": [{**entry, "split": s} for s in ("test", "val")]})
    write("val2014/COCO_1.jpg", (60, 60))
    present = {"question_id": 1, "image": "COCO_1.jpg", "text": "Is there a dog?", "label": "yes"}
    write("coco_pope_random.json", [present, {**present, "question_id": 2, "label": "no"}])


class Oracle:
    """A student that prefers choices which contain a text."""

    can_generate, diagnostics = True, None
    calls = 0

    def __init__(self, right: str = "") -> None:
        self.right = right

    def make_view(
        self,
        image: Pillow.Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        visible_regions: Sequence[int],
    ) -> View:
        return make_view(image, regions, texts, visible=visible_regions, size=(48, 48))

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        self.calls += len(queries)
        for query, texts in zip(queries, choices, strict=True):
            numbers = references.mentioned(" ".join([query.question or "", *texts]))
            assert set(numbers) <= {region.number for region in query.view.regions}
        return [np.array([float(self.right in text) for text in texts]) for texts in choices]

    def answer(self, query: Query) -> Answer:
        return Answer(query.question or "", self.right, "", 0.0)
