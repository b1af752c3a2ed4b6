"""Thinking: no thinking model installs, so a template with a switch is put on one that does not think.

The engine writes the opening marker, and the closing one when the budget is used up (contract 13.2). The shortened model
goes on thinking as a whole one does, in nonsense.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from completionist.settings import DEFAULT_MODEL
from tests.support.ask import official
from tests.support.real import running_file, running_model

pytestmark = pytest.mark.model

TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}"""
BUDGET = 256
MODELS = [
    DEFAULT_MODEL,  # shortened
    pytest.param("qwen2.5-coder-0.5b-instruct", marks=[pytest.mark.large, pytest.mark.timeout(900)]),
]


@pytest.fixture(scope="module", params=MODELS)
def thinker(
    request: pytest.FixtureRequest, short_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Address and name of a model that thinks, as far as its template says."""
    directory = tmp_path_factory.mktemp("thinking")
    template: Path = directory / "template.jinja"
    template.write_text(TEMPLATE)
    options = (
        f'[served."{request.param}"]\nchat_template = "{template}"\nreasoning_content = true\n'
        "[engine]\nstreams = 2\nstream_tokens = 1024\ncontext_tokens = 1024\n"
    )
    log = directory / "log"
    if request.param == DEFAULT_MODEL:
        running = running_file(log, short_model_path, options=options)
    else:
        running = running_model(log, request.param, options=options)
    with running as url:
        yield url, request.param


def ask(thinker: tuple[str, str], **given: Any) -> ChatCompletion:
    url, model = thinker
    messages: Any = [{"role": "user", "content": "Is seven a prime number?"}]
    with official(url, api_key="none", max_retries=0, timeout=600) as client:
        answer = client.chat.completions.create(model=model, messages=messages, temperature=0, **given)
    assert isinstance(answer, ChatCompletion)
    return answer


def reasoning_tokens(answer: ChatCompletion) -> int:
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    return answer.usage.completion_tokens_details.reasoning_tokens or 0


def test_thinking_ends_at_its_budget_and_an_answer_follows(thinker: tuple[str, str]) -> None:
    answer = ask(thinker, reasoning_effort="minimal", max_completion_tokens=BUDGET + 100)
    message = answer.choices[0].message
    assert "</think>" not in (message.content or "")
    n_thought = reasoning_tokens(answer)
    assert 0 < n_thought <= BUDGET + 12  # the markers count
    assert message.to_dict().get("reasoning_content")
    assert answer.usage is not None
    if n_thought >= BUDGET:  # a model that is not trained to think may end its turn before
        assert n_thought < answer.usage.completion_tokens


def test_a_budget_leaves_a_quarter_of_the_room_for_the_answer(thinker: tuple[str, str]) -> None:
    answer = ask(thinker, reasoning_effort="high", max_completion_tokens=40)
    assert 0 < reasoning_tokens(answer) <= 30 + 12
    assert answer.usage is not None
    assert answer.usage.completion_tokens > reasoning_tokens(answer)


def test_a_schema_holds_after_the_thinking(thinker: tuple[str, str]) -> None:
    schema = {
        "type": "object",
        "properties": {"is_prime": {"type": "boolean"}},
        "required": ["is_prime"],
        "additionalProperties": False,
    }
    sent = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}
    answer = ask(thinker, reasoning_effort="low", max_completion_tokens=80, response_format=sent)
    assert reasoning_tokens(answer) > 0
    assert answer.choices[0].message.content in ('{"is_prime": true}', '{"is_prime": false}')


def test_none_answers_at_once(thinker: tuple[str, str]) -> None:
    answer = ask(thinker, reasoning_effort="none", max_completion_tokens=20)
    assert reasoning_tokens(answer) == 0
    assert answer.choices[0].message.content
