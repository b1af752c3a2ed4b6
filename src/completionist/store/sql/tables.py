"""The tables, as the newest migration leaves them (a test compares the two).

completions          one row an answer: what is searched by, and the JSON that goes out
completion_messages  its input messages, one row each
completion_metadata  its metadata pairs as digests: one row for each pair, in the order of lists
deleted_completions  where deleted ones stood, so that a loop that deletes as it pages finds its place
idempotency_keys     requests that carried a key: under way, or with the answer that they were given
files                one row a file; its content is in the directory of files
deleted_files        where deleted ones stood
transcripts          the words of answers that were spoken, until they expire
files_owner          one row, when it is asked for: the name by which a directory of files knows its database
storage_probe        one row that is written to learn whether writing works again

Those of keys, projects, usage and voices are in `tenant_tables`.

Text that clients choose freely is in JSON columns only: JSON writes a NUL, which PostgreSQL's text refuses, as an escape.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from completionist.store.sql import tenant_tables  # noqa: F401 (so that whoever knows these tables knows all)
from completionist.store.sql.schema import Sequence, metadata

REVISION = "0006"
"""The newest migration."""

completions = Table(
    "completions",
    metadata,
    Column("sequence", Sequence, primary_key=True),
    Column("project", Text, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
    Column("model", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "project", "created", "sequence"),
    Index(None, "project", "model", "created", "sequence"),
    Index(None, "created"),
    sqlite_autoincrement=True,  # a number never comes again: cursors of deleted rows hold numbers
)

completion_messages = Table(
    "completion_messages",
    metadata,
    Column("sequence", Sequence, ForeignKey(completions.c.sequence, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("message", Text, nullable=False),
)

completion_metadata = Table(
    "completion_metadata",
    metadata,
    Column("project", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("created", BigInteger, primary_key=True),
    Column("sequence", Sequence, ForeignKey(completions.c.sequence, ondelete="CASCADE"), primary_key=True),
    Column("model", Text, nullable=False),
    Index(None, "sequence"),
    sqlite_with_rowid=False,
)

deleted_completions = Table(
    "deleted_completions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("sequence", Sequence, nullable=False),
    Column("deleted", BigInteger, nullable=False),
    Index(None, "deleted"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("owner", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=True),
    Index(None, "expires"),
)

files = Table(
    "files",
    metadata,
    Column("sequence", Sequence, primary_key=True),
    Column("project", Text, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("purpose", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index(None, "project", "created_at", "sequence"),
    Index(None, "project", "purpose", "created_at", "sequence"),
    Index(None, "expires_at"),
    sqlite_autoincrement=True,
)

deleted_files = Table(
    "deleted_files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sequence", Sequence, nullable=False),
    Column("deleted", BigInteger, nullable=False),
    Index(None, "deleted"),
)

transcripts = Table(
    "transcripts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index(None, "expires_at"),
)

files_owner = Table(
    "files_owner",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
)

storage_probe = Table(
    "storage_probe",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("written", BigInteger, nullable=False),
)
