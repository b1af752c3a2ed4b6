"""Chat templates: equal to Jinja2 where they are honest, an error of their own where they are not."""

from __future__ import annotations

import pytest

from completionist.local.conversation import SystemPlace
from completionist.local.template import FALLBACK, ChatTemplate, TemplateFault, TemplateRefusal
from tests.local import templates
from tests.local.templates import FAMILIES, chats, jinja, messages_of, said

BOS, EOS = "<s>", "</s>"


def compiled(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_text=BOS, eos_text=EOS)


@pytest.mark.parametrize("source", [*FAMILIES.values(), FALLBACK], ids=[*FAMILIES, "fallback"])
def test_every_chat_is_rendered_or_refused_as_jinja_does(source: str) -> None:
    template = compiled(source)
    n_rendered = 0
    for chat in chats():
        try:
            expected = jinja(source, chat, bos_token=BOS, eos_token=EOS)
        except templates.Refusal as refusal:
            with pytest.raises(TemplateRefusal, match=str(refusal).split("/")[0]):
                template.render(messages_of(chat))
        else:
            assert template.render(messages_of(chat)) == expected
            n_rendered += 1
    assert n_rendered >= 8


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (templates.CHATML_WITH_DEFAULT_SYSTEM, "anywhere"),
        (templates.HEADERS_AND_DATE, "anywhere"),
        (templates.ALTERNATING_WITHOUT_SYSTEM, "none"),
        (templates.INSTRUCTIONS_WITH_FIRST_SYSTEM, "first"),
        (templates.REASONING_STRIPPED, "anywhere"),
        ("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}", "none"),
        ("{{ messages[0].content }}{{ messages[-1].content }}", "none"),
    ],
)
def test_where_system_text_may_stand_is_found_by_trying(source: str, place: SystemPlace) -> None:
    assert compiled(source).system_place == place


def test_json_is_written_as_hugging_face_writes_it() -> None:
    source = "{{ messages | tojson }}{{ messages | tojson(indent=2) }}"
    turns = [said("user", "<é> & '山' \"\u2028")]
    assert compiled(source).render(messages_of(turns)) == jinja(source, turns)


HOSTILE = {
    "loops without end": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "asks for a range of 10^10": "{% for i in range(10000000000) %}{% endfor %}",
    "repeats a string a billion times": "{{ 'a' * 1000000000 }}",
    "doubles a string": "{% set n = namespace(s='a') %}{% for i in range(30) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "doubles by replacing": (
        "{% set n = namespace(s='aa') %}{% for i in range(30) %}{% set n.s = n.s | replace('a', 'aa') %}{% endfor %}{{ n.s }}"
    ),
    "writes more than it read": "{% for i in range(90000) %}{{ 'twelve bytes' }}{% endfor %}",
    "calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "includes itself": "{% include 'chat template' %}",
    "reads a class": "{{ ''.__class__.__mro__ }}",
    "reads a class silently": "{{ messages.__class__ }}hello",
    "reads globals": "{{ raise_exception.__globals__ }}",
    "imports": "{% import 'os' as os %}",
    "is no template": "{% for %}",
    "nests without end": "{{ " + "(" * 100_000 + ")" * 100_000 + " }}",
    "raises always": "{{ raise_exception('never') }}",
    "raises of itself": "{{ messages.foo.bar }}",
    "asks for an unknown filter": "{{ messages | exec }}",
    "gives a function what it does not take": "{{ strftime_now(5) }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_broken_or_hostile_is_refused_when_it_is_loaded(source: str) -> None:
    with pytest.raises(TemplateFault):
        compiled(source)


@pytest.mark.parametrize(
    "expression",
    [
        "raise_exception['__glo' ~ 'bals__']",
        "messages|attr('__cl' ~ 'ass__')",
        "''['__cl' ~ 'ass__']",
        "self",
        "lipsum",
    ],
)
def test_nothing_of_python_is_in_reach_by_another_spelling(expression: str) -> None:
    source = "{{ messages[0].content }}{% if messages | length == 1 %}{{ " + expression + " }}{% endif %}"
    assert compiled(source).render([{"role": "user", "content": "hello"}]) == "hello"


def test_a_template_may_turn_on_a_conversation_that_was_not_tried() -> None:
    source = "{{ messages[0].content }}{% if 'now' in messages[0].content %}{{ 'a' * 1000000000 }}{% endif %}"
    template = compiled(source)
    with pytest.raises(TemplateFault):
        template.render([{"role": "user", "content": "now"}])
    assert template.render([{"role": "user", "content": "later"}]) == "later"


def test_long_conversations_are_no_abuse() -> None:
    template = compiled(templates.CHATML_WITH_DEFAULT_SYSTEM)
    for chat in ([said("user", "x" * 5_000_000)], [said("user", "x")] * 20_000):
        rendered = template.render(messages_of(chat))
        assert rendered.count("x") == sum(len(turn.content or "") for turn in chat)
