"""Files as the wire shows them (contract, section 1.6)."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

FilePurpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
FILE_PURPOSES: tuple[str, ...] = get_args(FilePurpose)


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """One uploaded file. There is nothing to process, so it is `processed` as soon as it is there."""

    object: Literal["file"] = "file"
    id: str
    purpose: str
    filename: str
    bytes: int
    created_at: int
    expires_at: int | None
    status: Literal["processed"] = "processed"
    status_details: None = None


class FileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
