"""The records of the store. This file is the data dictionary: each column type is named once.

Invariants live in the tables, by named constraints: code can forget, a table can't.
Instants are milliseconds since 1970 UTC, boxes are pixels of the original image.
"""

from typing import Annotated, Any, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Decision = Literal["accept", "reject", "skip"]
Reason = Literal[
    "wrong_region", "not_in_image", "wrong_answer", "unsupported", "trivial", "harmful"
]
Role = Literal["annotator", "researcher", "admin"]
Part = Literal["train", "calibration", "test"]
RunKind = Literal["import", "foreign", "verbalize", "simulate", "critic", "student"]
RunStatus = Literal["running", "done", "failed"]
VerbalizationKind = Literal["scene", "region", "question", "concept"]

REASONS: tuple[Reason, ...] = get_args(Reason)
"""In the order of the keys 1 to 6 on the annotator's page."""

Id = Annotated[int, mapped_column(primary_key=True)]
Instant = Annotated[int, mapped_column(BigInteger)]
Key = Annotated[str, mapped_column(String(64))]
Name = Annotated[str, mapped_column(String(400))]
Words = Annotated[str, mapped_column(Text)]
Word = Annotated[str, mapped_column(String(40))]
Document = Annotated[dict[str, Any], mapped_column(JSON)]
Numbers = Annotated[list[int], mapped_column(JSON)]


def _one_of(column: str, choices: object, name: str) -> CheckConstraint:
    values = ", ".join(f"'{value}'" for value in get_args(choices))
    return CheckConstraint(f"{column} IN ({values})", name=name)


class Base(DeclarativeBase):
    """What every record has in common: the naming of its constraints."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


class Source(Base):
    """Where images come from: a folder, or `package:` for pictures inside installed packages."""

    __tablename__ = "sources"
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    root: Mapped[Words]


class Image(Base):
    """A picture: its place under the source's root, its size in pixels, and whose it is."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("source_id", "name"),
        CheckConstraint("width > 0 AND height > 0", name="has_size"),
    )
    id: Mapped[Id]
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    name: Mapped[Name]
    width: Mapped[int]
    height: Mapped[int]
    title: Mapped[Words] = mapped_column(default="")
    author: Mapped[Words] = mapped_column(default="")
    licence: Mapped[Words] = mapped_column(default="")
    origin: Mapped[Words] = mapped_column(default="")

    source: Mapped[Source] = relationship(lazy="joined", innerjoin=True)


class ImageRegion(Base):
    """A numbered region of an image: a box, and the rings of its outline where it has one."""

    __tablename__ = "regions"
    __table_args__ = (
        CheckConstraint("number >= 0", name="number_from_zero"),
        CheckConstraint("x1 < x2 AND y1 < y2", name="box_upright"),
        CheckConstraint("x1 >= 0 AND y1 >= 0", name="box_inside"),
    )
    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id"), primary_key=True, autoincrement=False
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    x1: Mapped[float]
    y1: Mapped[float]
    x2: Mapped[float]
    y2: Mapped[float]
    polygons: Mapped[list[list[list[float]]]] = mapped_column(JSON, default=list)
    """Rings of [x, y]; empty where only the box is known."""
    label: Mapped[Name] = mapped_column(default="")


class Verbalization(Base):
    """A text about an image or one of its regions; a question has its answer beside it."""

    __tablename__ = "verbalizations"
    __table_args__ = (
        ForeignKeyConstraint(["image_id", "region_number"], ["regions.image_id", "regions.number"]),
        _one_of("kind", VerbalizationKind, "kind_known"),
        UniqueConstraint("image_id", "key"),
    )
    id: Mapped[Id]
    key: Mapped[Key]
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    region_number: Mapped[int | None]
    kind: Mapped[VerbalizationKind] = mapped_column(String(40))
    text: Mapped[Words]
    answer: Mapped[Words] = mapped_column(default="")
    model: Mapped[Name]
    version: Mapped[Word] = mapped_column(default="")


class Run(Base):
    """One execution of a step: settings, seed, what data it saw, and what came of it."""

    __tablename__ = "runs"
    __table_args__ = (
        _one_of("kind", RunKind, "kind_known"),
        _one_of("status", RunStatus, "status_known"),
    )
    id: Mapped[Id]
    kind: Mapped[RunKind] = mapped_column(String(40))
    name: Mapped[Name] = mapped_column(unique=True)
    status: Mapped[RunStatus] = mapped_column(String(40))
    settings: Mapped[Document]
    seed: Mapped[int] = mapped_column(default=0)
    fingerprint: Mapped[Key] = mapped_column(default="")
    simulated: Mapped[bool] = mapped_column(default=False)
    """Whether votes of simulated annotators had a part in it."""
    results: Mapped[Document] = mapped_column(default=dict)
    started: Mapped[Instant]
    finished: Mapped[Instant | None]


class RejectedRow(Base):
    """A row of a file that was kept out, and why."""

    __tablename__ = "rejected_rows"
    id: Mapped[Id]
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    line: Mapped[int]
    field: Mapped[Name]
    reason: Mapped[Words]


class Triple(Base):
    """A question, an answer and a rationale about regions of an image, which texts name `[n]`."""

    __tablename__ = "triples"
    # The image first: keys come in no order, and an index of them alone would be written all over.
    __table_args__ = (UniqueConstraint("image_id", "key"),)
    id: Mapped[Id]
    key: Mapped[Key]
    """`keys.triple_key`: the same content is the same triple, however often it is imported."""
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    question: Mapped[Words]
    answer: Mapped[Words]
    rationale: Mapped[Words]
    shown: Mapped[Numbers]
    """The regions that were drawn when it was written; those it mentions are among them."""
    kind: Mapped[Word] = mapped_column(default="")
    source: Mapped[Name]
    model: Mapped[Name] = mapped_column(default="")
    prompt_version: Mapped[Word] = mapped_column(default="")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))

    image: Mapped[Image] = relationship()


class AnswerKey(Base):
    """What is wrong with a triple written for the demo; no flaw means that people should accept."""

    __tablename__ = "answer_keys"
    __table_args__ = (_one_of("flaw", Reason, "flaw_known"),)
    triple_id: Mapped[int] = mapped_column(
        ForeignKey("triples.id"), primary_key=True, autoincrement=False
    )
    flaw: Mapped[Reason | None] = mapped_column(String(40))


class Person(Base):
    """Somebody who uses the app. Simulated annotators are marked, and never mistaken for people."""

    __tablename__ = "people"
    __table_args__ = (
        _one_of("role", Role, "role_known"),
        CheckConstraint("accuracy BETWEEN 0 AND 1", name="accuracy_is_share"),
    )
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    role: Mapped[Role] = mapped_column(String(40))
    password_hash: Mapped[Name | None] = mapped_column(String(400))
    simulated: Mapped[bool] = mapped_column(default=False)
    accuracy: Mapped[float | None]
    """Stated for simulated annotators only: the share of votes that agree with the key."""
    created: Mapped[Instant]


class Login(Base):
    """A signed-in browser, known by the digest of its cookie."""

    __tablename__ = "logins"
    token_digest: Mapped[Key] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    expires: Mapped[Instant]


class Batch(Base):
    """Triples to be labelled together, `wanted` votes each."""

    __tablename__ = "batches"
    __table_args__ = (CheckConstraint("wanted > 0", name="wants_votes"),)
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    wanted: Mapped[int]
    created: Mapped[Instant]


class BatchItem(Base):
    """A triple's place in a batch. `taken` counts its votes and its live leases."""

    __tablename__ = "batch_items"
    __table_args__ = (
        UniqueConstraint("batch_id", "triple_id"),
        CheckConstraint("taken BETWEEN 0 AND wanted", name="never_more_than_wanted"),
        Index(
            "ix_batch_items_open",
            "batch_id",
            "position",
            sqlite_where=text("taken < wanted"),
            postgresql_where=text("taken < wanted"),
        ),
    )
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id"), primary_key=True, autoincrement=False
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"), index=True)
    wanted: Mapped[int]
    taken: Mapped[int] = mapped_column(default=0)


class Lease(Base):
    """A promise of a batch item to a person, until it expires or becomes a vote."""

    __tablename__ = "leases"
    __table_args__ = (
        ForeignKeyConstraint(
            ["batch_id", "position"], ["batch_items.batch_id", "batch_items.position"]
        ),
    )
    batch_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    person_id: Mapped[int] = mapped_column(
        ForeignKey("people.id"), primary_key=True, autoincrement=False, index=True
    )
    expires: Mapped[Instant] = mapped_column(index=True)


class Vote(Base):
    """One person's judgement of one triple. Never changed: withdrawn, and given anew."""

    __tablename__ = "votes"
    __table_args__ = (
        _one_of("decision", Decision, "decision_known"),
        Index(
            "uq_votes_standing",
            "triple_id",
            "person_id",
            unique=True,
            sqlite_where=text("withdrawn IS NULL"),
            postgresql_where=text("withdrawn IS NULL"),
        ),
    )
    id: Mapped[Id]
    key: Mapped[Key] = mapped_column(unique=True)
    """Made by whoever votes, so that a save sent twice counts once."""
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    decision: Mapped[Decision] = mapped_column(String(40))
    reasons: Mapped[list[Reason]] = mapped_column(JSON, default=list)
    duration_ms: Mapped[int | None]
    created: Mapped[Instant]
    withdrawn: Mapped[Instant | None]


class Split(Base):
    """Which part an image belongs to, decided once for critic and student alike."""

    __tablename__ = "splits"
    __table_args__ = (_one_of("part", Part, "part_known"),)
    image_id: Mapped[int] = mapped_column(
        ForeignKey("images.id"), primary_key=True, autoincrement=False
    )
    part: Mapped[Part] = mapped_column(String(40))


class Score(Base):
    """A run's number for a triple; of a critic, the probability that people would accept it."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_run_id_value", "run_id", "value"),
        {"sqlite_with_rowid": False},
    )
    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id"), primary_key=True, autoincrement=False
    )
    triple_id: Mapped[int] = mapped_column(
        ForeignKey("triples.id"), primary_key=True, autoincrement=False
    )
    value: Mapped[float]


class Release(Base):
    """A frozen choice: a critic's run, a threshold, and the triples that it kept."""

    __tablename__ = "releases"
    __table_args__ = (CheckConstraint("threshold BETWEEN 0 AND 1", name="threshold_is_share"),)
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    threshold: Mapped[float]
    simulated: Mapped[bool] = mapped_column(default=False)
    note: Mapped[Words] = mapped_column(default="")
    estimate: Mapped[Document] = mapped_column(default=dict)
    """Precision, recall and F1 at the threshold, with intervals, as measured on test images."""
    created: Mapped[Instant]

    run: Mapped[Run] = relationship()


class ReleaseTriple(Base):
    """A triple that a release kept, with the score that kept it."""

    __tablename__ = "release_triples"
    __table_args__ = ({"sqlite_with_rowid": False},)
    release_id: Mapped[int] = mapped_column(
        ForeignKey("releases.id"), primary_key=True, autoincrement=False
    )
    triple_id: Mapped[int] = mapped_column(
        ForeignKey("triples.id"), primary_key=True, autoincrement=False
    )
    score: Mapped[float]
