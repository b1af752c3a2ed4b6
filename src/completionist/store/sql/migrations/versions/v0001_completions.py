"""Stored completions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "completions",
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_completions"),
        sa.UniqueConstraint("id", name="uq_completions_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_completions_project_created_sequence", "completions", ["project", "created", "sequence"])
    op.create_index(
        "ix_completions_project_model_created_sequence", "completions", ["project", "model", "created", "sequence"]
    )
    op.create_index("ix_completions_created", "completions", ["created"])
    op.create_table(
        "completion_messages",
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sequence", "position", name="pk_completion_messages"),
        sa.ForeignKeyConstraint(
            ["sequence"], ["completions.sequence"], ondelete="CASCADE", name="fk_completion_messages_sequence"
        ),
    )
    op.create_table(
        "completion_metadata",
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("project", "digest", "created", "sequence", name="pk_completion_metadata"),
        sa.ForeignKeyConstraint(
            ["sequence"], ["completions.sequence"], ondelete="CASCADE", name="fk_completion_metadata_sequence"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_completion_metadata_sequence", "completion_metadata", ["sequence"])
    op.create_table(
        "deleted_completions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("deleted", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_completions"),
    )
    op.create_index("ix_deleted_completions_deleted", "deleted_completions", ["deleted"])
    op.create_table(
        "storage_probe",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_storage_probe"),
    )
