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
    false,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Decision = Literal["accept", "reject", "skip"]
Reason = Literal[
    "wrong_region", "not_in_image", "wrong_answer", "unsupported", "trivial", "harmful"
]
Role = Literal["annotator", "researcher", "admin"]
Part = Literal["train", "calibration", "test"]
RunKind = Literal[
    "import", "foreign", "verbalize", "generate", "simulate", "labels", "critic", "student"
]
RunStatus = Literal["running", "done", "failed"]
VerbalizationKind = Literal["scene", "region", "question", "concept"]
Order = Literal["random", "uncertain", "disagreed"]
CallStatus = Literal["answered", "failed", "submitted"]
InstructionKind = Literal["conversation", "description", "reasoning"]

REASONS: tuple[Reason, ...] = get_args(Reason)
"""In the order of the keys 1 to 6 on the annotator's page."""

Id = Annotated[int, mapped_column(primary_key=True)]
Instant = Annotated[int, mapped_column(BigInteger)]
Key = Annotated[str, mapped_column(String(64))]
Name = Annotated[str, mapped_column(String(400))]
LongText = Annotated[str, mapped_column(Text)]
ShortText = Annotated[str, mapped_column(String(40))]
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
    root: Mapped[LongText]


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
    title: Mapped[LongText] = mapped_column(default="")
    author: Mapped[LongText] = mapped_column(default="")
    licence: Mapped[LongText] = mapped_column(default="")
    origin: Mapped[LongText] = mapped_column(default="")

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
    text: Mapped[LongText]
    answer: Mapped[LongText] = mapped_column(default="")
    model: Mapped[Name]
    version: Mapped[ShortText] = mapped_column(default="")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)


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
    reason: Mapped[LongText]


class Call(Base):
    """A request to a language model, and what came back: the journal.

    One row a request, written with its reply before anything is read from it. A reply that
    arrived is never asked for again; a request that failed may be, one that was submitted is due.
    """

    __tablename__ = "calls"
    __table_args__ = (
        _one_of("status", CallStatus, "status_known"),
        Index("ix_calls_run_id_image_id", "run_id", "image_id"),
        Index(
            "ix_calls_unread",
            "run_id",
            "id",
            sqlite_where=text("status = 'answered' AND read IS NULL"),
            postgresql_where=text("status = 'answered' AND read IS NULL"),
        ),
    )
    id: Mapped[Id]
    fingerprint: Mapped[Key] = mapped_column(unique=True)
    """Over the model, the messages, the sampling and the number of the sample."""
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    sample: Mapped[int]
    status: Mapped[CallStatus] = mapped_column(String(40))
    attempts: Mapped[int]
    reply: Mapped[LongText] = mapped_column(default="")
    finish: Mapped[ShortText] = mapped_column(default="")
    """Why the model stopped, in the server's word: stop, length, content_filter..."""
    error: Mapped[LongText] = mapped_column(default="")
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    cost: Mapped[Instant] = mapped_column(default=0)
    """Millionths of a dollar; 0 where the model has no price."""
    milliseconds: Mapped[int] = mapped_column(default=0)
    created: Mapped[Instant]
    read: Mapped[Instant | None]
    """When what it holds was read from it; None: not yet."""
    submission_id: Mapped[int | None] = mapped_column(ForeignKey("submissions.id"), index=True)


class Submission(Base):
    """Requests handed to a server in one file, to be answered within a day at a lower price."""

    __tablename__ = "submissions"
    id: Mapped[Id]
    key: Mapped[Key] = mapped_column(unique=True)
    """Ours: the server keeps it beside its own, so that a submission is found after a crash."""
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    base_url: Mapped[Name]
    remote: Mapped[Name] = mapped_column(default="")
    """The server's own name for it; empty until it is known."""
    requests: Mapped[int]
    created: Mapped[Instant]
    collected: Mapped[Instant | None]


class Rejection(Base):
    """Something that a model wrote and that was kept out, and why."""

    __tablename__ = "rejections"
    id: Mapped[Id]
    call_id: Mapped[int] = mapped_column(ForeignKey("calls.id"), index=True)
    reason: Mapped[ShortText]
    detail: Mapped[LongText] = mapped_column(default="")
    text: Mapped[LongText] = mapped_column(default="")


class Instruction(Base):
    """A conversation, description or reasoning about an image, as LLaVA is taught with."""

    __tablename__ = "instructions"
    __table_args__ = (
        UniqueConstraint("image_id", "key"),
        _one_of("kind", InstructionKind, "kind_known"),
    )
    id: Mapped[Id]
    key: Mapped[Key]
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    kind: Mapped[InstructionKind] = mapped_column(String(40))
    turns: Mapped[list[list[str]]] = mapped_column(JSON)
    """Pairs of question and answer."""
    model: Mapped[Name]
    prompt_version: Mapped[ShortText]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))


class Triple(Base):
    """A question, an answer and a rationale about regions of an image, which texts name `[n]`."""

    __tablename__ = "triples"
    # The image first: keys come in no order, and an index of them alone would be written all over.
    __table_args__ = (UniqueConstraint("image_id", "key"),)
    id: Mapped[Id]
    key: Mapped[Key]
    """`keys.triple_key`: the same content is the same triple, however often it is imported."""
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    question: Mapped[LongText]
    answer: Mapped[LongText]
    rationale: Mapped[LongText]
    visible_regions: Mapped[Numbers]
    """The regions that were drawn when it was written; those it mentions are among them."""
    kind: Mapped[ShortText] = mapped_column(default="")
    source: Mapped[Name]
    model: Mapped[Name] = mapped_column(default="")
    prompt_version: Mapped[ShortText] = mapped_column(default="")
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
    active: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the account may be used; its votes stay, whatever happens to it."""
    preferences: Mapped[Document] = mapped_column(default=dict, server_default="{}")
    """Language and keys, as the person chose them."""
    created: Mapped[Instant]


class Login(Base):
    """A signed-in browser, known by the digest of its cookie; a worker's knows its study."""

    __tablename__ = "logins"
    token_digest: Mapped[Key] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("studies.id"))
    expires: Mapped[Instant]


class FailedLogin(Base):
    """A wrong password. After too many of them, neither name nor address is let in for a while."""

    __tablename__ = "failed_logins"
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(index=True)
    address: Mapped[Name] = mapped_column(index=True)
    created: Mapped[Instant]


class Invitation(Base):
    """A link that lets one person make an account of a role, known by its digest."""

    __tablename__ = "invitations"
    __table_args__ = (_one_of("role", Role, "role_known"),)
    id: Mapped[Id]
    token_digest: Mapped[Key] = mapped_column(unique=True)
    role: Mapped[Role] = mapped_column(String(40))
    note: Mapped[Name] = mapped_column(default="")
    made_by: Mapped[int] = mapped_column(ForeignKey("people.id"))
    created: Mapped[Instant]
    expires: Mapped[Instant]
    used_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class Token(Base):
    """What a script shows instead of a cookie, known by its digest."""

    __tablename__ = "tokens"
    id: Mapped[Id]
    token_digest: Mapped[Key] = mapped_column(unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    name: Mapped[Name]
    created: Mapped[Instant]
    expires: Mapped[Instant]


class Guideline(Base):
    """One version of what annotators are told, in Markdown; the newest counts."""

    __tablename__ = "guidelines"
    id: Mapped[Id]
    text: Mapped[LongText]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    created: Mapped[Instant]


class Batch(Base):
    """Triples to be labelled together, how many votes each needs, and its quality policy."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("votes_required > 0", name="wants_votes"),
        _one_of("ordering", Order, "ordering_known"),
        CheckConstraint("random_share BETWEEN 0 AND 1", name="random_share_is_share"),
        CheckConstraint("gold_rate BETWEEN 0 AND 1", name="gold_rate_is_share"),
        CheckConstraint("min_gold_accuracy BETWEEN 0 AND 1", name="bar_is_share"),
    )
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    votes_required: Mapped[int]
    ordering: Mapped[Order] = mapped_column(String(40), default="random", server_default="random")
    random_share: Mapped[float] = mapped_column(default=1.0, server_default="1")
    """The share of places drawn at random whatever the order: estimates rest on those alone."""
    gold_rate: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """The share of gold among what each person is given."""
    qualification_items: Mapped[int] = mapped_column(default=0, server_default="0")
    """Gold triples, with feedback, that each person judges first."""
    min_gold_accuracy: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Accuracy on gold below which a person pauses."""
    fast_ms: Mapped[int] = mapped_column(default=1000, server_default="1000")
    """Votes quicker than this are flagged as too fast."""
    open: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether it is given out."""
    selection: Mapped[Document] = mapped_column(default=dict, server_default="{}")
    """How its triples were chosen."""
    created: Mapped[Instant]


class BatchItem(Base):
    """A triple's place in a batch. `slots_used` counts its votes and its live leases.

    Gold has a place that wants nothing: it is given to everybody, and no vote on it is missing.
    """

    __tablename__ = "batch_items"
    __table_args__ = (
        UniqueConstraint("batch_id", "triple_id"),
        CheckConstraint("slots_used BETWEEN 0 AND votes_required", name="never_more_than_wanted"),
        Index(
            "ix_batch_items_open",
            "batch_id",
            "position",
            sqlite_where=text("slots_used < votes_required"),
            postgresql_where=text("slots_used < votes_required"),
        ),
    )
    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id"), primary_key=True, autoincrement=False
    )
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"), index=True)
    votes_required: Mapped[int]
    slots_used: Mapped[int] = mapped_column(default=0)
    at_random: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether chance alone gave it its place."""


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
    tab: Mapped[ShortText] = mapped_column(default="", server_default="")
    """Which of the person's browser tabs holds it: two tabs never show the same triple."""
    expires: Mapped[Instant] = mapped_column(index=True)


class Gold(Base):
    """A triple whose right judgement is known, and why it is right."""

    __tablename__ = "gold"
    __table_args__ = (CheckConstraint("decision IN ('accept', 'reject')", name="decision_known"),)
    triple_id: Mapped[int] = mapped_column(
        ForeignKey("triples.id"), primary_key=True, autoincrement=False
    )
    decision: Mapped[Decision] = mapped_column(String(40))
    reasons: Mapped[list[Reason]] = mapped_column(JSON, default=list)
    note: Mapped[LongText] = mapped_column(default="")
    """Shown as feedback in a qualification round."""
    is_training_item: Mapped[bool] = mapped_column(default=False)
    """Whether it is for the qualification round; the rest hides among other triples."""
    author_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    created: Mapped[Instant]


class Pause(Base):
    """A person may not go on with a batch, and is told why, until a researcher lifts it."""

    __tablename__ = "pauses"
    id: Mapped[Id]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    reason: Mapped[LongText]
    created: Mapped[Instant]
    lifted: Mapped[Instant | None]
    lifted_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class Study(Base):
    """A batch for an external crowd: workers come by a link, do so many, and get a code."""

    __tablename__ = "studies"
    __table_args__ = (CheckConstraint("quota > 0", name="has_quota"),)
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    quota: Mapped[int]
    """Triples for each worker."""
    link: Mapped[Key] = mapped_column(unique=True)
    """The secret part of the address that workers come by."""
    code: Mapped[Name]
    """What a worker hands in as proof of having finished."""
    finish_url: Mapped[LongText] = mapped_column(default="")
    open: Mapped[bool] = mapped_column(default=True)
    created: Mapped[Instant]


class StudySession(Base):
    """One worker's part in a study; ids are those of the crowd's own platform."""

    __tablename__ = "study_sessions"
    __table_args__ = (UniqueConstraint("study_id", "person_id"),)
    id: Mapped[Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    platform_study: Mapped[Name] = mapped_column(default="")
    platform_session: Mapped[Name] = mapped_column(default="")
    created: Mapped[Instant]
    finished: Mapped[Instant | None]


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
    """Milliseconds in front of the triple, idle time cut."""
    guideline_id: Mapped[int | None] = mapped_column(ForeignKey("guidelines.id"))
    score_shown: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether the critic's score was in sight."""
    replaces: Mapped[int | None] = mapped_column(ForeignKey("votes.id"))
    """The vote that this one corrects."""
    created: Mapped[Instant]
    withdrawn: Mapped[Instant | None]


class Flag(Base):
    """Somebody says that a triple needs a look, and why."""

    __tablename__ = "flags"
    id: Mapped[Id]
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    note: Mapped[LongText]
    created: Mapped[Instant]
    resolved: Mapped[Instant | None]


class Adjudication(Base):
    """A researcher's last word on a triple. Never changed: withdrawn, and given anew."""

    __tablename__ = "adjudications"
    __table_args__ = (
        CheckConstraint("decision IN ('accept', 'reject')", name="decision_known"),
        Index(
            "uq_adjudications_standing",
            "triple_id",
            unique=True,
            sqlite_where=text("withdrawn IS NULL"),
            postgresql_where=text("withdrawn IS NULL"),
        ),
    )
    id: Mapped[Id]
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    decision: Mapped[Decision] = mapped_column(String(40))
    reasons: Mapped[list[Reason]] = mapped_column(JSON, default=list)
    note: Mapped[LongText] = mapped_column(default="")
    created: Mapped[Instant]
    withdrawn: Mapped[Instant | None]


class StoredLabel(Base):
    """What a run of an aggregation makes of a triple's votes: the probability of acceptance."""

    __tablename__ = "labels"
    __table_args__ = (
        CheckConstraint("accept BETWEEN 0 AND 1", name="accept_is_share"),
        {"sqlite_with_rowid": False},
    )
    run_id: Mapped[int] = mapped_column(
        ForeignKey("runs.id"), primary_key=True, autoincrement=False
    )
    triple_id: Mapped[int] = mapped_column(
        ForeignKey("triples.id"), primary_key=True, autoincrement=False
    )
    accept: Mapped[float]
    votes: Mapped[int]
    qa: Mapped[bool | None]
    rationale: Mapped[bool | None]


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


class Judgement(Base):
    """What a language model says of a triple: how likely people would accept it, and why."""

    __tablename__ = "judgements"
    __table_args__ = (
        UniqueConstraint("image_id", "key"),
        CheckConstraint("value BETWEEN 0 AND 1", name="value_is_share"),
        Index("ix_judgements_run_id_triple_id", "run_id", "triple_id"),
    )
    id: Mapped[Id]
    key: Mapped[Key]
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"), index=True)
    value: Mapped[float]
    why: Mapped[LongText] = mapped_column(default="")
    model: Mapped[Name]
    prompt_version: Mapped[ShortText]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))


class Retraining(Base):
    """That a critic is to be trained anew after so many votes, and with which settings."""

    __tablename__ = "retrainings"
    __table_args__ = (CheckConstraint("every > 0", name="after_some_votes"),)
    id: Mapped[Id]
    every: Mapped[int]
    """Standing votes between one training and the next."""
    settings: Mapped[Document]
    votes: Mapped[int]
    """Standing votes when it was last trained."""
    error: Mapped[LongText] = mapped_column(default="")
    """Why the last one failed; empty if it did not."""
    created: Mapped[Instant]


class Release(Base):
    """A frozen choice: a critic's run, a threshold, and the triples that it kept."""

    __tablename__ = "releases"
    __table_args__ = (CheckConstraint("threshold BETWEEN 0 AND 1", name="threshold_is_share"),)
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    threshold: Mapped[float]
    simulated: Mapped[bool] = mapped_column(default=False)
    note: Mapped[LongText] = mapped_column(default="")
    estimate: Mapped[Document] = mapped_column(default=dict)
    """Precision, recall and F1 at the threshold, with intervals, as measured on test images."""
    kept: Mapped[int] = mapped_column(default=0, server_default="0")
    selection: Mapped[Document] = mapped_column(default=dict, server_default="{}")
    """How many were taken, of each image and kind too, where that was limited."""
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
