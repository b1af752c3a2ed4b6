"""Rows 13 to 23: parameters that multiply work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.abuse.conftest import CONTEXT_TOKENS
from tests.abuse.invariants import CHEAP_S, CREATE, NEVER_END, OTHER_KEY, Abuse
from tests.abuse.served import watch_peak
from tests.support import raw
from tests.support.server import eventually

BELOW, ABOVE, TYPE = "integer_below_min_value", "integer_above_max_value", "invalid_type"
HUGE = 10**18


def said(events: list[str]) -> tuple[list[str], str | None]:
    """The texts of a streamed answer, and how it finished."""
    assert events[-1] == "[DONE]"
    *chunks, last = [json.loads(event)["choices"][0] for event in events[:-1]]
    texts = [text for chunk in chunks if (text := chunk["delta"].get("content"))]
    return texts, last["finish_reason"]


def test_row_13_messages(abuse: Abuse) -> None:
    without = json.dumps({"model": abuse.served.model}).encode()
    abuse.refused(400, "missing_required_parameter", "messages", without)
    user = {"role": "user", "content": "x"}
    for messages, code, param in (
        ([], "empty_array", "messages"),
        (None, TYPE, "messages"),
        ("x", TYPE, "messages"),
        ({}, TYPE, "messages"),
        ([{"role": "foo", "content": "x"}], "invalid_value", "messages[0].role"),
        ([user, {"role": "foo", "content": "x"}], "invalid_value", "messages[1].role"),
        ([user] * 9 + ["x"], TYPE, "messages[9]"),
    ):
        abuse.refused(400, code, param, messages=messages)


def test_row_14_n(abuse: Abuse) -> None:
    growth_bytes = watch_peak(abuse.served.api)
    for n, code in ((0, BELOW), (-1, BELOW), (129, ABOVE), (HUGE, ABOVE), ("2", TYPE), (1.5, TYPE), (True, TYPE)):
        for stream in (False, True):
            body = abuse.body(n=n, stream=stream)
            assert abuse.cpu_s(partial(abuse.refused, 400, code, "n", body)) < CHEAP_S
    assert growth_bytes() < 2 * 2**20


def test_row_15_as_many_choices_as_may_be(abuse: Abuse) -> None:
    def peak_bytes(n: int) -> int:
        growths = [watch_peak(process) for process in (abuse.served.api, abuse.served.engine) if process]
        answer = abuse.create(n=n, max_completion_tokens=1, logprobs=True, top_logprobs=20)
        assert answer.status == 200
        choices = json.loads(answer.body)["choices"]
        assert [choice["index"] for choice in choices] == list(range(n))
        for choice in choices:
            assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 20
        return sum(growth() for growth in growths)

    assert peak_bytes(128) < 4 * peak_bytes(32) + 8 * 2**20


def test_row_15_others_are_served_beside_many_choices(abuse: Abuse) -> None:
    many = abuse.body(n=128, max_completion_tokens=24, logit_bias=NEVER_END)
    with raw.connection(abuse.port) as sock:
        sock.sendall(abuse.request("POST", CREATE, body=many))
        eventually(lambda: abuse.served.metric("num_requests_running") > 0)
        assert abuse.create(max_completion_tokens=4, key=OTHER_KEY).status == 200
        assert abuse.served.metric("num_requests_running") > 0
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # the many are still at it
            sock.recv(1)


def test_row_16_top_logprobs(abuse: Abuse) -> None:
    for value, code in ((21, ABOVE), (-1, BELOW), (154_880, ABOVE), (HUGE, ABOVE), ("5", TYPE), (1.5, TYPE)):
        for logprobs in (True, False):
            abuse.refused(400, code, "top_logprobs", logprobs=logprobs, top_logprobs=value)
    abuse.refused(400, None, "top_logprobs", logprobs=False, top_logprobs=5)
    abuse.refused(400, None, "top_logprobs", top_logprobs=5)


def test_row_17_decimals(abuse: Abuse) -> None:
    for name, value in (
        ("temperature", 2.1), ("temperature", -0.1), ("temperature", 999_999), ("temperature", 1e308),
        ("top_p", -1), ("top_p", 1.1), ("presence_penalty", 2.1), ("presence_penalty", -2.1),
        ("frequency_penalty", 2.1), ("frequency_penalty", -2.1),
    ):  # fmt: skip
        code = "decimal_above_max_value" if value > 0 else "decimal_below_min_value"
        abuse.refused(400, code, name, abuse.body(**{name: value}))
    edges: tuple[dict[str, object], ...] = (
        {"temperature": 2, "top_p": 1e-300}, {"temperature": 5e-324}, {"top_p": 0}, {"top_p": 5e-324},
    )  # fmt: skip
    for edge in edges:
        assert abuse.create(abuse.body(presence_penalty=-2, frequency_penalty=2, **edge)).status == 200


def test_row_18_token_limits(abuse: Abuse) -> None:
    for name in ("max_completion_tokens", "max_tokens"):
        for value, code in ((0, BELOW), (-5, BELOW), (2**31, ABOVE), (2**63, ABOVE), ("4", TYPE), (1.5, TYPE)):
            abuse.refused(400, code, name, abuse.body(**{name: value}))
        assert abuse.create(abuse.body(stop=[" ", "e", "."], **{name: 2**31 - 1})).status == 200
    refused = abuse.create(max_tokens=4, max_completion_tokens=4)
    assert (refused.status, refused.error["code"]) == (400, "invalid_parameter_combination")


def test_row_19_the_end_of_the_context(abuse: Abuse) -> None:
    def ask(n_words: int, **fields: object) -> raw.Reply:
        text = "x" + " a" * n_words
        return abuse.create(abuse.body(messages=[{"role": "user", "content": text}], logit_bias=NEVER_END, **fields))

    def usage(answer: raw.Reply) -> tuple[int, int]:
        counts = json.loads(answer.body)["usage"]
        return counts["prompt_tokens"], counts["completion_tokens"]

    n_other_tokens = usage(ask(100, max_completion_tokens=1))[0] - 100
    full = CONTEXT_TOKENS - n_other_tokens
    for n_words in (full, 20 * full):
        refused = ask(n_words, max_completion_tokens=1)
        assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")
        assert refused.error["param"] == "messages"
        assert f"resulted in {n_other_tokens + n_words} tokens" in refused.error["message"]
    for n_words in (full - 1, full - 20):
        answer = ask(n_words, max_completion_tokens=2**31 - 1)
        assert usage(answer) == (n_other_tokens + n_words, full - n_words)
        assert json.loads(answer.body)["choices"][0]["finish_reason"] == "length"


def test_row_20_logit_bias(abuse: Abuse) -> None:
    bad: tuple[tuple[object, str], ...] = (
        ({"abc": 1}, "logit_bias"), ({"": 1}, "logit_bias"), ({"-1": 1}, "logit_bias"), ({"1.0": 1}, "logit_bias"),
        ({"49152": 1}, "logit_bias"), ({"9" * 100_000: 1}, "logit_bias"), ({str(2**32): 1}, "logit_bias"),
        ({"1": 101}, "logit_bias.1"), ({"1": -101}, "logit_bias.1"), ({"1": "x"}, "logit_bias.1"),
        ({"1": HUGE}, "logit_bias.1"), ({str(i): 1 for i in range(100_000)}, "logit_bias"), ([], "logit_bias"),
    )  # fmt: skip
    for bias, param in bad:
        refused = abuse.create(logit_bias=bias)
        assert (refused.status, refused.error["param"]) == (400, param), bias
        assert len(refused.error["message"]) < 400
    assert abuse.create(logit_bias={str(i): -100 for i in range(1000)}).status == 200


def test_row_21_stop_strings(abuse: Abuse) -> None:
    abuse.refused(400, "array_above_max_length", "stop", stop=["a"] * 5)
    for stop, param in (("", "stop"), ([""], "stop[0]"), (["a", ""], "stop[1]")):
        abuse.refused(400, "empty_string", param, stop=stop)
    harmless: tuple[object, ...] = ("x" * 2**20, ["never", "\U0001f40b" * 4, "\0", "q" * 100], ["a" * 2**18] * 4)
    for text in harmless:
        assert abuse.create(stop=text).status == 200


def test_row_21_a_stop_string_across_tokens_never_shows(abuse: Abuse) -> None:
    greedy: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 8, "logit_bias": NEVER_END}
    texts, _ = said(abuse.stream(**greedy))
    whole = "".join(texts)
    for i in range(1, len(texts) - 1):
        stop = texts[i - 1][-1] + texts[i][:2]
        before = whole[: whole.index(stop)]
        shown, finish = said(abuse.stream(stop=stop, **greedy))
        assert ("".join(shown), finish) == (before, "stop")
    plain = abuse.create(stop=stop, **greedy)
    assert json.loads(plain.body)["choices"][0]["message"]["content"] == before


def test_row_22_metadata(abuse: Abuse) -> None:
    bad: tuple[tuple[object, str], ...] = (
        ({str(i): "x" for i in range(17)}, "metadata"), ({"k" * 65: "x"}, "metadata." + "k" * 65),
        ({"k": "x" * 513}, "metadata.k"), ({"k": 1}, "metadata.k"), ({"k": None}, "metadata.k"), ([], "metadata"),
        ({"k": {"a": "b"}}, "metadata.k"), ("x", "metadata"),
    )  # fmt: skip
    for metadata, param in bad:
        refused = abuse.create(metadata=metadata)
        assert (refused.status, refused.error["param"]) == (400, param), metadata
    assert abuse.create(metadata={f"{i:064}": "x" * 512 for i in range(16)}).status == 200


def test_row_23_models_that_are_none(abuse: Abuse, tmp_path: Path) -> None:
    model = abuse.served.model
    trap = tmp_path / "trap.gguf"
    os.mkfifo(trap)  # whoever opens it for reading waits, and shows
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/model.gguf"
        names = (
            "nobody", "../x", f"../models/{model}", "/etc/passwd", f"../../../{trap.name}", "a\0b", "x" * 10_000,
            "hf.co/a/b", model.upper(), model + " ", model.replace("o", "\u043e"), model + "\u202e", "\x1b[2J",
            "a\r\nb", "' OR '1'='1", "{{ 1 }}",
        )  # fmt: skip
        for name in names:
            abuse.refused(404, "model_not_found", None, model=name)
        for place in (url, str(trap), f"file://{trap}"):  # answers repeat them, so nobody looks for leaks there
            assert raw.send(abuse.port, abuse.request("POST", CREATE, body=abuse.body(model=place))).status == 404
        with pytest.raises(BlockingIOError):
            listener.accept()
    with pytest.raises(OSError, match="No such device or address"):  # nobody reads it
        os.open(trap, os.O_WRONLY | os.O_NONBLOCK)
    assert all(len(reply.error["message"]) < 200 for reply in abuse.replies)


def test_row_23_an_alias_loop_is_refused_at_the_start(tmp_path: Path) -> None:
    loop = tmp_path / "loop.toml"
    loop.write_text('[served.a]\nmodel = "b"\n[served.b]\nmodel = "a"\n')
    command = [sys.executable, "-m", "completionist", "serve", "--scripted", "--port", "0", "--config", str(loop)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "an alias stands for a model, not for another alias: a → b → a" in refused.stderr
