"""Chat templates in the manner of the families that people serve, and what Jinja2 makes of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from completionist.dialects.history import Turn

CHATML_WITH_DEFAULT_SYSTEM = """\
{%- if messages[0]['role'] == 'system' -%}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else -%}
    {{- '<|im_start|>system\\nYou are of help.<|im_end|>\\n' }}
{%- endif -%}
{%- if tools %}
    {{- '# Tools\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- set is_later_system = message.role == "system" and not loop.first %}
    {%- if (message.role == "user") or is_later_system or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

HEADERS_AND_DATE = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

ALTERNATING_WITHOUT_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)

INSTRUCTIONS_WITH_FIRST_SYSTEM = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial message") }}
    {%- endif %}
{%- endfor %}
"""

REASONING_STRIPPED = """\
{% for message in messages %}
{% if message.role == 'assistant' %}
{% set content = message.content.split('</think>')[-1].lstrip('\\n') %}
<|assistant|>
{% generation %}{{ content }}{% endgeneration %}{{ eos_token }}
{% elif message.role == 'system' and not message.content %}
{% continue %}
{% else %}
<|{{ message.role }}|>
{{ message.content.strip() }}{{ eos_token }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}
"""

FAMILIES = {
    "chatml with a default system text": CHATML_WITH_DEFAULT_SYSTEM,
    "headers and a date": HEADERS_AND_DATE,
    "alternating, no system": ALTERNATING_WITHOUT_SYSTEM,
    "instructions, system first": INSTRUCTIONS_WITH_FIRST_SYSTEM,
    "reasoning stripped": REASONING_STRIPPED,
}

TEXTS = (
    "Hello!",
    "  blanks around \n\n",
    "two\nlines",
    "",
    "<b>html</b> & 'quotes' \"double\" \\n {{ braces }} {% raw %}",
    "山と川 🏔️ été",
    "Think.</think>\n\nThe answer.",
    "a\tb\r\nc",
)


Role = Literal["system", "user", "assistant"]


def said(role: Role, text: str) -> Turn:
    return Turn(role=role, content=text)


def messages_of(turns: Sequence[Turn]) -> list[Mapping[str, Any]]:
    """As templates see them."""
    return [turn.as_message() for turn in turns]


def chats() -> list[list[Turn]]:
    """Ordinary shapes, each with a spread of texts."""
    shapes = ("u", "su", "uau", "suau", "uaua", "sua", "suausu", "au", "s", "uu")
    roles: dict[str, Role] = {"u": "user", "s": "system", "a": "assistant"}
    return [
        [said(roles[c], TEXTS[(i + offset) % len(TEXTS)]) for i, c in enumerate(shape)]
        for shape in shapes
        for offset in range(len(TEXTS))
    ]


class Refusal(Exception):
    """The template called `raise_exception`."""


def jinja(source: str, turns: Sequence[Turn], **special_texts: str) -> str:
    """The prompt as Hugging Face's way of using Jinja2 renders it."""
    messages = messages_of(turns)
    return _jinja_template(source).render(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, **special_texts
    )


@functools.lru_cache
def _jinja_template(source: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment.from_string(source.replace("{% generation %}", "").replace("{% endgeneration %}", ""))


def _refuse(message: str) -> None:
    raise Refusal(message)


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
