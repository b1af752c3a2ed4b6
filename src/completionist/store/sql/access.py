"""Keys, projects and blocks in their tables. Blocks; the transaction is the caller's.

Whoever changes something counts the version up in the same transaction: servers look at it every few seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, delete, exists, func, insert, or_, select, update

from completionist import ids
from completionist.errors import OperatorError
from completionist.store.access import Access, Holder
from completionist.store.sql.tenant_tables import access_version, api_keys, blocked_end_users, projects
from completionist.types.caller import DEFAULT_ORGANIZATION, Caller, ServiceTier
from completionist.types.limits import NO_LIMITS, Limits
from completionist.types.scopes import Scope


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator said about a project."""

    name: str
    organization: str = DEFAULT_ORGANIZATION
    limits: Limits = NO_LIMITS
    created: int


class APIKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, as far as anybody may see it again. Times are Unix seconds."""

    id: str
    name: str
    project: str
    scopes: tuple[Scope, ...]
    service_tier: ServiceTier
    limits: Limits
    created: int
    expires: int | None
    revoked: int | None

    @property
    def is_usable(self) -> bool:
        return self.revoked is None and (self.expires is None or self.expires > ids.now_s())


class Blocked(msgspec.Struct, frozen=True):
    """An end user whom nobody answers; `project` is empty where that holds in all of them."""

    end_user: str
    project: str


class Unknown(OperatorError):
    """There is no such key, project or block."""


def version(connection: Connection) -> int:
    return connection.execute(select(access_version.c.number)).scalar() or 0


def changed(connection: Connection) -> None:
    """Servers have something to read again."""
    if connection.execute(update(access_version).values(number=access_version.c.number + 1)).rowcount == 0:
        connection.execute(insert(access_version).values(id=1, number=1))


def load(connection: Connection) -> Access:
    known = {project.name: project for project in list_projects(connection)}
    holders: dict[str, Holder] = {}
    for row in connection.execute(select(api_keys).where(api_keys.c.revoked.is_(None))).mappings():
        caller = _caller(row, known.get(row["project"]))
        holders[row["sha256"]] = Holder(caller=caller, expires=row["expires"])
        if row["old_sha256"] is not None:
            ends = [time for time in (row["old_expires"], row["expires"]) if time is not None]
            holders[row["old_sha256"]] = Holder(caller=caller, expires=min(ends))
    return Access(
        version=version(connection),
        holders=holders,
        has_keys=bool(connection.execute(select(exists().select_from(api_keys))).scalar()),
        project_limits={name: project.limits for name, project in known.items()},
        blocked=frozenset((one.project, one.end_user) for one in list_blocked(connection)),
    )


def add_key(connection: Connection, key: APIKey, sha256: str) -> None:
    """Its project is made where it was not there."""
    if connection.execute(select(projects.c.project).where(projects.c.project == key.project)).first() is None:
        put_project(connection, Project(name=key.project, created=ids.now_s()))
    connection.execute(
        insert(api_keys).values(
            id=key.id,
            project=key.project,
            name=key.name,
            sha256=sha256,
            scopes=" ".join(sorted(key.scopes)),
            service_tier=key.service_tier,
            limits=_json(key.limits),
            created=key.created,
            expires=key.expires,
        )
    )
    changed(connection)


def list_keys(connection: Connection, project: str | None = None) -> list[APIKey]:
    """Oldest first."""
    wanted = select(api_keys).order_by(api_keys.c.created, api_keys.c.id)
    rows = connection.execute(wanted if project is None else wanted.where(api_keys.c.project == project))
    return [_key(row) for row in rows.mappings()]


def has_usable_key(connection: Connection) -> bool:
    is_there = or_(api_keys.c.expires.is_(None), api_keys.c.expires > ids.now_s())
    usable = select(func.count()).select_from(api_keys).where(api_keys.c.revoked.is_(None), is_there)
    return connection.execute(usable).scalar_one() > 0


def revoke_key(connection: Connection, id_: str) -> APIKey:
    """It stays in the list. Raises `Unknown`."""
    return _changed_key(connection, id_, {"revoked": ids.now_s(), "old_sha256": None, "old_expires": None})


def rotate_key(connection: Connection, id_: str, sha256: str, *, overlap_s: int) -> APIKey:
    """The key that was there before is good for `overlap_s` more. Raises `Unknown`, also for a revoked key."""
    old = {"old_sha256": api_keys.c.sha256, "old_expires": ids.now_s() + overlap_s} if overlap_s else {}
    gone = {"old_sha256": None, "old_expires": None}
    return _changed_key(connection, id_, {**gone, **old, "sha256": sha256}, api_keys.c.revoked.is_(None))


def delete_key(connection: Connection, id_: str) -> None:
    """As if it had never been made. Raises `Unknown`."""
    if connection.execute(delete(api_keys).where(api_keys.c.id == id_)).rowcount == 0:
        raise Unknown(f"there is no key {id_}: completionist keys list")
    changed(connection)


def put_project(connection: Connection, project: Project) -> None:
    """Make it, or change what is said about it."""
    said = {"organization": project.organization, "limits": _json(project.limits)}
    if connection.execute(update(projects).where(projects.c.project == project.name).values(**said)).rowcount == 0:
        connection.execute(insert(projects).values(project=project.name, created=project.created, **said))
    changed(connection)


def list_projects(connection: Connection) -> list[Project]:
    """By name."""
    return [_project(row) for row in connection.execute(select(projects).order_by(projects.c.project)).mappings()]


def get_project(connection: Connection, name: str) -> Project:
    """Raises `Unknown`."""
    row = connection.execute(select(projects).where(projects.c.project == name)).mappings().first()
    if row is None:
        raise Unknown(f"there is no project {name}: completionist projects list")
    return _project(row)


def block(connection: Connection, one: Blocked) -> None:
    """Idempotent."""
    connection.execute(delete(blocked_end_users).where(*_is(one)))
    connection.execute(
        insert(blocked_end_users).values(
            project=one.project, digest=digest_of(one.end_user), end_user=_json(one.end_user), created=ids.now_s()
        )
    )
    changed(connection)


def unblock(connection: Connection, one: Blocked) -> None:
    """Raises `Unknown`."""
    if connection.execute(delete(blocked_end_users).where(*_is(one))).rowcount == 0:
        raise Unknown("nobody of that name is blocked there: completionist blocked")
    changed(connection)


def list_blocked(connection: Connection) -> list[Blocked]:
    """Latest last."""
    table = blocked_end_users.c
    rows = connection.execute(select(table.end_user, table.project).order_by(table.created, table.digest))
    return [Blocked(msgspec.json.decode(end_user, type=str), project) for end_user, project in rows]


def digest_of(end_user: str) -> bytes:
    """Names that clients choose are long: this is what rows of them are found by."""
    return hashlib.sha256(end_user.encode("utf-8", "surrogatepass")).digest()[:16]


def _changed_key(connection: Connection, id_: str, values: Mapping[str, Any], *where: Any) -> APIKey:  # noqa: ANN401 (expressions)
    row = connection.execute(update(api_keys).where(api_keys.c.id == id_, *where).values(**values)).rowcount
    if row == 0:
        raise Unknown(f"there is no key {id_} that is still good: completionist keys list")
    changed(connection)
    return _key(connection.execute(select(api_keys).where(api_keys.c.id == id_)).mappings().one())


def _project(row: RowMapping) -> Project:
    return Project(
        name=row["project"],
        organization=row["organization"],
        limits=msgspec.json.decode(row["limits"], type=Limits),
        created=row["created"],
    )


def _key(row: RowMapping) -> APIKey:
    return APIKey(
        id=row["id"],
        name=row["name"],
        project=row["project"],
        scopes=_scopes(row),
        service_tier=row["service_tier"],
        limits=msgspec.json.decode(row["limits"], type=Limits),
        created=row["created"],
        expires=row["expires"],
        revoked=row["revoked"],
    )


def _caller(row: RowMapping, project: Project | None) -> Caller:
    return Caller(
        project=row["project"],
        organization=project.organization if project else DEFAULT_ORGANIZATION,
        key=row["id"],
        scopes=frozenset(_scopes(row)),
        service_tier=row["service_tier"],
        limits=msgspec.json.decode(row["limits"], type=Limits),
        project_limits=project.limits if project else NO_LIMITS,
    )


def _scopes(row: RowMapping) -> tuple[Scope, ...]:
    return msgspec.convert(tuple(row["scopes"].split()), tuple[Scope, ...])


def _is(one: Blocked) -> Sequence[Any]:
    return (blocked_end_users.c.project == one.project, blocked_end_users.c.digest == digest_of(one.end_user))


def _json(value: Limits | str) -> str:
    return msgspec.json.encode(value).decode()
