"""Files that messages name by their id: they must be the project's own (contract, section 3.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from completionist.errors import FileNotFound, UnknownFile
from completionist.types.parts import FilePart
from completionist.types.request import ChatRequest


async def check_file_ids(request: ChatRequest, find: Callable[[str], Awaitable[object]]) -> None:
    """`find` raises `FileNotFound`. Raises `UnknownFile` for the first id that it does not know."""
    for i, message in enumerate(request.messages):
        for j, part in enumerate(message.content if isinstance(message.content, tuple) else ()):
            if isinstance(part, FilePart) and part.file.file_id is not None:
                try:
                    await find(part.file.file_id)
                except FileNotFound:
                    raise UnknownFile(f"messages[{i}].content[{j}].file.file_id", part.file.file_id) from None
