"""The data dictionary: every table of the store, its columns, and what they mean.

Sections: column types; images and texts; runs; generation; people and access; annotation; votes and
labels; critic and releases. Invariants are named constraints, which the database enforces. Instants
are milliseconds since 1970 UTC; boxes are in pixels of the original image, upright.
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

# ---- Column types: vocabularies

Decision = Literal["accept", "reject", "skip"]
"""A vote on a triple; a skip counts as no vote."""
Reason = Literal[
    "wrong_region", "not_in_image", "wrong_answer", "unsupported", "trivial", "harmful"
]
"""Why a triple is rejected."""
REASONS: tuple[Reason, ...] = get_args(Reason)
"""In the order of the keys 1 to 6 on the annotation page."""
Role = Literal["annotator", "researcher", "admin"]
"""What an account may do; each role includes those before it."""
Part = Literal["train", "calibration", "test"]
"""Part of the split by image. Calibration labels are not used for tuning."""
RunKind = Literal[
    "import", "foreign", "verbalize", "generate", "simulate", "labels", "critic", "student"
]
"""Step that a run executes; a `foreign` run holds imported scores of other programs."""
RunStatus = Literal["running", "done", "failed"]
VerbalizationKind = Literal["scene", "region", "question", "concept"]
Order = Literal["random", "uncertain", "disagreed", "information"]
"""Order of a batch: random, most uncertain scores first, most divided votes first, or for each
person those on which their vote is expected to tell most.
"""
PriceUnit = Literal["vote", "hour"]
CallStatus = Literal["answered", "failed", "submitted"]
InstructionKind = Literal["conversation", "description", "reasoning"]

# ---- Column types: SQL

Id = Annotated[int, mapped_column(primary_key=True)]
Instant = Annotated[int, mapped_column(BigInteger)]
Key = Annotated[str, mapped_column(String(64))]
Name = Annotated[str, mapped_column(String(400))]
LongText = Annotated[str, mapped_column(Text)]
ShortText = Annotated[str, mapped_column(String(40))]
Document = Annotated[dict[str, Any], mapped_column(JSON)]
Numbers = Annotated[list[int], mapped_column(JSON)]


def _key_to(column: str) -> Any:  # noqa: ANN401 - a Mapped column of any key
    """Return a foreign key that is part of the table's primary key."""
    return mapped_column(ForeignKey(column), primary_key=True, autoincrement=False)


def _one_of(column: str, choices: object, name: str) -> CheckConstraint:
    values = ", ".join(f"'{value}'" for value in get_args(choices))
    return CheckConstraint(f"{column} IN ({values})", name=name)


class Base(DeclarativeBase):
    """Base class of the tables; names their constraints."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


# ---- Images and texts about them


class Source(Base):
    """A collection of images: a folder, a zip, a URL, or `package:` for installed packages."""

    __tablename__ = "sources"
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    root: Mapped[LongText]
    """See `db.images.locations`."""


class Image(Base):
    """An image file of a source, with its size in pixels and its attribution.

    Files with the same bytes are one image; see `ImageName`.
    """

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("source_id", "name"),
        CheckConstraint("width > 0 AND height > 0", name="has_size"),
        CheckConstraint("orientation BETWEEN 1 AND 8", name="orientation_known"),
    )
    id: Mapped[Id]
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"))
    name: Mapped[Name]
    """Path below the root of the source."""
    width: Mapped[int]
    height: Mapped[int]
    """Of the upright picture."""
    orientation: Mapped[int | None]
    """EXIF orientation of the file. None: unknown, since an earlier version stored size and regions
    as of the pixels before their orientation is applied, and the file was not read since."""
    digest: Mapped[str | None] = mapped_column(String(64), index=True)
    """SHA-256 of the file; None if the import did not read all of it."""
    file_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """Size of the file."""
    dhash: Mapped[str | None] = mapped_column(String(16))
    """Perceptual hash; see `db.images.image_files.difference_hash`."""
    duplicate_group: Mapped[int | None]
    """Images with the same number are on the same side of the split; None: only this one."""
    title: Mapped[LongText] = mapped_column(default="")
    author: Mapped[LongText] = mapped_column(default="")
    licence: Mapped[LongText] = mapped_column(default="")
    origin: Mapped[LongText] = mapped_column(default="")
    """URL or description of where the image was published."""

    source: Mapped[Source] = relationship(lazy="joined", innerjoin=True)


class ImageName(Base):
    """Another name of an image: that of a second file with the same bytes."""

    __tablename__ = "image_names"
    source_id: Mapped[int] = _key_to("sources.id")
    name: Mapped[Name] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), index=True)


class ImageRegion(Base):
    """A numbered region of an image: a box, and polygons if its outline is known."""

    __tablename__ = "regions"
    __table_args__ = (
        CheckConstraint("number >= 0", name="number_from_zero"),
        CheckConstraint("x1 < x2 AND y1 < y2", name="box_upright"),
        CheckConstraint("x1 >= 0 AND y1 >= 0", name="box_inside"),
    )
    image_id: Mapped[int] = _key_to("images.id")
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    x1: Mapped[float]
    y1: Mapped[float]
    x2: Mapped[float]
    y2: Mapped[float]
    polygons: Mapped[list[list[list[float]]]] = mapped_column(JSON, default=list)
    """Lists of [x, y]; empty if only the box is known."""
    label: Mapped[Name] = mapped_column(default="")


class Verbalization(Base):
    """A text about an image or one of its regions, for a language model to read."""

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
    """None for the whole image."""
    kind: Mapped[VerbalizationKind] = mapped_column(String(40))
    text: Mapped[LongText]
    answer: Mapped[LongText] = mapped_column(default="")
    """Only of a question."""
    model: Mapped[Name]
    version: Mapped[ShortText] = mapped_column(default="")
    """Version of the describer and its prompt."""
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)


class Triple(Base):
    """A question, an answer and a rationale about regions of an image, which they call `[n]`."""

    __tablename__ = "triples"
    # By image first: keys are random, and an index on them alone would be slow to write.
    __table_args__ = (UniqueConstraint("image_id", "key"),)
    id: Mapped[Id]
    key: Mapped[Key]
    """See `keys.triple_key`: the same content is the same triple."""
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    question: Mapped[LongText]
    answer: Mapped[LongText]
    rationale: Mapped[LongText]
    visible_regions: Mapped[Numbers]
    """Numbers of the regions drawn on the image, a superset of those mentioned."""
    kind: Mapped[ShortText] = mapped_column(default="")
    """Kind of question."""
    external_id: Mapped[LongText] = mapped_column(default="", server_default="")
    """Id in the file that it was imported from; empty if it had none."""
    source: Mapped[Name]
    """Who wrote it: a data set, or a model."""
    model: Mapped[Name] = mapped_column(default="")
    prompt_version: Mapped[ShortText] = mapped_column(default="")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))

    image: Mapped[Image] = relationship()


class AnswerKey(Base):
    """The flaw of a triple of the demo project; a triple without a flaw should be accepted."""

    __tablename__ = "answer_keys"
    __table_args__ = (_one_of("flaw", Reason, "flaw_known"),)
    triple_id: Mapped[int] = _key_to("triples.id")
    flaw: Mapped[Reason | None] = mapped_column(String(40))


class Instruction(Base):
    """A conversation about an image in the format that LLaVA is trained on."""

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
    """Lists of a question and its answer; `<image>` as in the imported file."""
    external_id: Mapped[LongText] = mapped_column(default="", server_default="")
    """Id in the file that it was imported from; empty if it had none."""
    further_images: Mapped[Numbers] = mapped_column(default=list, server_default="[]")
    """Ids of its images after the first, in order."""
    model: Mapped[Name]
    prompt_version: Mapped[ShortText]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))


# ---- Runs


class Run(Base):
    """One execution of a step: its settings, seed, data and results."""

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
    """Fields of the settings dataclass of its kind."""
    seed: Mapped[int] = mapped_column(default=0)
    fingerprint: Mapped[Key] = mapped_column(default="")
    """Digest of the data that it used; see `keys.fingerprint`."""
    simulated: Mapped[bool] = mapped_column(default=False)
    """Whether it used votes of simulated annotators."""
    results: Mapped[Document] = mapped_column(default=dict)
    """Fields of the results dataclass of its kind; of a failed run, the `error`."""
    started: Mapped[Instant]
    finished: Mapped[Instant | None]


class RejectedRow(Base):
    """A row of an imported file that was rejected, and why."""

    __tablename__ = "rejected_rows"
    id: Mapped[Id]
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    line: Mapped[int]
    field: Mapped[Name]
    reason: Mapped[LongText]


class Split(Base):
    """The part that an image belongs to, for critics and students alike."""

    __tablename__ = "splits"
    __table_args__ = (_one_of("part", Part, "part_known"),)
    image_id: Mapped[int] = _key_to("images.id")
    part: Mapped[Part] = mapped_column(String(40))


# ---- Generation: requests to language models


class Call(Base):
    """A request to a language model and its reply: the journal.

    A reply is stored before it is parsed, and an answered request is never sent again. A failed one
    may be sent again; a submitted one is waiting for a batch API.
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
    """Digest of model, messages, sampling parameters and the number of the sample."""
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    sample: Mapped[int]
    status: Mapped[CallStatus] = mapped_column(String(40))
    attempts: Mapped[int]
    reply: Mapped[LongText] = mapped_column(default="")
    finish: Mapped[ShortText] = mapped_column(default="")
    """The server's finish reason: stop, length, content_filter and so on."""
    error: Mapped[LongText] = mapped_column(default="")
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    cost: Mapped[Instant] = mapped_column(default=0)
    """In millionths of a dollar; 0 for a model without a price."""
    milliseconds: Mapped[int] = mapped_column(default=0)
    created: Mapped[Instant]
    read: Mapped[Instant | None]
    """When the reply was parsed; None if it has not been."""
    repaired: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether the reply's JSON was repaired before it could be parsed."""
    submission_id: Mapped[int | None] = mapped_column(ForeignKey("submissions.id"), index=True)


class Submission(Base):
    """A job of a batch API: a file of requests, answered within a day at a lower price."""

    __tablename__ = "submissions"
    id: Mapped[Id]
    key: Mapped[Key] = mapped_column(unique=True)
    """Our id, which the server stores as metadata: a job is found by it after a crash."""
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    base_url: Mapped[Name]
    remote: Mapped[Name] = mapped_column(default="")
    """The server's id; empty until it is known."""
    requests: Mapped[int]
    """Number of requests."""
    created: Mapped[Instant]
    collected: Mapped[Instant | None]


class Rejection(Base):
    """Part of a reply that was rejected, and why."""

    __tablename__ = "rejections"
    id: Mapped[Id]
    call_id: Mapped[int] = mapped_column(ForeignKey("calls.id"), index=True)
    reason: Mapped[ShortText]
    detail: Mapped[LongText] = mapped_column(default="")
    text: Mapped[LongText] = mapped_column(default="")


# ---- People and access


class Person(Base):
    """An account, an anonymous local user, or a simulated annotator."""

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
    anonymous: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether it stands for unknown people: a place in the vote lists of imported label files."""
    accuracy: Mapped[float | None]
    """Of simulated annotators: the share of votes that agree with the answer key."""
    active: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether the account may sign in; its votes count either way."""
    preferences: Mapped[Document] = mapped_column(default=dict, server_default="{}")
    """Language and keyboard shortcuts."""
    created: Mapped[Instant]


class Login(Base):
    """A browser session, identified by the digest of its cookie."""

    __tablename__ = "logins"
    token_digest: Mapped[Key] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("studies.id"))
    """The study of a crowd worker, to which the session is restricted."""
    expires: Mapped[Instant]


class FailedLogin(Base):
    """A sign-in that has not succeeded, counted before its password is verified.

    Too many of them hold up further ones for a while; see `annotator.accounts.throttle`.
    """

    __tablename__ = "failed_logins"
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(index=True)
    address: Mapped[Name] = mapped_column(index=True)
    device: Mapped[str | None] = mapped_column(String(64), index=True)
    """The `KnownDevice` of the person of that name; None: from a browser that is not known."""
    created: Mapped[Instant]


class KnownDevice(Base):
    """A browser from which a person has signed in, identified by the digest of its cookie.

    Wrong passwords from elsewhere do not hold up sign-ins from it. Several people may use it.
    """

    __tablename__ = "known_devices"
    person_id: Mapped[int] = _key_to("people.id")
    token_digest: Mapped[Key] = mapped_column(primary_key=True, index=True)
    expires: Mapped[Instant]


class PasswordReset(Base):
    """A link by which a person chooses a new password, once, identified by its digest."""

    __tablename__ = "password_resets"
    token_digest: Mapped[Key] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    created: Mapped[Instant]
    expires: Mapped[Instant]


class Invitation(Base):
    """A link to create one account with a role, identified by its digest."""

    __tablename__ = "invitations"
    __table_args__ = (_one_of("role", Role, "role_known"),)
    id: Mapped[Id]
    token_digest: Mapped[Key] = mapped_column(unique=True)
    role: Mapped[Role] = mapped_column(String(40))
    note: Mapped[Name] = mapped_column(default="")
    """Recipient."""
    made_by: Mapped[int] = mapped_column(ForeignKey("people.id"))
    created: Mapped[Instant]
    expires: Mapped[Instant]
    used_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class Token(Base):
    """An API token, identified by its digest."""

    __tablename__ = "tokens"
    id: Mapped[Id]
    token_digest: Mapped[Key] = mapped_column(unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    name: Mapped[Name]
    created: Mapped[Instant]
    expires: Mapped[Instant]


# ---- Annotation


class Guideline(Base):
    """A version of the annotation guidelines, in Markdown; the newest is shown."""

    __tablename__ = "guidelines"
    id: Mapped[Id]
    text: Mapped[LongText]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    created: Mapped[Instant]


class Batch(Base):
    """A set of triples to be labelled, the votes each requires, and the quality policy."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("votes_required > 0", name="wants_votes"),
        _one_of("ordering", Order, "ordering_known"),
        CheckConstraint("random_share BETWEEN 0 AND 1", name="random_share_is_share"),
        CheckConstraint("gold_rate BETWEEN 0 AND 1", name="gold_rate_is_share"),
        CheckConstraint("min_gold_accuracy BETWEEN 0 AND 1", name="bar_is_share"),
        CheckConstraint("price >= 0", name="price_not_negative"),
        _one_of("price_unit", PriceUnit, "price_unit_known"),
    )
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    votes_required: Mapped[int]
    ordering: Mapped[Order] = mapped_column(String(40), default="random", server_default="random")
    random_share: Mapped[float] = mapped_column(default=1.0, server_default="1")
    """Share of positions filled at random in any order; only those are used for estimates."""
    gold_rate: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Share of gold triples among those given to each annotator."""
    qualification_items: Mapped[int] = mapped_column(default=0, server_default="0")
    """Gold triples with feedback that each annotator judges first."""
    min_gold_accuracy: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Accuracy on gold below which an annotator is paused."""
    fast_ms: Mapped[int] = mapped_column(default=1000, server_default="1000")
    """Votes faster than this are flagged as too fast."""
    open: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether its triples are given to annotators."""
    selection: Mapped[Document] = mapped_column(default=dict, server_default="{}")
    """Fields of `db.labelling.batches.Selection`: how its triples were selected."""
    price: Mapped[float | None]
    """What its annotators are paid per `price_unit`, in any currency; None if that is unknown."""
    price_unit: Mapped[PriceUnit] = mapped_column(String(40), default="vote", server_default="vote")
    created: Mapped[Instant]


class BatchItem(Base):
    """A triple at a position of a batch.

    `slots_used` counts its votes and its active leases. A gold triple requires no votes and is
    given to every annotator.
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
    batch_id: Mapped[int] = _key_to("batches.id")
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"), index=True)
    votes_required: Mapped[int]
    slots_used: Mapped[int] = mapped_column(default=0)
    at_random: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether its position was drawn at random."""


class Lease(Base):
    """A reservation of a batch item for an annotator, until it expires or becomes a vote."""

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
    """The browser tab that holds it, so that two tabs never show the same triple."""
    expires: Mapped[Instant] = mapped_column(index=True)
    held_until: Mapped[Instant] = mapped_column(default=0, server_default="0")
    """Of an item that was sent back: until then it stays with the person when a tab's time ends."""
    note: Mapped[LongText] = mapped_column(default="", server_default="")
    """What the researcher wrote who sent the item back."""


class Gold(Base):
    """A triple whose correct decision is known, to measure annotators by."""

    __tablename__ = "gold"
    __table_args__ = (CheckConstraint("decision IN ('accept', 'reject')", name="decision_known"),)
    triple_id: Mapped[int] = _key_to("triples.id")
    decision: Mapped[Decision] = mapped_column(String(40))
    reasons: Mapped[list[Reason]] = mapped_column(JSON, default=list)
    note: Mapped[LongText] = mapped_column(default="")
    """Explanation, shown as feedback during qualification."""
    is_training_item: Mapped[bool] = mapped_column(default=False)
    """Whether it is used for qualification, with feedback, instead of hidden among the triples."""
    author_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    created: Mapped[Instant]


class Pause(Base):
    """A stop of an annotator in a batch, until a researcher lifts it."""

    __tablename__ = "pauses"
    id: Mapped[Id]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    reason: Mapped[LongText]
    created: Mapped[Instant]
    lifted: Mapped[Instant | None]
    lifted_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))


class Study(Base):
    """A batch for a crowd platform: workers follow a link, fill a quota, and get a code."""

    __tablename__ = "studies"
    __table_args__ = (
        CheckConstraint("quota > 0", name="has_quota"),
        CheckConstraint("max_workers > 0", name="has_places"),
    )
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    quota: Mapped[int]
    """Triples per worker."""
    max_workers: Mapped[int | None]
    """How many workers can join; None: any number, as in studies of earlier versions."""
    signing_secret: Mapped[Key | None] = mapped_column(String(64))
    """Key of the signatures that links must have; None if they need none."""
    link: Mapped[Key] = mapped_column(unique=True)
    """Secret part of the link for workers."""
    code: Mapped[Name]
    """Completion code, which proves that a worker has finished."""
    finish_url: Mapped[LongText] = mapped_column(default="")
    """Return URL of the platform."""
    open: Mapped[bool] = mapped_column(default=True)
    created: Mapped[Instant]


class StudySession(Base):
    """A worker's participation in a study, with the ids of the crowd platform."""

    __tablename__ = "study_sessions"
    __table_args__ = (UniqueConstraint("study_id", "person_id"),)
    id: Mapped[Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    platform_study: Mapped[Name] = mapped_column(default="")
    platform_session: Mapped[Name] = mapped_column(default="")
    browser_digest: Mapped[Key | None] = mapped_column(String(64))
    """Digest of the cookie of the browser that joined; None: the next one that comes."""
    created: Mapped[Instant]
    finished: Mapped[Instant | None]


# ---- Votes and labels


class Vote(Base):
    """A person's decision on a triple; never updated, but withdrawn and replaced."""

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
        Index(
            "ix_votes_withdrawn",
            "withdrawn",
            sqlite_where=text("withdrawn IS NOT NULL"),
            postgresql_where=text("withdrawn IS NOT NULL"),
        ),
    )
    id: Mapped[Id]
    key: Mapped[Key] = mapped_column(unique=True)
    """Generated by the client, so that a vote sent twice counts once."""
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"))
    decision: Mapped[Decision] = mapped_column(String(40))
    reasons: Mapped[list[Reason]] = mapped_column(JSON, default=list)
    duration_ms: Mapped[int | None]
    """Time spent on the triple, without idle time."""
    guideline_id: Mapped[int | None] = mapped_column(ForeignKey("guidelines.id"))
    score_shown: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether the critic's score was visible."""
    replaces: Mapped[int | None] = mapped_column(ForeignKey("votes.id"))
    """The vote that this one corrects."""
    created: Mapped[Instant]
    withdrawn: Mapped[Instant | None]


class ReturnedVote(Base):
    """A vote that a researcher withdrew to ask its annotator again, and the note to them."""

    __tablename__ = "returned_votes"
    vote_id: Mapped[int] = _key_to("votes.id")
    note: Mapped[LongText]
    returned_by: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    """None: from the command line."""
    created: Mapped[Instant]


class Flag(Base):
    """An annotator's request to review a triple, with a note."""

    __tablename__ = "flags"
    id: Mapped[Id]
    triple_id: Mapped[int] = mapped_column(ForeignKey("triples.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    note: Mapped[LongText]
    created: Mapped[Instant]
    resolved: Mapped[Instant | None]


class Adjudication(Base):
    """A researcher's final decision on a triple; never updated, but withdrawn and replaced."""

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
    """A triple's label by a run of label aggregation."""

    __tablename__ = "labels"
    __table_args__ = (
        CheckConstraint("accept BETWEEN 0 AND 1", name="accept_is_share"),
        CheckConstraint("low BETWEEN 0 AND accept", name="low_is_bound"),
        CheckConstraint("high BETWEEN accept AND 1", name="high_is_bound"),
        {"sqlite_with_rowid": False},
    )
    run_id: Mapped[int] = _key_to("runs.id")
    triple_id: Mapped[int] = _key_to("triples.id")
    accept: Mapped[float]
    """Probability of acceptance."""
    low: Mapped[float | None]
    """Lower bound of its 95 % interval; None in runs of versions without intervals."""
    high: Mapped[float | None]
    """Upper bound."""
    votes: Mapped[int]
    """Number of votes."""
    qa: Mapped[bool | None]
    """Whether question and answer are acceptable; None if unknown."""
    rationale: Mapped[bool | None]
    """Whether the rationale is acceptable; None if unknown."""


# ---- Critic and releases


class Score(Base):
    """A run's score of a triple; of a critic, the probability that people accept it."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_run_id_value", "run_id", "value"),
        {"sqlite_with_rowid": False},
    )
    run_id: Mapped[int] = _key_to("runs.id")
    triple_id: Mapped[int] = _key_to("triples.id")
    value: Mapped[float]


class Judgement(Base):
    """A language model's estimate of the probability that people accept a triple."""

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
    """The model's explanation."""
    model: Mapped[Name]
    prompt_version: Mapped[ShortText]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))


class Retraining(Base):
    """The schedule of automatic retraining of the critic; at most one row."""

    __tablename__ = "retrainings"
    __table_args__ = (CheckConstraint("every > 0", name="after_some_votes"),)
    id: Mapped[Id]
    every: Mapped[int]
    """Number of new votes after which it is retrained."""
    settings: Mapped[Document]
    """Settings of the training."""
    votes: Mapped[int]
    """Number of votes at the last training."""
    error: Mapped[LongText] = mapped_column(default="")
    """Error of the last training; empty if it succeeded."""
    created: Mapped[Instant]


class Release(Base):
    """A fixed set of triples: those that a critic scores at or above a threshold."""

    __tablename__ = "releases"
    __table_args__ = (CheckConstraint("threshold BETWEEN 0 AND 1", name="threshold_is_share"),)
    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    threshold: Mapped[float]
    simulated: Mapped[bool] = mapped_column(default=False)
    note: Mapped[LongText] = mapped_column(default="")
    estimate: Mapped[Document] = mapped_column(default=dict)
    """Precision, recall and F1 at the threshold on test images, each an `Estimate`."""
    kept: Mapped[int] = mapped_column(default=0, server_default="0")
    """Number of triples."""
    selection: Mapped[Document] = mapped_column(default=dict, server_default="{}")
    """Limits: by number, share, image, kind, or certified precision."""
    created: Mapped[Instant]

    run: Mapped[Run] = relationship()


class ReleaseTriple(Base):
    """A triple of a release, with its score."""

    __tablename__ = "release_triples"
    __table_args__ = ({"sqlite_with_rowid": False},)
    release_id: Mapped[int] = _key_to("releases.id")
    triple_id: Mapped[int] = _key_to("triples.id")
    score: Mapped[float]
