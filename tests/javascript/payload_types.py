"""Write the TypeScript types of what the pages receive: they come from the Python types.

    python -m tests.javascript.payload_types

`tsc` then rejects a script that reads a field which Python does not send.
"""

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from annotator.accounts.accounts import TokenRow
from annotator.crowd.guidelines import Guidelines
from annotator.jobs.generation_job import JobState
from annotator.jobs.training_job import TrainingState
from annotator.labelling.history import HistoryRow
from annotator.labelling.queue import NextItems
from annotator.labelling.returns import ReturnResult
from annotator.labels.adjudication import PendingTriples
from annotator.studies.workers import WorkerRow
from annotator.web.routes.admin import InvitationOut, PeopleOut, ResetOut
from annotator.web.routes.bulk import TokenOut
from annotator.web.routes.labelling import NextOut, UndoOut
from annotator.web.routes.me import MeOut
from annotator.web.routes.research import AdjudicationOut, ProjectOut
from critic import page_data as critic_data
from critic.releases.compare import ReleaseComparison
from critic.thresholds.slices import Slice
from critic.thresholds.vote_planning import LabelingBatch
from db.labelling.changes import Extension
from db.schema import Reason
from db.store.releases import Guarantee
from generation import page_data as generation_data
from generation.runs.cost_estimate import CostEstimate
from student import page_data as student_data
from student.benchmarks.compare import Comparison as StudentComparison
from student.models.protocol import Answer

PAGES = Path(__file__).parent.parent.parent / "annotator" / "pages"
ROOTS: Mapping[str, Sequence[type]] = {
    "shared": (
        *(MeOut, NextOut, NextItems, UndoOut, HistoryRow, Guidelines),
        *(PendingTriples, AdjudicationOut, ProjectOut, PeopleOut, InvitationOut, WorkerRow),
        ResetOut,
        *(Extension, ReturnResult),
        *(TokenRow, TokenOut),
    ),
    "critic": (
        *(critic_data.Overview, critic_data.CurveData, critic_data.ScoredTriple, Slice),
        *(critic_data.Comparison, critic_data.LabelingOptions, LabelingBatch, TrainingState),
        *(Guarantee, ReleaseComparison),
    ),
    "demo": (
        *(student_data.Overview, student_data.AnnotatedImage, student_data.LearningCurve),
        *(student_data.TrainingProgress, student_data.ErrorPage, StudentComparison),
        *(TrainingState, Answer),
    ),
    "generate": (
        *(generation_data.Overview, generation_data.ImagePreview, generation_data.RunOutput),
        *(CostEstimate, JobState),
    ),
}
"""What routes (shared) and the server functions of a page return, by folder."""

NAMED: Mapping[type, str] = {StudentComparison: "StudentComparison"}
"""Names of types other than their own."""

_PLAIN = {int: "number", float: "number", str: "string", bool: "boolean", type(None): "null"}


class Declarations:
    """Interfaces by name, each with those it refers to."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._types: dict[str, type] = {}

    def add(self, kind: type) -> str:
        """Declare a record type once; returns its name."""
        name = NAMED.get(kind, kind.__name__)
        if self._types.setdefault(name, kind) is not kind:
            raise ValueError(f"two types are named {name}")
        if name not in self.texts:
            self.texts[name] = ""
            lines = [f"  {field}: {self.type_of(hint)};" for field, hint in _members(kind)]
            comment = (kind.__doc__ or "").splitlines()[0]
            self.texts[name] = "\n".join(
                [f"/** {comment} */", f"export interface {name} {{", *lines, "}"]
            )
        return name

    def type_of(self, hint: Any) -> str:  # noqa: ANN401 - any type
        """The TypeScript type of the JSON of a Python type."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self.type_of(arguments[0])
        if origin is Literal:
            return " | ".join(f'"{value}"' for value in arguments)
        if origin in {Union, types.UnionType}:
            return " | ".join(dict.fromkeys(map(self.type_of, arguments)))
        if origin is not None:
            return self._collection(origin, arguments)
        if issubclass(hint, tuple):  # a named one
            return self._tuple(get_type_hints(hint).values())
        return _PLAIN[hint] if hint in _PLAIN else self.add(hint)

    def _collection(self, origin: type, arguments: Sequence[Any]) -> str:
        if issubclass(origin, Mapping):
            # JSON has no other keys than texts.
            key = "string" if arguments[0] is int else self.type_of(arguments[0])
            return f"Record<{key}, {self.type_of(arguments[1])}>"
        if origin is tuple and arguments[-1] is not Ellipsis:
            return self._tuple(arguments)
        item = self.type_of(arguments[0])
        return f"({item})[]" if " | " in item and item[0] != "[" else f"{item}[]"

    def _tuple(self, hints: Iterable[Any]) -> str:
        return f"[{', '.join(map(self.type_of, hints))}]"


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(hints)
    assert is_dataclass(kind) or is_typeddict(kind), kind
    yield from ((name, hints[name]) for name in names)


def declarations(folder: str) -> str:
    """The contents of a folder's payloads.d.ts."""
    made = Declarations()
    for root in ROOTS[folder]:
        made.add(root)
    if folder == "shared":
        made.texts["Reason"] = f"export type Reason = {made.type_of(Reason)};"
    head = "// Written by tests/javascript/payload_types.py from the Python types: do not edit.\n"
    return head + "\n" + "\n\n".join(made.texts[name] for name in sorted(made.texts)) + "\n"


if __name__ == "__main__":
    for folder in ROOTS:
        (PAGES / folder / "payloads.d.ts").write_text(declarations(folder), "utf-8")
