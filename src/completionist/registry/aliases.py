"""Other names for models: those of the settings, and those that commands have set.

What commands set is kept in a small file, and a running server looks whether it changed: so an alias can be set whether a
server runs or not, holds at once, and needs no key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec

from completionist.cache import exclusive, writing
from completionist.errors import OperatorError
from completionist.settings import ProfileName, Settings

FILE_NAME = "aliases.json"
"""In the data directory."""
_MAX_NAME_CHARACTERS = 256


class Alias(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Another name for a model."""

    name: str
    model: str
    profile: ProfileName | None = None
    """None: that of the model."""
    max_choices: int | None = None
    created: int | None = None
    """Unix seconds; None: as the model."""


class AliasRefused(OperatorError):
    """It cannot be set."""

    exit_code: ClassVar[int] = 2


class AliasesUnreadable(OperatorError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot read the aliases in {path}: {reason}")


def configured(settings: Settings) -> Mapping[str, Alias]:
    """Those of the settings, by name."""
    return {
        name: Alias(
            name=name,
            model=said.model,
            profile=said.profile if "profile" in said.model_fields_set else None,
            max_choices=said.max_choices,
        )
        for name, said in settings.served.items()
        if said.model is not None and said.is_alias
    }


def check(alias: Alias, others: Mapping[str, Alias], models: Collection[str], *, may_hide: bool) -> None:
    """Whether `alias` can be set beside `others`, where its model is among `models`. Raises `AliasRefused`."""
    name, model = alias.name, alias.model
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= _MAX_NAME_CHARACTERS:
        raise AliasRefused(f"an alias is 1 to {_MAX_NAME_CHARACTERS} printable characters, without blanks around them")
    if name == model:
        raise AliasRefused(f"{name} cannot stand for itself")
    if chained := others.get(model):
        raise AliasRefused(f"{model} is an alias itself: let {name} stand for {chained.model}")
    if behind := sorted(other.name for other in others.values() if other.model == name):
        raise AliasRefused(f"{name} is the model behind the alias {behind[0]}, and aliases do not stand for aliases")
    if name in models and not may_hide:
        raise AliasRefused(f"{name} is a model that is here: with --hide the alias hides it")


class AliasFile:
    """The file at `path`, which need not be there. Blocking."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._aliases: Mapping[str, Alias] = {}

    def read(self) -> Mapping[str, Alias]:
        """By name; the file is read only where it is another one than the last time. Raises `AliasesUnreadable`."""
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if version != self._version:
                aliases = msgspec.json.decode(self._path.read_bytes(), type=list[Alias])
                self._aliases, self._version = {alias.name: alias for alias in aliases}, version
        except FileNotFoundError:
            self._aliases, self._version = {}, None
        except (OSError, msgspec.MsgspecError) as error:
            raise AliasesUnreadable(self._path, str(error)) from None
        return self._aliases

    @contextmanager
    def changing(self) -> Iterator[dict[str, Alias]]:
        """The aliases, to be changed in place; they are written at the end, at once or not at all.

        Raises `AliasesUnreadable`, `NotWritable`, `DiskFull`.
        """
        with writing(self._path.parent), exclusive(self._path.with_suffix(".lock"), lambda: None):
            aliases = dict(self.read())
            yield aliases
            new = self._path.with_suffix(".new")
            new.write_bytes(msgspec.json.format(msgspec.json.encode(list(aliases.values()))))
            new.replace(self._path)
