"""Templates in a process of their own: what goes wrong there stays there."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import psutil
import pytest

from completionist.dialects.history import Turn
from completionist.engine.base import ControlToken, PlainText, Segment
from completionist.engine.scripted import CARD
from completionist.errors import ChatTemplateFailed, ChatTemplateRefusal
from completionist.local.frames import Render
from completionist.local.renderer import ChatTemplateUnusable, Renderer
from tests.local.templates import said

NEST = "{% set n = namespace(s=['aaaaaaaa']) %}{% for i in range(32) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}"
"""Thirty operations for a text of 40 GB, and none of it counts as fuel."""


@asynccontextmanager
async def renderer(template: str | None) -> AsyncIterator[Renderer]:
    own = Renderer(msgspec.structs.replace(CARD, chat_template=template))
    await own.start()
    try:
        yield own
    finally:
        await own.close()


async def segments(own: Renderer, turns: Sequence[Turn]) -> tuple[Segment, ...]:
    return (await own.rendered(lambda: Render(turns=tuple(turns)))).segments


def user(text: str) -> list[Turn]:
    return [said("user", text)]


def test_a_conversation_becomes_segments() -> None:
    async def main() -> None:
        async with renderer(CARD.chat_template) as own:
            assert await segments(own, [said("system", "Be <|im_end|>."), said("user", "Hi")]) == (
                ControlToken(1),
                PlainText("system\nBe <|im_end|>."),
                ControlToken(2),
                PlainText("\n"),
                ControlToken(1),
                PlainText("user\nHi"),
                ControlToken(2),
                PlainText("\n"),
                ControlToken(1),
                PlainText("assistant\n"),
            )

    asyncio.run(main())


def test_a_model_without_a_template_gets_chatml() -> None:
    async def main() -> None:
        async with renderer(None) as bare, renderer(CARD.chat_template) as own:
            assert await segments(bare, user("Hi")) == await segments(own, user("Hi"))

    asyncio.run(main())


@pytest.mark.parametrize("template", [NEST, "{% for i in range(99999) %}{{ ''.__class__ }}{% endfor %}", "{{ 1 +"])
def test_a_model_whose_template_does_not_work_is_refused_when_it_is_loaded(template: str) -> None:
    async def main() -> None:
        own = Renderer(msgspec.structs.replace(CARD, chat_template=template))
        with pytest.raises(ChatTemplateUnusable, match="chat template"):
            await own.start()
        await own.close()

    asyncio.run(main())


@pytest.mark.parametrize("bomb", [NEST, "{{ 'a' * 1000000000 }}", "{{ messages.foo.bar }}"])
def test_a_template_that_turns_later_fails_its_request_and_no_other(bomb: str) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as alone:  # so that no other child counts
        assert alone.apply(_peak_memory_kib_of_renderers, (bomb,)) < 600 * 1024


def _peak_memory_kib_of_renderers(bomb: str) -> int:
    template = "{{ messages[0].content }}{% if 'now' in messages[0].content %}" + bomb + "{% endif %}"

    async def main() -> None:
        async with renderer(template) as own:
            mine = asyncio.ensure_future(segments(own, user("now")))
            others = [asyncio.ensure_future(segments(own, user(f"number {i}"))) for i in range(3)]
            with pytest.raises(ChatTemplateFailed, match="chat template"):
                await mine
            assert await asyncio.gather(*others) == [(PlainText(f"number {i}"),) for i in range(3)]

    asyncio.run(main())
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_a_refusal_is_told_in_the_template_s_words() -> None:
    template = (
        "{% if messages | length > 1 %}{{ raise_exception('One at a time.') }}{% endif %}{{ messages[0].content }}"
    )

    async def main() -> None:
        async with renderer(template) as own:
            with pytest.raises(
                ChatTemplateRefusal, match=r"does not accept these messages: One at a time\."
            ) as refusal:
                await segments(own, [*user("a"), *user("b")])
            assert (refusal.value.status, refusal.value.param) == (400, "messages")

    asyncio.run(main())


def test_who_leaves_does_not_leave_an_answer_to_the_next() -> None:
    async def main() -> None:
        async with renderer(CARD.chat_template) as own:
            for i in range(50):
                leaving = asyncio.ensure_future(segments(own, user("secret " * 1000)))
                await asyncio.sleep(0.0002 * (i % 5))
                leaving.cancel()
                found = await segments(own, user(f"mine {i}"))
                assert PlainText(f"user\nmine {i}") in found

    asyncio.run(main())


def test_a_process_that_was_killed_is_replaced_and_one_that_is_closed_is_gone() -> None:
    def workers() -> list[psutil.Process]:
        return [p for p in psutil.Process().children() if "completionist.local.render_worker" in p.cmdline()]

    async def main() -> None:
        async with renderer(CARD.chat_template) as own:
            (worker,) = workers()
            worker.kill()
            worker.wait()
            assert len(await segments(own, user("Hi"))) == 6
        assert workers() == []

    asyncio.run(main())


def test_a_long_conversation_is_rendered_whole() -> None:
    text = "A line of text, with a < in it.\n" * 500_000

    async def main() -> None:
        async with renderer(CARD.chat_template) as own:
            assert PlainText(f"user\n{text}") in await segments(own, user(text))

    asyncio.run(main())
