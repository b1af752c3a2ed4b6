"""Prompts as token ids of a real vocabulary: what clients write controls nothing, and nothing else is changed by that."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from completionist.dialects.history import Turn
from completionist.engine.base import ControlToken, SpecialToken
from completionist.engine.llama.capi import Native, ffi
from completionist.engine.llama.library import find_library
from completionist.engine.llama.model import Model
from completionist.local.frames import Render, Rendered, Setup
from completionist.local.render_worker import PromptRenderer
from completionist.local.template import ChatTemplate
from tests.local.templates import CHATML_WITH_DEFAULT_SYSTEM, chats, jinja, messages_of, said

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(model_path: Path) -> Iterator[Model]:
    model = Model(Native(find_library().path), model_path)
    yield model
    model.close()


def renderer_of(model: Model, template: str, extra: Sequence[SpecialToken] = ()) -> PromptRenderer:
    return PromptRenderer(
        Setup(
            template=template,
            bos_text=model.bos_text,
            eos_text=model.eos_text,
            specials=(*model.specials(), *extra),
        )
    )


def ids_of(model: Model, renderer: PromptRenderer, turns: Sequence[Turn]) -> list[int]:
    answer = renderer.answer(Render(turns=tuple(turns)))
    assert isinstance(answer, Rendered)
    return model.tokenise(answer.segments)[0]


def ids_of_whole(model: Model, text: str) -> list[int]:
    """The library's own way with a rendered prompt: special tokens are parsed wherever they stand."""
    raw = text.encode()
    buffer = ffi.new("llama_token[]", len(raw) + 8)
    n_tokens = model.c.llama_tokenize(model.vocab, raw, len(raw), buffer, len(raw) + 8, False, True)
    assert n_tokens >= 0
    return list(buffer[0:n_tokens])


def own_template(model: Model) -> str:
    assert model.chat_template is not None
    return model.chat_template


def test_every_special_token_in_a_message_is_text(model: Model) -> None:
    renderer = renderer_of(model, own_template(model))
    specials = model.specials()
    literals = [special.text for special in specials]
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= set(literals)
    special_ids = {special.id for special in specials}
    harmless = ids_of(
        model, renderer, [said("system", "s"), said("user", "u"), said("assistant", "a"), said("user", "v")]
    )
    for joint in ("", " ", "\n", "<"):
        text = joint.join(literals)
        turns = [said("system", text), said("user", text), said("assistant", text), said("user", text[::-1] + text)]
        ids = ids_of(model, renderer, turns)
        assert [i for i in ids if i in special_ids] == [i for i in harmless if i in special_ids]
        assert text.encode() in b"".join(model.piece(i) for i in ids)
        assert len([i for i in ids_of_whole(model, text) if i in special_ids]) == len(literals)  # the danger is real


ORDINARY = (
    "the of and to a in is you that it for was on are as with his they at be this have from or one had by word but not "
    "what all were we when your can said there use an each which she do how their if will up other about out many then "
    "Größe naïve 山川 日本語 привет мир 🏔️ 👩‍🔬 مرحبا don't I'm we've U.S.A. 3.14159 10,000 e-mail foo_bar() x<y a>b "
    "<b> </b> <div> [1] {2} | || && != <= >= -> => // /* */ # $x `code` **bold** \t \r\n \n \n\n    ... !!! ? : ;"
)
WORDS = ORDINARY.split(" ")


def generated_chats(n: int) -> list[list[Turn]]:
    """Conversations out of words, punctuation, markup and blanks, always the same ones."""
    dice = random.Random(20261124)  # noqa: S311 - texts, not secrets

    def text() -> str:
        words = dice.choices(WORDS, k=dice.randint(0, 40))
        return "".join(word + dice.choice([" ", " ", " ", "", "\n", "  ", "\n\n", ", "]) for word in words)

    def chat() -> list[Turn]:
        lead = [said("system", text())] if dice.random() < 0.5 else []
        middle = [said("user" if i % 2 == 0 else "assistant", text()) for i in range(2 * dice.randint(0, 3))]
        return [*lead, *middle, said("user", text())]

    return [chat() for _ in range(n)]


@pytest.mark.parametrize("is_own", [True, False])
def test_ordinary_chats_are_tokenised_as_the_whole_rendered_string_is(model: Model, is_own: bool) -> None:
    source = own_template(model) if is_own else CHATML_WITH_DEFAULT_SYSTEM
    renderer = renderer_of(model, source)
    texts = {"bos_token": model.bos_text, "eos_token": model.eos_text}
    for chat in [*generated_chats(300), *chats()]:
        assert ids_of(model, renderer, chat) == ids_of_whole(model, jinja(source, chat, **texts))


def test_the_model_s_own_template_renders_as_jinja_does(model: Model) -> None:
    source = own_template(model)
    template = ChatTemplate(source, bos_text=model.bos_text, eos_text=model.eos_text)
    for chat in chats():
        assert template.render(messages_of(chat)) == jinja(
            source, chat, bos_token=model.bos_text, eos_token=model.eos_text
        )


def test_user_defined_tokens_are_cut_apart_in_client_text_only(model: Model) -> None:
    """This vocabulary has none, so an ordinary token is declared one."""
    (word,) = ids_of_whole(model, "function")
    renderer = renderer_of(
        model, "function|{{ messages[0].content }}", [SpecialToken(word, "function", "user_defined")]
    )
    answer = renderer.answer(Render(turns=(said("user", "a function"),)))
    assert isinstance(answer, Rendered)
    assert answer.segments[0] == ControlToken(word)
    ids = model.tokenise(answer.segments)[0]
    assert ids.count(word) == 1
    assert b"".join(model.piece(i) for i in ids) == b"function|a function"
