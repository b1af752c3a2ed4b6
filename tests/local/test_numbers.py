"""Numbers in chat templates: written as Jinja2 writes them, or refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from completionist.local.numbers import exact, misprinted_literal
from completionist.local.oracle import Oracle
from completionist.local.template import ChatTemplate, TemplateFault
from completionist.local.trials import Trial

NUMBERS = st.one_of(
    st.floats(allow_nan=False),
    st.integers(),
    st.integers(-(2**140), 2**140),
    st.integers(-20, 20).map(float),
    st.integers(-330, 308).map(lambda n: float(f"1e{n}")),
)
SHOWN = """\
{%- set x = messages[-1].x -%}
{{ x }} {{ x ~ '' }} {{ x | string }} {{ [x, [x]] }} {{ {'a': x} }} {{ (x,) }} {{ [x, 'a'] | join(',') }} {{ x | tojson }}
{{ {'a': [x]} | tojson }} {{ [x] | tojson(indent=1) }} {{ messages[-1] | tojson }} {{ messages[-1] }}
{{ x is number }} {{ x is float }} {{ x is integer }} {{ x is string }} {{ x is mapping }} {{ x is none }} {{ x is defined }}
{{ 'yes' if x else 'no' }} {{ x or 'zero' }} {{ x | default('zero', true) }} {{ not x }} {{ x == x }}
{%- for key, value in messages[-1].items() if value is number %} {{ key ~ value }} {{ value | tojson }}{% endfor %}
"""
OURS = ChatTemplate(
    "{{ messages[0].content }}{% if messages[-1].x is defined %}" + SHOWN + "{% endif %}", bos_text="", eos_text=""
)
JINJA = Oracle(SHOWN, bos_text="", eos_text="")


@given(NUMBERS)
def test_numbers_of_clients_are_written_as_jinja_writes_them(x: float) -> None:
    messages = ({"role": "user", "content": "", "x": x},)
    assert OURS.render(messages).strip() == JINJA.render(Trial(name="", messages=messages)).strip()


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0).map(repr))
def test_a_literal_is_written_as_jinja_writes_it_or_refused(literal: str) -> None:
    source = f"{{{{ messages[0].content }}}}{{{{ {literal} }}}}{{{{ [{literal}] }}}}"
    if "e" in literal:
        with pytest.raises(TemplateFault, match=re.escape(f"it has the number {literal}")):
            ChatTemplate(source, bos_text="", eos_text="")
    else:
        rendered = ChatTemplate(source, bos_text="", eos_text="").render([{"role": "user", "content": "x"}])
        assert rendered == ImmutableSandboxedEnvironment().from_string(source).render(messages=[{"content": "x"}])


@pytest.mark.parametrize(
    "code",
    [
        "{{ 1e20 }}",
        "{{x~1E-5}}",
        "{% if x > 1_0.0e1_7 %}{% endif %}",
        "{{ '}}' ~ 0.00001 }}",
        "{{ 12345678901234567890.0 }}",
    ],
)
def test_literals_that_would_be_misprinted(code: str) -> None:
    assert misprinted_literal(code)


@pytest.mark.parametrize(
    "code",
    [
        "1e20",
        "{{ '1e20' }}",
        '{{ "1e\\"20" }}',
        "{# {{ 1e20 }} #}",
        "{% raw %}{{ 1e20 }}{% endraw %}",
        "{{ x1e20 }}",
        "{{ 0.1 + 1e3 + 1e15 }}",
        "it's {{ 5 }} 1e20 it's",
        "{{ x[1:2] ~ 2**70 }}",
    ],
)
def test_literals_that_are_none_or_right(code: str) -> None:
    assert misprinted_literal(code) is None


def test_computing_with_a_number_that_is_not_looked_into_is_refused() -> None:
    template = ChatTemplate(
        "{{ messages[0].content }}{% if messages[0].x is defined %}{{ messages[0].x * 2 }}{% endif %}",
        bos_text="",
        eos_text="",
    )
    assert template.render([{"role": "user", "content": "", "x": 1.25}]) == "2.5"
    with pytest.raises(TemplateFault, match="unsupported types"):
        template.render([{"role": "user", "content": "", "x": 1.0}])


def test_what_needs_nothing_stays_what_it_is() -> None:
    assert exact({"a": ["1.0", True, None, 2, 0.5]}) == {"a": ["1.0", True, None, 2, 0.5]}
