"""What concerns uploaded files (contract, section 1.6)."""

from __future__ import annotations

from collections.abc import Mapping

from completionist.errors.base import APIError, InvalidRequest, echo
from completionist.errors.service import ServerError


class MalformedForm(InvalidRequest):
    """The body is no multipart form, or one that nobody needs to send; `reason` says where it breaks."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"We could not parse the multipart form data of your request: {reason}.")


class FileNotFound(InvalidRequest):
    """Unknown, deleted, expired or another project's: nobody can tell which."""

    status = 404

    def __init__(self, id_: str) -> None:
        super().__init__(f"No such File object: {echo(id_)}", param="id")


class UnknownFile(InvalidRequest):
    """The same in a message, where `param` is its place (section 3.2)."""

    def __init__(self, param: str, id_: str) -> None:
        super().__init__(f"No such File object: {echo(id_)}", param=param)


class UnknownCursor(InvalidRequest):
    """`after` never was in the list of files (section 1.2)."""

    def __init__(self, after: str) -> None:
        super().__init__(f"Invalid 'after': No such File object: {echo(after)}", param="after")


class FileTooLarge(InvalidRequest):
    """The rest of the upload is not read."""

    status = 413

    def __init__(self, maximum_bytes: int) -> None:
        super().__init__(f"The file is larger than the limit of {maximum_bytes} bytes.", param="file")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class ProjectStorageFull(InvalidRequest):
    """All files of a project together; the client can mend it, so it is no 507."""

    def __init__(self, maximum_bytes: int) -> None:
        super().__init__(
            f"The files of this project would take more than {maximum_bytes} bytes together. "
            "Delete files that are no longer needed, or let files expire.",
            param="file",
        )


class DownloadRefused(InvalidRequest):
    """The operator keeps the contents of files of this purpose in."""

    def __init__(self, purpose: str) -> None:
        super().__init__(f"Not allowed to download files of purpose: {purpose}")


class ContentLost(ServerError):
    """There is a row and no content: a database and a directory that do not belong together."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"The content of {id_} is missing on this server.")


class FileStorageFull(APIError):
    """The disk is full, which does not mend itself: not worth a retry. Nothing of the upload is kept."""

    status = 507
    type = "service_unavailable_error"
    code = "storage_full"

    def __init__(self) -> None:
        super().__init__("There is not enough storage left for this file.")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-should-retry": "false"}
