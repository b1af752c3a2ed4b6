"""A folder → its index: what is new or has changed is read, what is gone is let go."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from stat import S_ISREG

import msgspec

from completionist.chat.documents import Document, Unreadable, kind_of
from completionist.search.index import IndexWriter, Stamp
from completionist.search.passages import passages, title_of

Read = Callable[[Document], Awaitable[str]]
"""Raises `Unreadable`."""
Report = Callable[[int, int], None]
"""Bytes that are done, and of how many."""


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh came to, in files."""

    n_read: int
    n_unchanged: int
    n_removed: int
    unread: tuple[tuple[str, str], ...]
    """Path and reason of those that could not be read; they are not in the index."""


async def refresh(index: IndexWriter, folder: Path, read: Read, *, max_bytes: int, report: Report) -> Refreshed:
    """Bring `index`, which is about `folder`, up to date; files larger than `max_bytes` are not read.

    An interrupted one goes on where it stopped. Raises `IndexUnusable`, and what `read` raises.
    """
    known, here = index.stamps(), dict(_files(folder))
    changed = [path for path, stamp in here.items() if known.get(path) != stamp]
    unread: list[tuple[str, str]] = []
    done, total = 0, sum(here[path].n_bytes for path in changed)
    for path in changed:
        report(done, total)
        try:
            text = await read(_document(folder / path, here[path], max_bytes))
        except Unreadable as fault:
            unread.append((path, str(fault)))
            index.remove(path)
        else:
            index.put(path, here[path], title_of(text, path), list(passages(text)))
        done += here[path].n_bytes
    report(total, total)
    gone = known.keys() - here.keys()
    for path in gone:
        index.remove(path)
    return Refreshed(
        n_read=len(changed) - len(unread),
        n_unchanged=len(here) - len(changed),
        n_removed=len(gone),
        unread=tuple(unread),
    )


def _document(file: Path, stamp: Stamp, max_bytes: int) -> Document:
    """Raises `Unreadable`."""
    kind = kind_of(file.name)
    if stamp.n_bytes > max_bytes:
        raise Unreadable(f"It is larger than {max_bytes} bytes.")
    try:
        return Document(kind=kind or "text", content=(file.read_bytes(),))
    except OSError as error:
        raise Unreadable(f"{error.strerror}.") from None


def _files(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """What can be read, by path in the folder. Hidden ones are left out, and links: they may lead anywhere."""
    for directory, names_of_directories, names in os.walk(folder):
        names_of_directories[:] = sorted(name for name in names_of_directories if not name.startswith("."))
        for name in sorted(names):
            file = Path(directory, name)
            path = file.relative_to(folder).as_posix()
            if name.startswith(".") or kind_of(name) is None or not _is_text(path):
                continue
            try:
                state = file.lstat()
            except OSError:  # gone meanwhile
                continue
            if S_ISREG(state.st_mode):
                yield path, Stamp(state.st_mtime_ns, state.st_size)


def _is_text(path: str) -> bool:
    """Names may be any bytes; addresses are text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
