"""Answering a file of questions, resumable: one output line per input line."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.images.image_files import decode
from db.store import json_lines
from db.store.session import Store
from regions.errors import ConflictError, InvalidError, UserError
from regions.geometry import Region, box_error, clip
from regions.progress import Progress, no_progress
from student.asking.inference import StudentLoader, ask, load_student


@dataclass(frozen=True, slots=True)
class AnswerFileResult:
    """What `answer_file` did."""

    file: str
    answered: int
    skipped: dict[str, int]
    """Number of lines without an answer, by reason."""


def answer_file(
    store: Store,
    questions: Path,
    out: Path,
    images: Path,
    *,
    run_name: str | None = None,
    progress: Progress = no_progress,
    loader: StudentLoader = load_student,
) -> AnswerFileResult:
    """Write the answer to each line of a file to `out`, in its order.

    A line is `{"image": FILE, "regions": [[x1, y1, x2, y2], ...], "question": TEXT}`; without a
    question the student generates one. A line that cannot be answered gets a reason instead.
    Lines that `out` has already are kept. InvalidError if the file cannot be read, ConflictError
    if `out` holds answers to another file.
    """
    try:
        lines = [line for line in questions.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"the file cannot be read: {error}", where=str(questions)) from error
    answered = _resume(out, lines)
    reasons: Counter[str] = Counter(row["reason"] for row in answered if "reason" in row)
    with out.open("a", encoding="utf-8") as output:
        for number, line in enumerate(lines[len(answered) :], start=len(answered) + 1):
            row: dict[str, Any] = {"line": number, "asked": line}
            try:
                row |= _answer_line(store, line, images, run_name, loader)
            except UserError as error:
                row |= {"reason": error.problem, "error": str(error)}
                reasons[error.problem] += 1
            output.write(json_lines.to_line(row))
            output.flush()
            progress(number, len(lines))
    return AnswerFileResult(str(out), len(lines) - sum(reasons.values()), dict(reasons))


def region_from_box(
    number: int, box: Sequence[object], size: tuple[int, int], *, where: str
) -> Region:
    """Return a region of an image of `size` (width, height); InvalidError for an impossible box."""
    if reason := box_error(box, *size):
        raise InvalidError(
            f"not a region: {reason}", where=where, hint="give x1,y1,x2,y2 in pixels"
        )
    x1, y1, x2, y2 = (float(value) for value in box)  # type: ignore[arg-type]  # checked above
    return Region(number, clip((x1, y1, x2, y2), *size))


def _resume(out: Path, lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows that `out` holds; a partial last row is removed."""
    try:
        rows = json_lines.read_rows(out)
        is_same_file = [row["asked"] for row in rows] == list(lines[: len(rows)])
    except (ValueError, KeyError, TypeError):
        is_same_file = False
    if not is_same_file:
        raise ConflictError(
            "this file holds answers to other questions",
            where=str(out),
            hint="choose another --out",
        )
    json_lines.truncate_partial_line(out)
    return rows


def _answer_line(
    store: Store, line: str, images: Path, run_name: str | None, loader: StudentLoader
) -> dict[str, Any]:
    try:
        row = json.loads(line)
        name, boxes = row["image"], list(row["regions"])
        question = str(row["question"]) if row.get("question") else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidError(f"not a question: {type(error).__name__} {error}") from error
    image = decode(images / str(name), str(name))
    regions = [region_from_box(n, box, image.size, where=str(box)) for n, box in enumerate(boxes)]
    answer = ask(store, image, regions, question, run_name=run_name, loader=loader)
    return {
        "question": answer.question,
        "answer": answer.answer,
        "rationale": answer.rationale,
        "confidence": answer.confidence,
        "seconds": round(answer.seconds, 3),
    }
