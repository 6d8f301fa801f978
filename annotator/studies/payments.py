"""Review of a study's workers: whom to approve, whom to reject and why, and their bonus.

The rules are arithmetic over `WorkerRow`; the files are those that Prolific and Mechanical Turk
read. Nobody is rejected on fewer known answers than `min_gold_judged`.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Literal

from annotator.studies.settings import ReviewRules
from annotator.studies.workers import WorkerRow
from db.store.files import atomic_folder

Verdict = Literal["approve", "reject", "unfinished"]
Platform = Literal["prolific", "mturk"]

_CENT = Decimal("0.01")
# Prolific accepts no message to a rejected participant that has less than 100 characters.
_UNFINISHED = (
    "The study was not completed: the quota of triples was not reached, and no completion code was "
    "shown to this worker."
)


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """What is to be done about a worker: why they are rejected, and their bonus if not."""

    worker: str
    platform_study: str
    platform_session: str
    verdict: Verdict
    reason: str
    bonus: Decimal


@dataclass(frozen=True, slots=True)
class ReviewSummary:
    """How many workers are approved, rejected and left; the bonus in total; the files written."""

    approved: int
    rejected: int
    unfinished: int
    bonus: float
    rejection_reasons: dict[str, int]
    files: list[str]


def review(workers: Iterable[WorkerRow], rules: ReviewRules) -> list[ReviewRow]:
    """Apply the rules to each worker."""
    return [_review(worker, rules) for worker in workers]


def _review(worker: WorkerRow, rules: ReviewRules) -> ReviewRow:
    verdict: Verdict = "approve"
    reason = _rejection_reason(worker, rules)
    if reason:
        verdict = "reject"
    elif worker.finished is None:
        verdict = "unfinished"
    return ReviewRow(
        worker.worker,
        worker.platform_study,
        worker.platform_session,
        verdict,
        reason,
        _bonus(worker, rules) if verdict == "approve" else Decimal(0),
    )


def _rejection_reason(worker: WorkerRow, rules: ReviewRules) -> str:
    """Why the rules reject a worker; empty if they do not."""
    if worker.finished is None:
        return _UNFINISHED if rules.reject_unfinished else ""
    if (
        worker.gold is not None
        and worker.gold_judged >= rules.min_gold_judged
        and worker.gold < rules.min_gold_accuracy
    ):
        return (
            f"Of {worker.gold_judged} triples whose right answer is known, {worker.gold_correct} "
            "were judged as the guidelines of this study say; "
            f"at least {rules.min_gold_accuracy:.0%} of them are required."
        )
    if worker.too_fast is not None and worker.too_fast > rules.max_too_fast:
        return (
            f"{worker.too_fast:.0%} of the judgements took less time than it takes to look at the "
            f"picture and read the texts; at most {rules.max_too_fast:.0%} of them may."
        )
    return ""


def _bonus(worker: WorkerRow, rules: ReviewRules) -> Decimal:
    if rules.bonus_gold_accuracy and (worker.gold or 0.0) < rules.bonus_gold_accuracy:
        return Decimal(0)
    # Through str: the amount that was typed, not the nearest binary fraction.
    amount = Decimal(str(rules.bonus)) + Decimal(str(rules.bonus_per_vote)) * worker.votes
    return amount.quantize(_CENT, ROUND_HALF_UP)


def files_of(platform: Platform, rows: Sequence[ReviewRow]) -> dict[str, str]:
    """The contents of the platform's files by name.

    Prolific: participant ids to approve, one per line; submissions to reject with their reason;
    bonus payments as `participant_id,amount` lines. Mechanical Turk: a results file with an x in
    Approve or a reason in Reject; bonuses with the fields of its SendBonus operation.
    """
    approved = [row for row in rows if row.verdict == "approve"]
    rejected = [row for row in rows if row.verdict == "reject"]
    paid = [row for row in approved if row.bonus]
    if platform == "prolific":
        return {
            "approve.csv": _csv([row.worker] for row in approved),
            "reject.csv": _csv(
                [
                    ["submission_id", "participant_id", "reason"],
                    *([row.platform_session, row.worker, row.reason] for row in rejected),
                ]
            ),
            "bonus.csv": _csv([row.worker, str(row.bonus)] for row in paid),
        }
    reviewed = [row for row in rows if row.verdict != "unfinished"]
    return {
        "results.csv": _csv(
            [
                ["HITId", "AssignmentId", "WorkerId", "Approve", "Reject"],
                *(
                    [
                        *(row.platform_study, row.platform_session, row.worker),
                        *("x" if row.verdict == "approve" else "", row.reason),
                    ]
                    for row in reviewed
                ),
            ]
        ),
        "bonus.csv": _csv(
            [
                ["WorkerId", "AssignmentId", "BonusAmount", "Reason"],
                *(
                    [row.worker, row.platform_session, str(row.bonus), "Careful work. Thank you!"]
                    for row in paid
                ),
            ]
        ),
    }


def write_review(
    platform: Platform, rows: Sequence[ReviewRow], folder: Path, *, force: bool = False
) -> ReviewSummary:
    """Write the platform's files into a new folder; UserError if it exists, without `force`."""
    files = files_of(platform, rows)
    with atomic_folder(folder, force=force) as new:
        for name, content in files.items():
            (new / name).write_text(content, "utf-8")
    return summarize(rows, [str(folder / name) for name in files])


def summarize(rows: Sequence[ReviewRow], files: list[str]) -> ReviewSummary:
    """Count the verdicts, and the reasons of rejections without their figures."""
    verdicts = [row.verdict for row in rows]
    reasons: dict[str, int] = {}
    for row in rows:
        if row.verdict == "reject":
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
    return ReviewSummary(
        approved=verdicts.count("approve"),
        rejected=verdicts.count("reject"),
        unfinished=verdicts.count("unfinished"),
        bonus=float(sum(row.bonus for row in rows)),
        rejection_reasons=reasons,
        files=files,
    )


def _csv(lines: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
