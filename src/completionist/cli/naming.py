"""Which model a user means, who may know it by an alias."""

from __future__ import annotations

from completionist.registry.aliases import FILE_NAME, AliasFile, configured
from completionist.settings import Settings
from completionist.store.sql.place import data_directory


def behind(name: str, settings: Settings) -> str:
    """The model that the alias `name` stands for on this machine; any other name is itself. Raises `AliasesUnreadable`."""
    aliases = {**AliasFile(data_directory() / FILE_NAME).read(), **configured(settings)}
    return aliases[name].model if name in aliases else name
