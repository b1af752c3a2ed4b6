"""The process that renders chat templates. It holds nothing but the template and the conversation of the moment.

Its memory limit follows the size of the question. Where a template goes beyond, or never ends, this process dies (the
allocator aborts it, or its parent kills it), and the parent starts another.
"""

from __future__ import annotations

import resource
import socket
import sys
from typing import BinaryIO

import msgspec

from completionist import ids
from completionist.local.conversation import Turn, place_system_text
from completionist.local.frames import Answer, Broken, Ready, Refused, Render, Rendered, Setup, frame, read
from completionist.local.marks import Marks
from completionist.local.template import ChatTemplate, TemplateFault, TemplateRefusal

_MEMORY_BYTES = 384 * 2**20
_MEMORY_BYTES_PER_CHARACTER = 32
"""A text is here as it came, marked, rendered, cut and as the answer, and a template copies it on the way."""


class PromptRenderer:
    """One model's template and vocabulary."""

    def __init__(self, setup: Setup) -> None:
        """Raises `TemplateFault`."""
        self._template = ChatTemplate(setup.template, bos_text=setup.bos_text, eos_text=setup.eos_text)
        self._marks = Marks(setup.specials, ids.private_mark(), setup.breakpoint_mark)

    def answer(self, question: Render) -> Answer:
        """What the template makes of the conversation, as segments; or its refusal, or what is wrong with it."""
        turns = place_system_text(question.turns, self._template.system_place)
        marked = [Turn(turn.role, self._marks.mark(turn.content)) for turn in turns]
        try:
            return Rendered(self._marks.segments(self._template.render(marked)))
        except TemplateRefusal as refusal:
            return Refused(str(refusal))
        except TemplateFault as fault:
            return Broken(str(fault))


def main(connection: socket.socket) -> None:
    """Answer until the other side closes the connection."""
    with connection, connection.makefile("rb") as source:
        connection.sendall(frame(Ready()))
        setup = read(source, msgspec.msgpack.Decoder(Setup))
        if setup is None:
            return
        _limit_memory(n_characters=0)
        try:
            renderer = PromptRenderer(setup)
        except TemplateFault as fault:
            connection.sendall(frame(Broken(str(fault))))
            return
        connection.sendall(frame(Ready()))
        _serve(connection, source, renderer)


def _serve(connection: socket.socket, source: BinaryIO, renderer: PromptRenderer) -> None:
    decoder = msgspec.msgpack.Decoder(Render)
    while question := read(source, decoder):
        _limit_memory(n_characters=sum(len(turn.content) for turn in question.turns))
        connection.sendall(frame(renderer.answer(question)))


def _limit_memory(*, n_characters: int) -> None:
    """Address space is what Linux can limit; elsewhere the deadline alone must do."""
    if sys.platform == "linux":
        limit_bytes = _MEMORY_BYTES + _MEMORY_BYTES_PER_CHARACTER * n_characters
        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
