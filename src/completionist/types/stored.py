"""What is kept of an answer, as the wire shows it later (contract, sections 1.3 and 1.4).

Both forms are written once, when the answer is stored, and only given out again after that: what a later version of this
server adds to a message is in the answers that it stores, and changes nothing in those that are there.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from completionist.errors import MissingParameter
from completionist.types.completion import ChatCompletion
from completionist.types.frozen import FrozenMap
from completionist.types.maps import METADATA
from completionist.types.messages import Message
from completionist.types.parts import ImagePart, Part, TextPart
from completionist.types.readers import Nullable, refuse_unknown
from completionist.types.request import ChatRequest, decode_object

MAX_STORED_IMAGE_CHARACTERS = 8 * 10**6 * 4 // 3
"""Of a data URL: pictures over 8 MB are not kept (section 1.4)."""

_UNUSED_IN_ANSWER: Mapping[str, None] = {"tool_calls": None, "function_call": None}
_LINKS = ("tool_calls", "tool_call_id", "function_call", "audio")
"""Present in a stored message where the request's message had them."""


def document(request: ChatRequest, completion: ChatCompletion, request_id: str | None) -> str:
    """The stored completion as JSON, without its metadata, which can change: `with_metadata` adds them.

    `request_id`: None for one that did not begin as a request to this server.
    """
    answer = msgspec.to_builtins(completion)
    for choice in answer["choices"]:
        choice["message"] = {"role": None, "content": None, **_UNUSED_IN_ANSWER, **choice["message"]}
    return _json(answer | _parameters(request) | {"request_id": request_id})


def with_metadata(document_: str, metadata: str) -> bytes:
    """The stored completion as it goes out. `metadata` is a JSON object."""
    return f'{document_[:-1]},"metadata":{metadata}}}'.encode()


def input_message(message: Message) -> str:
    """A message of the request as JSON, without its id: `with_id` adds it."""
    parts = message.content if isinstance(message.content, tuple) else None
    shown = {
        "role": message.role,
        "content": message.content if parts is None else _joined_texts(parts),
        "refusal": getattr(message, "refusal", None),
        "name": getattr(message, "name", None),
        "content_parts": None if parts is None else [_as_sent(part) for part in parts if _is_kept(part)],
    }
    links = {name: _as_sent(getattr(message, name, None)) for name in _LINKS}
    return _json(shown | {name: link for name, link in links.items() if link is not None})


def with_id(message: str, id_: str) -> bytes:
    """The stored message as it goes out."""
    return f'{{"id":"{id_}",{message[1:]}'.encode()


def read_metadata(body: bytes) -> FrozenMap[str, str]:
    """The body of an update. Null clears (section 1.3). Raises subclasses of `InvalidRequest`."""
    decoded = decode_object(body)
    if "metadata" not in decoded:
        raise MissingParameter("metadata")
    refuse_unknown(decoded, frozenset({"metadata"}))
    reader = Nullable(METADATA)
    reader.check_type(decoded["metadata"], "metadata")
    return reader.read(decoded["metadata"], "metadata") or FrozenMap({})


def _parameters(request: ChatRequest) -> dict[str, object]:
    """As sent; for numbers that were not sent, their defaults."""
    return {
        "tool_choice": _as_sent(request.tool_choice),
        "tools": _as_sent(request.tools),
        "response_format": _as_sent(request.response_format),
        "seed": request.seed,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "presence_penalty": request.presence_penalty or 0.0,
        "frequency_penalty": request.frequency_penalty or 0.0,
        "input_user": request.user,
    }


def _joined_texts(parts: tuple[Part, ...]) -> str | None:
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return "\n".join(texts) if texts else None


def _is_kept(part: Part) -> bool:
    if isinstance(part, ImagePart):
        return len(part.image_url.url) <= MAX_STORED_IMAGE_CHARACTERS
    return isinstance(part, TextPart)


def _as_sent(value: object) -> object:
    """Frozen values back as JSON knows them; None in them means that the key was not sent. Schemas are left as they are."""
    if isinstance(value, msgspec.Struct):
        sent = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: _as_sent(item) for name, item in sent.items() if item is not None}
    if isinstance(value, tuple):
        return [_as_sent(item) for item in value]
    return value


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
