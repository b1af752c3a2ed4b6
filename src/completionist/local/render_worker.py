"""The process that renders chat templates. It holds nothing but the template and the conversation of the moment.

Its memory limit follows the size of the question. Where a template goes beyond, or never ends, this process dies (the
allocator aborts it, or its parent kills it), and the parent starts another.
"""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO

import msgspec

from completionist import ids
from completionist.dialects.history import Turn
from completionist.framed import frame, read
from completionist.local.conversation import place_system_text, with_names_in_text
from completionist.local.frames import Answer, Broken, Ready, Refused, Render, Rendered, Setup
from completionist.local.marked import marked_message, marked_tool
from completionist.local.marks import Marks
from completionist.local.template import ChatTemplate, TemplateFault, TemplateRefusal

_MEMORY_BYTES = 384 * 2**20
_MEMORY_BYTES_PER_CHARACTER = 32
"""A text is here as it came, marked, rendered, cut and as the answer, and a template copies it on the way."""

_ENDING_CHARACTERS = 512
"""Of the prompt: enough to see whether it opens the model's thinking, or closes it."""


class PromptRenderer:
    """One model's template and vocabulary."""

    def __init__(self, setup: Setup) -> None:
        """Raises `TemplateFault`."""
        self._template = ChatTemplate(setup.template, bos_text=setup.bos_text, eos_text=setup.eos_text)
        self._marks = Marks(setup.specials, ids.private_mark(), setup.breakpoint_mark, setup.medium_mark)

    def answer(self, question: Render) -> Answer:
        """What the template makes of the conversation, as segments; or its refusal, or what is wrong with it."""
        turns: Sequence[Turn] = question.turns
        if not self._template.shows_names:
            turns = with_names_in_text(turns)
        turns = place_system_text(turns, self._template.system_place)
        messages = [turn.as_message(has_text_arguments=question.has_text_arguments) for turn in turns]
        tools = msgspec.json.decode(question.tools)
        try:
            rendered = self._template.render(
                [marked_message(message, self._marks) for message in messages],
                tools=[marked_tool(tool, self._marks) for tool in tools],
                switches=question.switches,
            )
            return Rendered(self._marks.segments(rendered), self._marks.unmarked(rendered[-_ENDING_CHARACTERS:]))
        except TemplateRefusal as refusal:
            return Refused(str(refusal))
        except TemplateFault as fault:
            return Broken(str(fault))


def prepared(connection: socket.socket) -> Callable[[], None]:
    """Take the template in. Returns what answers until the other side closes the connection."""
    source = connection.makefile("rb")
    connection.sendall(frame(Ready()))
    setup = read(source, msgspec.msgpack.Decoder(Setup))
    if setup is None:
        return connection.close
    _limit_memory(n_characters=0)
    try:
        renderer = PromptRenderer(setup)
    except TemplateFault as fault:
        connection.sendall(frame(Broken(str(fault))))
        return connection.close
    connection.sendall(frame(Ready()))
    return partial(_serve, connection, source, renderer)


def _serve(connection: socket.socket, source: BinaryIO, renderer: PromptRenderer) -> None:
    decoder = msgspec.msgpack.Decoder(Render)
    while question := read(source, decoder):
        _limit_memory(n_characters=_n_characters(question))
        connection.sendall(frame(renderer.answer(question)))


def _n_characters(question: Render) -> int:
    texts = [text for turn in question.turns for text in (turn.content, *(call.arguments for call in turn.calls))]
    return len(question.tools) + sum(len(text) for text in texts if text)


def _limit_memory(*, n_characters: int) -> None:
    """Address space is what Linux can limit; elsewhere the deadline alone must do."""
    if sys.platform == "linux":
        limit_bytes = _MEMORY_BYTES + _MEMORY_BYTES_PER_CHARACTER * n_characters
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, resource.RLIM_INFINITY))


if __name__ == "__main__":
    prepared(socket.socket(fileno=int(sys.argv[1])))()
