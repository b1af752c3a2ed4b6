"""What the hosted families refuse, row by row of the contract's table (2.4), through a real port and under their names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, get_args

import openai
import pytest

from completionist.chat.gate import check_profile
from completionist.chat.profiles import OPEN, PROFILES, Profile
from completionist.errors import APIError
from completionist.local.backend import LocalBackend
from completionist.settings import ProfileName, ServedSettings
from completionist.types.request import FIELDS, Draft, Reading
from tests.conftest import Serve
from tests.support.ask import ask, official
from tests.support.server import MODEL, SETTINGS, running_server
from tests.wire.bodies import read

CLASSIC = ("gpt-3.5", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4.1")
O_SERIES = ("o1", "o3", "o3-mini", "o4-mini")
GPT_5 = ("gpt-5", "gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6")
BY_EFFORT = ("gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6")
REASONING = (*O_SERIES, *GPT_5)
OLD = (*CLASSIC, *O_SERIES, *GPT_5[:-1])
HOSTED = (*CLASSIC, *REASONING, "gpt-audio", "search")
SILENT = tuple(name for name in HOSTED if name != "gpt-audio")

SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
ORIGINAL = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "original"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
BREAK = {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n"}}
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}


EVERY_FAMILY = {name: ServedSettings(model=MODEL, profile=name) for name in PROFILES}
"""One model under the name of every profile."""


@pytest.fixture(scope="module")
def families() -> Iterator[openai.OpenAI]:
    settings = SETTINGS.model_copy(update={"served": EVERY_FAMILY})
    with (
        running_server(settings=settings) as server,
        official(server.base_url, api_key="x", max_retries=0) as client,
    ):
        yield client


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts) or "hello"}]


def heard(model: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The audio family answers nobody who is silent."""
    return {"messages": user(SOUND) if model == "gpt-audio" else user(), **fields}


def refusal(client: openai.OpenAI, model: str, fields: dict[str, Any]) -> tuple[str | None, str | None, str]:
    """Code, param and message, the same for a stream."""
    found = set()
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=model, stream=stream, **heard(model, fields))
        error = caught.value
        assert error.type == "invalid_request_error"
        assert isinstance(error.body, dict)
        found.add((error.code, error.param, error.body["message"]))
    (one,) = found
    return one


def unsupported(field: str, more: str = "") -> tuple[str, str, str]:
    return "unsupported_parameter", field, f"Unsupported parameter: '{field}' is not supported with this model.{more}"


def value(field: str, shown: str, listed: str) -> tuple[str, str, str]:
    text = f"Unsupported value: '{field}' does not support {shown} with this model."
    return "unsupported_value", field, f"{text} Supported values are: {listed}."


def only_default(field: str, shown: str, default: str) -> tuple[str, str, str]:
    text = f"Unsupported value: '{field}' does not support {shown} with this model."
    return "unsupported_value", field, f"{text} Only the default ({default}) value is supported."


def incompatible(field: str) -> tuple[None, None, str]:
    return None, None, f"Model incompatible request argument supplied: {field}"


def no_content(kind: str) -> tuple[None, str, str]:
    text = f"Invalid content type. {kind} is only supported by certain models."
    return None, "messages.[0].content.[0].type", text


def too_large(field: str, asked: int, maximum: int) -> tuple[str, str, str]:
    text = f"max_tokens is too large: {asked}. This model supports at most {maximum} completion tokens, "
    return "invalid_value", field, f"{text}whereas you provided {asked}."


Expected = tuple[str | None, str | None, str]
Case = tuple[tuple[str, ...], dict[str, Any], Expected]

EFFORT = "reasoning_effort"
BY_DEFAULT = ("gpt-5.5", "gpt-5.6")
WITH_EFFORT = {EFFORT: "high"}
LOW_TO_HIGH = "'low', 'medium', and 'high'"
NONE_TO_XHIGH = "'none', 'low', 'medium', 'high', and 'xhigh'"
N_OVER = "Invalid 'n': integer above maximum value. Expected a value <= {}, but got {} instead."
TOOLS_TEXT = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. "
    "Please use /v1/responses instead, or set reasoning_effort to 'none'."
)

ROWS: dict[str, list[Case]] = {
    "reasoning_effort": [
        ((*CLASSIC, "gpt-audio"), {EFFORT: "low"}, unsupported(EFFORT)),
        (("search",), {EFFORT: "low"}, incompatible(EFFORT)),
        (O_SERIES, {EFFORT: "none"}, value(EFFORT, "'none'", LOW_TO_HIGH)),
        (O_SERIES, {EFFORT: "minimal"}, value(EFFORT, "'minimal'", LOW_TO_HIGH)),
        (("gpt-5",), {EFFORT: "none"}, value(EFFORT, "'none'", "'minimal', " + LOW_TO_HIGH)),
        (("gpt-5.1",), {EFFORT: "xhigh"}, value(EFFORT, "'xhigh'", "'none', " + LOW_TO_HIGH)),
        (("gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6"), {EFFORT: "max"}, value(EFFORT, "'max'", NONE_TO_XHIGH)),
        (("gpt-5.6",), {EFFORT: "minimal"}, value(EFFORT, "'minimal'", NONE_TO_XHIGH)),
    ],
    "temperature, top_p": [
        ((*O_SERIES, "gpt-5", *BY_DEFAULT), {"temperature": 0.5}, only_default("temperature", "0.5", "1")),
        ((*O_SERIES, "gpt-5", *BY_DEFAULT), {"top_p": 0}, only_default("top_p", "0", "1")),
        (BY_EFFORT, {"temperature": 2, **WITH_EFFORT}, only_default("temperature", "2", "1")),
        (("search",), {"temperature": 1}, incompatible("temperature")),
        (("search",), {"top_p": 0.5}, incompatible("top_p")),
    ],
    "penalties, logprobs, top_logprobs": [
        *[
            ((*O_SERIES, "gpt-5"), {field: 0.5}, unsupported(field))
            for field in ("presence_penalty", "frequency_penalty")
        ],
        ((*O_SERIES, "gpt-5"), {"logprobs": True}, unsupported("logprobs")),
        ((*O_SERIES, "gpt-5"), {"logprobs": True, "top_logprobs": 2}, unsupported("logprobs")),
        (BY_EFFORT, {"presence_penalty": -1, **WITH_EFFORT}, only_default("presence_penalty", "-1", "0")),
        (BY_EFFORT, {"frequency_penalty": 0.1, **WITH_EFFORT}, only_default("frequency_penalty", "0.1", "0")),
        (BY_EFFORT, {"logprobs": True, **WITH_EFFORT}, only_default("logprobs", "true", "false")),
        (
            ("gpt-5.6",),
            {"logprobs": True, "top_logprobs": 6, EFFORT: "none"},
            (None, "top_logprobs", "Invalid value for 'top_logprobs': must be less than or equal to 5."),
        ),
        (("search",), {"logprobs": True}, incompatible("logprobs")),
        (("search",), {"presence_penalty": 1}, incompatible("presence_penalty")),
    ],
    "stop": [(("o3", "o4-mini", *GPT_5), {"stop": "x"}, unsupported("stop"))],
    "logit_bias": [
        (REASONING, {"logit_bias": {"1": 1}}, unsupported("logit_bias")),
        (("search",), {"logit_bias": {"1": 1}}, incompatible("logit_bias")),
    ],
    "max_tokens": [
        (REASONING, {"max_tokens": 9}, unsupported("max_tokens", " Use 'max_completion_tokens' instead.")),
    ],
    "prediction": [
        (
            ("gpt-3.5", "gpt-4", "gpt-4-turbo", *REASONING, "gpt-audio"),
            {"prediction": {"type": "content", "content": "x"}},
            unsupported("prediction"),
        ),
        (("search",), {"prediction": {"type": "content", "content": "x"}}, incompatible("prediction")),
    ],
    "verbosity": [
        ((*CLASSIC, *O_SERIES, "gpt-audio", "search"), {"verbosity": "low"}, value("verbosity", "'low'", "'medium'")),
        ((*CLASSIC, *O_SERIES, "gpt-audio", "search"), {"verbosity": "high"}, value("verbosity", "'high'", "'medium'")),
    ],
    "n ceiling": [
        (REASONING, {"n": 9}, ("integer_above_max_value", "n", N_OVER.format(8, 9))),
        (("gpt-audio",), {"n": 2, **SPOKEN}, ("integer_above_max_value", "n", N_OVER.format(1, 2))),
        (("search",), {"n": 2}, incompatible("n")),
    ],
    "structured outputs": [
        (
            ("gpt-3.5", "gpt-4", "gpt-4-turbo"),
            {"response_format": SCHEMA},
            (
                None,
                "response_format",
                "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
            ),
        ),
    ],
    "custom tools": [
        (
            (*CLASSIC, *O_SERIES, "gpt-audio"),
            {"tools": [FUNCTION, CUSTOM]},
            value("tools[1].type", "'custom'", "'function'"),
        ),
    ],
    "function tools with effort": [
        (("gpt-5.6",), {"tools": [CUSTOM, FUNCTION]}, (None, EFFORT, TOOLS_TEXT)),
        (("gpt-5.6",), {"tools": [FUNCTION], EFFORT: "low"}, (None, EFFORT, TOOLS_TEXT)),
        (("search",), {"tools": [FUNCTION]}, incompatible("tools")),
        (("search",), {"functions": [{"name": "f"}]}, incompatible("functions")),
    ],
    "audio, modalities with audio": [
        (OLD, SPOKEN, unsupported("modalities")),
        (OLD, {"audio": SPOKEN["audio"]}, unsupported("audio")),
        (("gpt-5.6",), SPOKEN, ("unknown_parameter", "audio", "Unknown parameter: 'audio'.")),
        (("gpt-5.6",), {"modalities": ["text"]}, ("unknown_parameter", "modalities", "Unknown parameter: 'modalities'.")),
        (("gpt-5.6",), {"audio": None, "n": 0}, ("unknown_parameter", "audio", "Unknown parameter: 'audio'.")),
        (("search",), SPOKEN, incompatible("modalities")),
        (("gpt-audio",), {**SPOKEN, "modalities": ["audio"]}, value("modalities", "'audio'", "'text' and 'text, audio'")),
        (
            ("gpt-audio",),
            {"messages": user()},
            (
                "invalid_value",
                "model",
                "This model requires that either input content or output modality contain audio.",
            ),
        ),
        *[(SILENT, {"messages": user(SOUND)}, no_content("input_audio"))],
    ],
    "web_search_options": [
        ((*OLD, "gpt-audio"), {"web_search_options": {}}, unsupported("web_search_options")),
        (
            ("gpt-5.6",),
            {"web_search_options": {}},
            ("unknown_parameter", "web_search_options", "Unknown parameter: 'web_search_options'."),
        ),
    ],
    "image input": [
        (("gpt-3.5", "gpt-4", "o3-mini", "gpt-audio"), {"messages": user(PICTURE)}, no_content("image_url")),
    ],
    "PDF input": [
        (("gpt-3.5", "gpt-4", "gpt-4-turbo", "o3-mini", "gpt-audio", "search"), {"messages": user(FILE)}, no_content("file")),
    ],
    "prompt cache": [
        ((*OLD, "gpt-audio"), {"prompt_cache_options": {"mode": "implicit"}}, unsupported("prompt_cache_options")),
        (
            (*OLD, "search"),
            {"messages": user(BREAK)},
            unsupported("messages[0].content[0].prompt_cache_breakpoint"),
        ),
        (
            ("gpt-5.5", "gpt-5.6"),
            {"prompt_cache_retention": "in_memory"},
            (None, "prompt_cache_retention", "This model is compatible only with 24h extended prompt caching"),
        ),
        (("search",), {"prompt_cache_key": "k"}, incompatible("prompt_cache_key")),
        (("search",), {"prompt_cache_retention": "24h"}, incompatible("prompt_cache_retention")),
    ],
    "image detail original": [
        (
            ("gpt-4-turbo", "gpt-4o", "gpt-4.1", "o1", "o3", "o4-mini", "gpt-5", "gpt-5.1", "gpt-5.2", "search"),
            {"messages": user(ORIGINAL)},
            value("messages[0].content[0].image_url.detail", "'original'", "'auto', 'low', and 'high'"),
        ),
    ],
    "output size": [
        (("gpt-4o", "gpt-audio"), {"max_tokens": 16_385}, too_large("max_tokens", 16_385, 16_384)),
        (("gpt-4.1",), {"max_completion_tokens": 32_769}, too_large("max_completion_tokens", 32_769, 32_768)),
        (O_SERIES, {"max_completion_tokens": 100_001}, too_large("max_completion_tokens", 100_001, 100_000)),
        (GPT_5, {"max_completion_tokens": 128_001}, too_large("max_completion_tokens", 128_001, 128_000)),
    ],
}  # fmt: skip


ONE_BY_ONE = [
    pytest.param(models, fields, expected, id=f"{row}: {', '.join(fields)} {expected[1]}")
    for row, cases in ROWS.items()
    for models, fields, expected in cases
]


@pytest.mark.parametrize(("models", "fields", "expected"), ONE_BY_ONE)
def test_what_a_family_refuses(
    families: openai.OpenAI, models: tuple[str, ...], fields: dict[str, Any], expected: Expected
) -> None:
    for model in models:
        assert refusal(families, model, fields) == expected, model


def passes(model: str, fields: dict[str, Any]) -> bool:
    """Whether the profile alone lets it through; the engine may still lack what is asked."""
    sent = {"model": model, **heard(model, fields)}
    profile = next(profile for name, profile in PROFILES.items() if name == model)
    try:
        request = Draft(model=model, body=sent).request(Reading(unknown={model: profile.unknown}))
        check_profile(request, profile)
    except APIError:
        return False
    return True


@pytest.mark.parametrize(
    ("models", "fields"),
    [
        ((*CLASSIC, "gpt-audio"), {"temperature": 0.5, "top_p": 0.1, "presence_penalty": 1}),
        ((*CLASSIC, "gpt-audio"), {"logprobs": True, "top_logprobs": 20}),
        ((*CLASSIC, "gpt-audio"), {"stop": "x", "logit_bias": {"1": 1}, "max_tokens": 9}),
        (("search",), {"stop": "x", "max_tokens": 9, "web_search_options": {}}),
        (("o1", "o3-mini"), {"stop": "x"}),
        ((*O_SERIES, "gpt-5"), {"temperature": 1, "top_p": 1, "presence_penalty": 0, "logprobs": False}),
        (("gpt-5.1", "gpt-5.2", "gpt-5.4"), {"temperature": 0, "logprobs": True, "top_logprobs": 20}),
        (("gpt-5.5",), {"temperature": 0, "presence_penalty": 1, EFFORT: "none", "logprobs": True, "top_logprobs": 20}),
        (("gpt-5.6",), {"temperature": 0, EFFORT: "none", "logprobs": True, "top_logprobs": 5, "tools": [FUNCTION]}),
        (("gpt-5.6",), {"tools": [CUSTOM]}),
        (("gpt-5.6",), {"messages": user(BREAK, ORIGINAL, FILE), "prompt_cache_options": {"mode": "explicit"}}),
        (REASONING, {"n": 8, "max_completion_tokens": 100_000}),
        (CLASSIC, {"n": 128, "verbosity": "medium"}),
        (("gpt-4o", "gpt-4.1"), {"prediction": {"type": "content", "content": "x"}}),
        (("gpt-4o", "gpt-4.1", "o1", "o3", "o4-mini", *GPT_5), {"messages": user(PICTURE, FILE)}),
        (("gpt-4-turbo", "search"), {"messages": user(PICTURE)}),
        (OLD, {"modalities": ["text"], "prompt_cache_key": "k", "prompt_cache_retention": "24h"}),
        (("gpt-audio",), {**SPOKEN, "messages": user()}),
        (("gpt-4o", "gpt-4.1", *REASONING, "gpt-audio", "search"), {"response_format": SCHEMA}),
        (GPT_5, {"tools": [CUSTOM]}),
        (GPT_5, {"verbosity": "low"}),
        (("gpt-5",), {EFFORT: "minimal"}),
        (("gpt-5.2", *BY_DEFAULT), {EFFORT: "xhigh"}),
    ],
)  # fmt: skip
def test_what_a_family_takes(models: tuple[str, ...], fields: dict[str, Any]) -> None:
    for model in models:
        assert passes(model, fields), model


def test_a_taken_request_is_answered_under_the_name_it_used(families: openai.OpenAI) -> None:
    for model in PROFILES:
        if model == "gpt-audio":  # needs ears, which this engine lacks
            continue
        answer = families.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
        assert (answer.model, answer.choices[0].finish_reason) == (model, "stop")


def test_the_first_fault_is_the_one_of_the_fields() -> None:
    """What a model cannot do comes last (contract 2.3)."""
    with pytest.raises(APIError) as caught:
        read({"model": "o1", "messages": user(), "temperature": 3, "max_tokens": 9})
    assert caught.value.error_code == "decimal_above_max_value"


def test_open_refuses_nothing() -> None:
    assert Profile(name="open") == OPEN
    for _, fields, _ in itertools.chain.from_iterable(ROWS.values()):
        if fields.get("n") != 0:  # a fault under every profile
            assert passes("open", fields), fields


def test_every_profile_can_be_named_in_the_settings_and_lists_fields_in_their_order() -> None:
    assert tuple(PROFILES) == get_args(ProfileName)
    order = [field.name for field in FIELDS]
    for profile in PROFILES.values():
        assert set(profile.refused) | profile.unknown <= set(order)


LONG = "x" * 40_000


def test_a_long_prompt_is_refused_in_the_words_of_the_family(families: openai.OpenAI) -> None:
    texts = {}
    for model in ("open", "gpt-4o", "gpt-5", "gpt-5.6"):
        code, param, texts[model] = refusal(families, model, {"messages": [{"role": "user", "content": LONG}]})
        assert (code, param) == ("context_length_exceeded", "messages")
    assert re.fullmatch(
        r"This model's maximum context length is 8192 tokens. However, your messages resulted in 100\d\d tokens. "
        r"Please reduce the length of the messages.",
        texts["open"],
    )
    assert texts["gpt-4o"] == texts["open"]
    assert re.fullmatch(
        r"Input tokens exceed the configured limit of 8192 tokens. Your messages resulted in 100\d\d tokens. "
        r"Please reduce the length of the messages.",
        texts["gpt-5"],
    )
    assert texts["gpt-5.6"] == texts["gpt-5"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(("content", "n_tokens"), [("x" * 16_400, "41"), (LONG, "100")])
def test_a_classic_family_adds_what_is_asked_of_output(
    families: openai.OpenAI, field: str, content: str, n_tokens: str
) -> None:
    """Whether the prompt alone would fit or not."""
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": content}], field: 4_096}
    for model in CLASSIC:
        code, param, text = refusal(families, model, fields)
        assert (code, param) == ("context_length_exceeded", "messages")
        found = re.fullmatch(
            rf"This model's maximum context length is 8192 tokens. However, you requested (\d+) tokens "
            rf"\(({n_tokens}\d\d) in the messages, 4096 in the completion\). "
            r"Please reduce the length of the messages or completion.",
            text,
        )
        assert found, text
        assert int(found[1]) == int(found[2]) + 4_096


def test_what_fits_exactly_is_answered_and_others_end_where_the_context_does(families: openai.OpenAI) -> None:
    answers = families.chat.completions
    messages: Any = [{"role": "user", "content": "x" * 16_000}]
    usage = answers.create(model="gpt-4", messages=messages).usage
    assert usage is not None
    exactly = 8_192 - usage.prompt_tokens
    assert answers.create(model="gpt-4", messages=messages, max_tokens=exactly).choices
    with pytest.raises(openai.BadRequestError):
        answers.create(model="gpt-4", messages=messages, max_tokens=exactly + 1)
    for model in ("open", "o1"):
        assert answers.create(model=model, messages=messages, max_completion_tokens=exactly + 1).choices


@pytest.mark.parametrize("long_messages", [False, True])
def test_with_tools_the_refusal_tells_what_they_take(families: openai.OpenAI, long_messages: bool) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d" if long_messages else LONG}}
    messages = [{"role": "user", "content": LONG if long_messages else "hello"}]
    *_, text = refusal(families, "open", {"messages": messages, "tools": [tool]})
    found = re.fullmatch(
        r"This model's maximum context length is 8192 tokens. However, your messages resulted in (\d+) tokens "
        r"\((\d+) in the messages, (\d+) in the functions\). Please reduce the length of the messages or functions.",
        text,
    )
    assert found
    n_all, n_messages, n_functions = map(int, found.groups())
    assert n_all == n_messages + n_functions
    assert (n_messages > 10_000, n_functions > 10_000) == (long_messages, not long_messages)


def test_an_operator_limits_the_choices_of_a_name(serve: Serve, client_of: Any) -> None:
    settings = SETTINGS.model_copy(update={"served": {MODEL: ServedSettings(max_choices=2)}})
    client = client_of(serve(settings=settings))
    assert len(ask(client, n=2).choices) == 2
    assert refusal(client, MODEL, {"n": 3}) == ("integer_above_max_value", "n", N_OVER.format(2, 3))


def test_an_operator_puts_a_profile_on_a_name(serve: Serve, client_of: Any) -> None:
    settings = SETTINGS.model_copy(update={"served": {MODEL: ServedSettings(profile="o3")}})
    client = client_of(serve(settings=settings))
    assert ask(client).choices[0].finish_reason == "stop"
    assert refusal(client, MODEL, {"stop": "x"}) == unsupported("stop")


def test_an_operator_limits_the_length_of_answers(serve: Serve, client_of: Any) -> None:
    capped = partial(LocalBackend, said=ServedSettings(max_output_tokens=2))
    answer = ask(client_of(serve(backend=capped)))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
