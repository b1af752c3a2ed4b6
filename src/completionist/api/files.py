"""Files: upload, list, retrieve, content, delete (contract, sections 1.2 and 1.6)."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote

import msgspec

from completionist.api.exchange import Exchange
from completionist.api.limits import body_parts
from completionist.api.lists import encode_list
from completionist.api.multipart import Field, FileBegins, FileData, FormParser
from completionist.api.query import pairs, read_page
from completionist.api.services import Services
from completionist.api.upload import UploadForm
from completionist.errors import DownloadRefused, FileTooLarge, InvalidValue
from completionist.store.base import Item, Slice
from completionist.store.files import StoredFile, Upload
from completionist.types.files import FILE_PURPOSES, FileDeleted, FileObject

_FORM_BYTES = 64 * 2**10
"""What a form may hold around its file."""


async def create(exchange: Exchange, services: Services) -> None:
    """The file goes to the disk as it comes; it is there for others when its row is, just before the answer."""
    form = FormParser(exchange.headers.get("content-type"))
    if int(exchange.headers.get("content-length", 0)) > services.file_settings.max_file_bytes + _FORM_BYTES:
        raise FileTooLarge(services.file_settings.max_file_bytes)
    file = await services.drain.attend(_receive(exchange, services, form), None)
    await exchange.respond_json(msgspec.json.encode(_shown(file)))


async def list_files(exchange: Exchange, services: Services) -> None:
    sent = pairs(exchange.query)
    page = read_page(sent, default_limit=10_000, max_limit=10_000, default_order="desc")
    purpose = dict(sent).get("purpose")
    if purpose is not None and purpose not in FILE_PURPOSES:
        raise InvalidValue("purpose", purpose, FILE_PURPOSES)
    found = await services.files.list(exchange.caller.project, purpose, page)
    await exchange.respond_json(await asyncio.to_thread(_list, found))  # ten thousand are too much for the event loop


async def retrieve(exchange: Exchange, services: Services) -> None:
    file = await services.files.get(exchange.caller.project, exchange.params["file_id"])
    await exchange.respond_json(msgspec.json.encode(_shown(file)))


async def delete(exchange: Exchange, services: Services) -> None:
    id_ = exchange.params["file_id"]
    await services.files.delete(exchange.caller.project, id_)
    await exchange.respond_json(msgspec.json.encode(FileDeleted(id=id_)))


async def content(exchange: Exchange, services: Services) -> None:
    """Nothing about the answer lets a browser run or show what somebody uploaded."""
    file = await services.files.get(exchange.caller.project, exchange.params["file_id"])
    if file.purpose in services.file_settings.withheld_purposes:
        raise DownloadRefused(file.purpose)
    last = await services.drain.attend(_send(file, exchange, services), exchange.receive)
    await exchange.finish_parts(last)


async def _receive(exchange: Exchange, services: Services, form: FormParser) -> StoredFile:
    settings = services.file_settings
    said = UploadForm()
    async with services.files.upload(exchange.caller.project) as upload:
        async for part in body_parts(
            exchange.receive,
            max_bytes=settings.max_file_bytes + _FORM_BYTES,
            deadline_s=asyncio.get_running_loop().time() + settings.upload_timeout_s,
            silence_s=services.settings.receipt_timeout_s,
        ):
            await _take(part, form, said, upload)
        form.finish()
        terms = said.terms()
        if not upload.n_bytes:
            raise InvalidValue("file", message="Invalid 'file': the file is empty.")
        return await upload.commit(terms)


async def _take(part: bytes, form: FormParser, said: UploadForm, upload: Upload) -> None:
    for event in form.feed(part):
        match event:
            case Field():
                said.take_field(event.name, event.value)
            case FileBegins():
                said.take_file(event.name, event.filename)
            case FileData():
                await upload.write(event.data)


async def _send(file: StoredFile, exchange: Exchange, services: Services) -> bytes:
    async with services.files.content(file) as parts:
        headers = {"content-type": "application/octet-stream", "content-disposition": _disposition(file.filename)}
        return await exchange.send_parts(parts, file.n_bytes, headers)


def _disposition(filename: str) -> str:
    """RFC 6266: a plain name for those who know no other, and the true one."""
    plain = re.sub(r"[^ !#-\[\]-~]", "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _list(found: Slice[StoredFile]) -> bytes:
    items = tuple(Item(file.id, msgspec.json.encode(_shown(file))) for file in found.items)
    return encode_list(Slice(items, found.has_more))


def _shown(file: StoredFile) -> FileObject:
    return FileObject(
        id=file.id,
        purpose=file.purpose,
        filename=file.filename,
        bytes=file.n_bytes,
        created_at=file.created_at,
        expires_at=file.expires_at,
    )
