"""The tables of who may ask, of what they asked for, and of voices of their own.

projects           what the operator said about a project; one without a row has no limits of its own
api_keys           one row a key, revoked ones too: its digest, never the key
blocked_end_users  whom nobody answers, in one project or in all
access_version     one row, counted up by whoever changes one of the three above
usage              one row for each day, project, key, model and end user
custom_voices      one row a voice, half a megabyte of style with it
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, Table, Text

from completionist.store.sql.schema import metadata

projects = Table(
    "projects",
    metadata,
    Column("project", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("old_sha256", Text),
    Column("old_expires", BigInteger),
    Column("scopes", Text, nullable=False),
    Column("service_tier", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", BigInteger),
)

blocked_end_users = Table(
    "blocked_end_users",
    metadata,
    Column("project", Text, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("end_user", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

access_version = Table(
    "access_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    Column("project", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("served_model", Text, primary_key=True),
    Column("end_user_digest", LargeBinary, primary_key=True),
    Column("end_user", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
)

custom_voices = Table(
    "custom_voices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("made_of", Text, nullable=False),
    Column("is_british", Boolean, nullable=False),
    Column("gain", Double, nullable=False),
    Column("style", LargeBinary, nullable=False),
    Column("created", BigInteger, nullable=False),
)
