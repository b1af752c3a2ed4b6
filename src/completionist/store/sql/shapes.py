"""The shapes in which completions go out and come in as JSON lines.

raw           {"completion":{…},"messages":[…]}: the objects of sections 1.3 and 1.4 of the contract
fine-tuning   {"messages":[…],"tools":[…]}: the conversation with its answer, a line for each choice
evaluation    {"item":{"input":[…],"metadata":{…}},"sample":{"output_text":…,…}}: a line for each choice

Raw lines lose nothing. Of the others come in again: the conversation, the answers, tools and metadata; and what an evaluation
says of its answer. What they do not say is as in a request that did not say it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec

from completionist import ids
from completionist.errors import InvalidRequest, OperatorError
from completionist.store.sql.completions import Record
from completionist.types.completion import (
    ChatCompletion,
    Choice,
    CompletionTokensDetails,
    FinishReason,
    Message,
    PromptTokensDetails,
    Usage,
)
from completionist.types.frozen import FrozenMap
from completionist.types.maps import METADATA
from completionist.types.messages import MESSAGES, AssistantMessage, text_of
from completionist.types.request import ChatRequest, Draft
from completionist.types.stored import document, input_message

Shape = Literal["raw", "fine-tuning", "evaluation"]

_NOTHING_RAN = Usage(
    prompt_tokens=0,
    completion_tokens=0,
    total_tokens=0,
    prompt_tokens_details=PromptTokensDetails(),
    completion_tokens_details=CompletionTokensDetails(),
)


class NoCompletion(OperatorError):
    """A line of an import is none."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(
            f"line {number}: {reason}; the lines before it are imported, and are skipped when it comes again"
        )


def written(shape: Shape, completion: bytes, messages: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of one stored completion. Both arguments are as the wire shows them."""
    if shape == "raw":
        yield b'{"completion":%b,"messages":[%b]}\n' % (completion, b",".join(messages))
        return
    answer = msgspec.json.decode(completion)
    conversation = [_sent(msgspec.json.decode(message)) for message in messages]
    write = _to_tune if shape == "fine-tuning" else _to_judge
    for choice in answer["choices"]:
        yield msgspec.json.encode(write(answer, conversation, choice)) + b"\n"


def records(lines: Iterable[bytes], model: str | None) -> Iterator[Record]:
    """Completions out of lines of any shape; `model`: of those that name none. Raises `NoCompletion`.

    Choices of one evaluated completion stand in lines that follow one another.
    """
    open_: _Imported | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        read = _checked(line, number, model)
        if open_ and isinstance(read, _Imported) and read.id == open_.id:
            open_.choices += read.choices
            continue
        if open_:
            yield open_.record()
        open_ = read if isinstance(read, _Imported) else None
        if isinstance(read, NoCompletion):
            raise read
        if isinstance(read, Record):
            yield read
    if open_:
        yield open_.record()


def _to_tune(answer: dict[str, Any], conversation: list[Any], choice: dict[str, Any]) -> dict[str, Any]:
    tools = {"tools": answer["tools"]} if answer["tools"] else {}
    return {"messages": [*conversation, _said(choice["message"])], **tools}


def _to_judge(answer: dict[str, Any], conversation: list[Any], choice: dict[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    sample = {
        "id": answer["id"],
        "model": answer["model"],
        "created": answer["created"],
        "index": choice["index"],
        "output_text": message["content"] or "",
        "output_tools": message["tool_calls"] or [],
        "finish_reason": choice["finish_reason"],
        "usage": answer["usage"],
    }
    tools = {"tools": answer["tools"]} if answer["tools"] else {}
    return {"item": {"input": conversation, "metadata": answer["metadata"], **tools}, "sample": sample}


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """A stored message as a request would carry it."""
    parts, text = message.pop("content_parts"), message.pop("content")
    del message["id"]
    content = text if parts is None else parts
    return {"role": message.pop("role"), "content": content} | {k: v for k, v in message.items() if v is not None}


def _said(message: dict[str, Any]) -> dict[str, Any]:
    kept = ("tool_calls", "function_call", "refusal")
    return {"role": "assistant", "content": message["content"]} | {
        k: message[k] for k in kept if message[k] is not None
    }


_Id = Annotated[str, msgspec.Meta(pattern="^chatcmpl-[A-Za-z0-9]{1,64}$")]
_Model = Annotated[str, msgspec.Meta(pattern="^[^\0]+$", max_length=512)]
_Created = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Object = dict[str, Any]


class _RawAnswer(msgspec.Struct):
    role: str
    content: str | None
    refusal: str | None
    tool_calls: list[_Object] | None
    function_call: _Object | None


class _RawChoice(msgspec.Struct):
    index: int
    message: _RawAnswer
    finish_reason: str


class _RawCompletion(msgspec.Struct):
    id: _Id
    created: _Created
    model: _Model
    metadata: dict[str, str]
    choices: Annotated[list[_RawChoice], msgspec.Meta(min_length=1)]
    usage: _Object
    tools: list[_Object] | None


class _RawMessage(msgspec.Struct):
    role: str
    content: str | None
    content_parts: list[_Object] | None


class _Raw(msgspec.Struct):
    """What everything that reads completions relies on; the rest is kept as it came."""

    completion: _RawCompletion
    messages: Annotated[list[_RawMessage], msgspec.Meta(min_length=1)]


class _Tuned(msgspec.Struct, forbid_unknown_fields=True):
    messages: Annotated[list[_Object], msgspec.Meta(min_length=2)]
    tools: list[_Object] | msgspec.UnsetType = msgspec.UNSET
    functions: list[_Object] | msgspec.UnsetType = msgspec.UNSET
    parallel_tool_calls: bool | msgspec.UnsetType = msgspec.UNSET


class _Item(msgspec.Struct):
    input: Annotated[list[_Object], msgspec.Meta(min_length=1)]
    metadata: dict[str, str] = {}
    tools: list[_Object] | msgspec.UnsetType = msgspec.UNSET


class _Sample(msgspec.Struct):
    output_text: str
    id: _Id | None = None
    model: _Model | None = None
    created: _Created | None = None
    index: int = 0
    output_tools: list[_Object] = []
    finish_reason: FinishReason = "stop"
    usage: Usage = _NOTHING_RAN


class _Judged(msgspec.Struct):
    item: _Item
    sample: _Sample


class _Imported(msgspec.Struct, kw_only=True):
    """A completion that is put together again from what its lines say."""

    id: str
    created: int
    request: ChatRequest
    choices: list[Choice]
    usage: Usage

    def record(self) -> Record:
        completion = ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.request.model,
            choices=tuple(self.choices),
            usage=self.usage,
            service_tier="default",
            system_fingerprint="",
        )
        return Record(
            id=self.id,
            created=self.created,
            model=self.request.model,
            metadata=self.request.metadata or FrozenMap({}),
            document=document(self.request, completion, request_id=None),
            messages=[input_message(message) for message in self.request.messages],
        )


class _Names(msgspec.Struct):
    """By which a shape is known."""

    completion: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    sample: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def _checked(line: bytes, number: int, model: str | None) -> Record | _Imported | NoCompletion:
    try:
        return _read(line, number, model)
    except msgspec.DecodeError as error:
        return NoCompletion(number, f"no completion in a shape of an export ({error})")
    except InvalidRequest as error:
        return NoCompletion(number, error.message + (f" ({error.param})" if error.param else ""))


def _read(line: bytes, number: int, model: str | None) -> Record | _Imported:
    """Raises `msgspec.DecodeError`, `InvalidRequest`."""
    names = msgspec.json.decode(line, type=_Names)
    if names.completion is not msgspec.UNSET:
        return _read_raw(line)
    own_id = f"chatcmpl-{hashlib.sha256(b'%d ' % number + line).hexdigest()}"
    """The same file again adds nothing."""
    if names.sample is not msgspec.UNSET:
        return _read_judged(msgspec.json.decode(line, type=_Judged), own_id, model)
    return _read_tuned(msgspec.json.decode(line, type=_Tuned), own_id, model)


def _read_raw(line: bytes) -> Record:
    head = msgspec.json.decode(line, type=_Raw).completion
    raw = msgspec.json.decode(line)
    return Record(
        id=head.id,
        created=head.created,
        model=head.model,
        metadata=METADATA.read(head.metadata, "metadata"),
        document=_text({key: value for key, value in raw["completion"].items() if key != "metadata"}),
        messages=[_text({key: value for key, value in message.items() if key != "id"}) for message in raw["messages"]],
    )


def _read_tuned(tuned: _Tuned, own_id: str, model: str | None) -> _Imported:
    *conversation, said = tuned.messages
    asked = {name: getattr(tuned, name) for name in ("tools", "functions", "parallel_tool_calls")}
    request, answer = _request(model, conversation, asked), _answer(said)
    return _Imported(
        id=own_id,
        created=ids.now_s(),
        request=request,
        choices=[Choice(index=0, message=answer, finish_reason=_reason(answer))],
        usage=_NOTHING_RAN,
    )


def _read_judged(judged: _Judged, own_id: str, model: str | None) -> _Imported:
    item, sample = judged.item, judged.sample
    said: _Object = {"role": "assistant", "content": sample.output_text}
    if sample.output_tools:
        said |= {"content": sample.output_text or None, "tool_calls": sample.output_tools}
    return _Imported(
        id=sample.id or own_id,
        created=ids.now_s() if sample.created is None else sample.created,
        request=_request(sample.model or model, item.input, {"metadata": item.metadata, "tools": item.tools}),
        choices=[Choice(index=sample.index, message=_answer(said), finish_reason=sample.finish_reason)],
        usage=sample.usage,
    )


def _request(model: str | None, messages: list[_Object], asked: _Object) -> ChatRequest:
    if model is None:
        raise InvalidRequest("it names no model: say which with --model")
    sent = {name: value for name, value in asked.items() if value is not msgspec.UNSET}
    return Draft.read(msgspec.json.encode({"model": model, "messages": messages, **sent})).request()


def _answer(said: _Object) -> Message:
    """Raises `InvalidRequest`."""
    (message,) = MESSAGES.read([said], "messages")
    if not isinstance(message, AssistantMessage):
        raise InvalidRequest("its last message is not the assistant's")
    content = None if message.content is None else text_of(message.content)
    calls: _Object = {"tool_calls": message.tool_calls, "function_call": message.function_call}
    made = {name: call for name, call in calls.items() if call is not None}
    return Message(content=content, refusal=message.refusal, **made)


def _reason(answer: Message) -> FinishReason:
    if answer.tool_calls is not msgspec.UNSET:
        return "tool_calls"
    return "stop" if answer.function_call is msgspec.UNSET else "function_call"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
