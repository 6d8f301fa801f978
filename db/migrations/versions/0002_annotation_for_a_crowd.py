"""Invitations, studies, gold, guidelines, flags, adjudication, stored labels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite and PostgreSQL spell these alike, and neither has to copy the table.
_COLUMNS = (
    "people ADD COLUMN active BOOLEAN NOT NULL DEFAULT true",
    "people ADD COLUMN preferences JSON NOT NULL DEFAULT '{{}}'",
    "logins ADD COLUMN study_id INTEGER CONSTRAINT fk_logins_study_id REFERENCES studies (id)",
    (
        "batches ADD COLUMN ordering VARCHAR(40) NOT NULL DEFAULT 'random' CONSTRAINT"
        " ck_batches_ordering_known CHECK (ordering IN ('random', 'uncertain', 'disagreed'))"
    ),
    (
        "batches ADD COLUMN random_share {double} NOT NULL DEFAULT 1 CONSTRAINT"
        " ck_batches_random_share_is_share CHECK (random_share BETWEEN 0 AND 1)"
    ),
    (
        "batches ADD COLUMN gold_rate {double} NOT NULL DEFAULT 0 CONSTRAINT"
        " ck_batches_gold_rate_is_share CHECK (gold_rate BETWEEN 0 AND 1)"
    ),
    "batches ADD COLUMN qualify INTEGER NOT NULL DEFAULT 0",
    (
        "batches ADD COLUMN bar {double} NOT NULL DEFAULT 0 CONSTRAINT"
        " ck_batches_bar_is_share CHECK (bar BETWEEN 0 AND 1)"
    ),
    "batches ADD COLUMN fast_ms INTEGER NOT NULL DEFAULT 1000",
    "batches ADD COLUMN open BOOLEAN NOT NULL DEFAULT true",
    "batches ADD COLUMN selection JSON NOT NULL DEFAULT '{{}}'",
    "batch_items ADD COLUMN at_random BOOLEAN NOT NULL DEFAULT true",
    "leases ADD COLUMN tab VARCHAR(40) NOT NULL DEFAULT ''",
    (
        "votes ADD COLUMN guideline_id INTEGER"
        " CONSTRAINT fk_votes_guideline_id REFERENCES guidelines (id)"
    ),
    "votes ADD COLUMN score_shown BOOLEAN NOT NULL DEFAULT false",
    "votes ADD COLUMN replaces INTEGER CONSTRAINT fk_votes_replaces REFERENCES votes (id)",
)
_KINDS = "'import', 'foreign', 'verbalize', 'simulate', 'labels', 'critic', 'student'"


def upgrade() -> None:
    _make_tables()
    dialect = op.get_bind().dialect
    double = sa.Double().compile(dialect=dialect)
    for column in _COLUMNS:
        op.execute("ALTER TABLE " + column.format(double=double))
    op.create_index("ix_logins_person_id", "logins", ["person_id"])
    _let_runs_be_labellings()


def _let_runs_be_labellings() -> None:
    name = op.f("ck_runs_kind_known")
    with op.batch_alter_table("runs") as runs:
        runs.drop_constraint(name, type_="check")
        runs.create_check_constraint(name, f"kind IN ({_KINDS})")


def _make_tables() -> None:
    op.create_table(
        "failed_logins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("address", sa.String(length=400), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failed_logins")),
    )
    with op.batch_alter_table("failed_logins", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_failed_logins_address"), ["address"], unique=False)
        batch_op.create_index(batch_op.f("ix_failed_logins_name"), ["name"], unique=False)
    op.create_table(
        "guidelines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["people.id"], name=op.f("fk_guidelines_author_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guidelines")),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("note", sa.String(length=400), nullable=False),
        sa.Column("made_by", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("used_by", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "role IN ('annotator', 'researcher', 'admin')", name=op.f("ck_invitations_role_known")
        ),
        sa.ForeignKeyConstraint(["made_by"], ["people.id"], name=op.f("fk_invitations_made_by")),
        sa.ForeignKeyConstraint(["used_by"], ["people.id"], name=op.f("fk_invitations_used_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_invitations_token_digest")),
    )
    op.create_table(
        "pauses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("lifted", sa.BigInteger(), nullable=True),
        sa.Column("lifted_by", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_pauses_batch_id")),
        sa.ForeignKeyConstraint(["lifted_by"], ["people.id"], name=op.f("fk_pauses_lifted_by")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_pauses_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
    )
    with op.batch_alter_table("pauses", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_pauses_person_id"), ["person_id"], unique=False)
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("quota", sa.Integer(), nullable=False),
        sa.Column("link", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=400), nullable=False),
        sa.Column("finish_url", sa.Text(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quota > 0", name=op.f("ck_studies_has_quota")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_studies_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("link", name=op.f("uq_studies_link")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_tokens_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_digest", name=op.f("uq_tokens_token_digest")),
    )
    op.create_table(
        "study_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("platform_study", sa.String(length=400), nullable=False),
        sa.Column("platform_session", sa.String(length=400), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("finished", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_study_sessions_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_study_sessions_study_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_sessions")),
        sa.UniqueConstraint(
            "study_id", "person_id", name=op.f("uq_study_sessions_study_id_person_id")
        ),
    )
    with op.batch_alter_table("study_sessions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_study_sessions_person_id"), ["person_id"], unique=False
        )
    op.create_table(
        "adjudications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("triple_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(length=40), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "decision IN ('accept', 'reject')", name=op.f("ck_adjudications_decision_known")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_adjudications_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["triple_id"], ["triples.id"], name=op.f("fk_adjudications_triple_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adjudications")),
    )
    with op.batch_alter_table("adjudications", schema=None) as batch_op:
        batch_op.create_index(
            "uq_adjudications_standing",
            ["triple_id"],
            unique=True,
            sqlite_where=sa.text("withdrawn IS NULL"),
            postgresql_where=sa.text("withdrawn IS NULL"),
        )
    op.create_table(
        "flags",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("triple_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("resolved", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_flags_person_id")),
        sa.ForeignKeyConstraint(["triple_id"], ["triples.id"], name=op.f("fk_flags_triple_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flags")),
    )
    with op.batch_alter_table("flags", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_flags_triple_id"), ["triple_id"], unique=False)
    op.create_table(
        "gold",
        sa.Column("triple_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decision", sa.String(length=40), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("teaches", sa.Boolean(), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("decision IN ('accept', 'reject')", name=op.f("ck_gold_decision_known")),
        sa.ForeignKeyConstraint(["author_id"], ["people.id"], name=op.f("fk_gold_author_id")),
        sa.ForeignKeyConstraint(["triple_id"], ["triples.id"], name=op.f("fk_gold_triple_id")),
        sa.PrimaryKeyConstraint("triple_id", name=op.f("pk_gold")),
    )
    op.create_table(
        "labels",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("triple_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accept", sa.Double(), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("qa", sa.Boolean(), nullable=True),
        sa.Column("rationale", sa.Boolean(), nullable=True),
        sa.CheckConstraint("accept BETWEEN 0 AND 1", name=op.f("ck_labels_accept_is_share")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_labels_run_id")),
        sa.ForeignKeyConstraint(["triple_id"], ["triples.id"], name=op.f("fk_labels_triple_id")),
        sa.PrimaryKeyConstraint("run_id", "triple_id", name=op.f("pk_labels")),
        sqlite_with_rowid=False,
    )
