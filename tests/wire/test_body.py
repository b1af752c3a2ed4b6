"""From bytes to a draft: JSON, `model`, `messages` (contract, sections 0, 2.2, 2.3 step 1)."""

from __future__ import annotations

import msgspec
import pytest

from completionist.types.messages import UserMessage
from completionist.types.request import Draft
from tests.wire.bodies import Refusal, body, empty_array, missing, read, refusal, wrong_type

MALFORMED = Refusal(
    None,
    None,
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble figuring "
    "out how to fix this, please contact us through our help center at the documentation of this server.)",
)
NO_MODEL = Refusal(None, None, "you must provide a model parameter")


def raw(field: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"x"}],' + field + b"}"


def said(content: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":' + content + b"}]}"


@pytest.mark.parametrize(
    "sent",
    [
        b'{"model":"m","messages":[',
        b"",
        b" ",
        b"[]",
        b'"x"',
        b"null",
        b"1",
        b"{} {}",
        b"{'model':'m'}",
        b'\xef\xbb\xbf{"model":"m"}',
        '{"model":"m"}'.encode("utf-16"),
        said(b'"\xff"'),
        said(b'"\xed\xa0\x80"'),
        said(b'"\\ud800"'),
        said(b'"\\udc00"'),
        said(b'"\\ud800\\ud800"'),
        said(b'"a\nb"'),
        raw(b'"temperature":NaN'),
        raw(b'"temperature":Infinity'),
        raw(b'"temperature":-Infinity'),
        raw(b'"temperature":1e999'),
        raw(b'"temperature":-1e999'),
        raw(b'"temperature":01'),
        raw(b'"\\ud800":1'),
        raw(b'"x":' + b"[" * 100_000 + b"]" * 100_000),
        raw(b'"tools":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        raw(b'"seed":' + b"9" * 5_000),
        raw(b'"seed":' + b"9" * 1_000_000),
        raw(b'"seed":-' + b"9" * 1_000_000),
    ],
)
def test_what_is_no_json_object_is_told_so(sent: bytes) -> None:
    assert refusal(sent) == MALFORMED


def test_long_integers_end_in_their_range() -> None:
    for digits in (19, 4_000, 4_299):
        assert refusal(raw(b'"seed":' + b"9" * digits)).code == "integer_above_max_value"
        assert refusal(raw(b'"seed":-' + b"9" * digits)).code == "integer_below_min_value"
        assert refusal(raw(b'"temperature":' + b"9" * min(digits, 300))).code == "decimal_above_max_value"


def test_minus_zero_is_zero() -> None:
    assert str(read(raw(b'"temperature":-0.0')).temperature) == "0.0"
    assert read(raw(b'"n":1,"seed":-0')).seed == 0


@pytest.mark.parametrize("content", ["\U0001f600 \u00e9", "\x00", "\u2028", "\ufeff"])
def test_any_character_is_kept(content: str) -> None:
    (message,) = read(body(messages=[{"role": "user", "content": content}])).messages
    assert message.text == content


def test_escaped_pairs_are_one_character() -> None:
    assert read(said(b'"\\ud83d\\ude00\\u0000"')).messages[0].text == "\U0001f600\x00"


def test_the_last_of_equal_keys_counts() -> None:
    request = read(raw(b'"n":0,"n":2,"messages":[{"role":"assistant","role":"user","content":"y"}]'))
    assert (request.n, request.messages) == (2, (UserMessage(content="y"),))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"{}", NO_MODEL),
        (b'{"model":null}', NO_MODEL),
        (b'{"model":""}', NO_MODEL),
        (b'{"model":1}', wrong_type("model", "a string", "an integer")),
        (b'{"model":["m"]}', wrong_type("model", "a string", "an array")),
        (b'{"model":false}', wrong_type("model", "a string", "a boolean")),
        (b'{"model":"m"}', missing("messages")),
        (b'{"model":"m","zzz":1}', missing("messages")),
        (b'{"model":"m","messages":null}', wrong_type("messages", "an array of objects", "null")),
        (b'{"model":"m","messages":"x"}', wrong_type("messages", "an array of objects", "a string")),
        (b'{"model":"m","messages":{}}', wrong_type("messages", "an array of objects", "an object")),
        (b'{"model":"m","messages":[]}', empty_array("messages")),
    ],
)
def test_model_and_messages_come_first(sent: bytes, expected: Refusal) -> None:
    assert refusal(sent) == expected


@pytest.mark.parametrize("model", ["../x", "/etc/passwd", "a\0b", "x" * 10_000, "https://example.org", "m\u043edel"])
def test_a_draft_hands_the_name_on_as_sent(model: str) -> None:
    """The look-up comes before anything else of the body is judged."""
    draft = Draft.read(msgspec.json.encode({"model": model, "messages": 5, "zzz": 1}))
    assert draft.model == model
