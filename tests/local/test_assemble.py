"""Token events to deltas: order, text, counts, finish reasons, faults."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completionist.chat.deltas import Closed, Delta, Opened, Text, Totals
from completionist.engine.base import (
    Accepted,
    End,
    EndReason,
    Evaluated,
    Failed,
    Fault,
    PromptTooLong,
    QueueFull,
    Token,
    TokenEvent,
    WorkerFault,
    WorkerLost,
)
from completionist.engine.mailbox import Mailbox
from completionist.errors import APIError, ContextLengthExceeded, EngineLost, EngineRestarting, Overloaded, ServerError
from completionist.local.assemble import Assembly
from completionist.types.completion import CompletionTokensDetails, FinishReason, PromptTokensDetails, Usage
from tests.local.reading import reading

N_PROMPT = 7
BEGIN: list[TokenEvent] = [Accepted(prompt_tokens=N_PROMPT), Evaluated(cached_tokens=3, cache_write_tokens=4)]


def run(frames: list[list[TokenEvent]], *, n: int = 1, stop: tuple[str, ...] = ()) -> tuple[list[Delta], list[int]]:
    """All deltas of `frames`, and the choices that the engine was told to stop."""
    stopped: list[int] = []
    assembly = Assembly(n, reading(*stop), Mailbox(n_choices=n, stop=stopped.append, cancel=lambda: None))
    return [delta for frame in frames for delta in assembly.feed(frame)], stopped


def tokens(*pieces: bytes, index: int = 0) -> list[TokenEvent]:
    return [Token(index, 100 + i, piece) for i, piece in enumerate(pieces)]


def singly(events: list[TokenEvent]) -> list[list[TokenEvent]]:
    return [[event] for event in events]


def usage(completion_tokens: int) -> Usage:
    return Usage(
        prompt_tokens=7,
        completion_tokens=completion_tokens,
        total_tokens=7 + completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=3, cache_write_tokens=4),
        completion_tokens_details=CompletionTokensDetails(),
    )


def text_of(deltas: list[Delta], index: int = 0) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text) and delta.index == index)


def test_a_plain_answer() -> None:
    end_of_turn = Token(0, 2, b"")
    deltas, stopped = run(singly([*BEGIN, *tokens(b"High", b" water"), end_of_turn, End(0, "end_of_turn")]))
    assert deltas == [Opened(0, N_PROMPT), Text(0, "High"), Text(0, " water"), Closed(0, "stop"), Totals(usage(3))]
    assert stopped == []


def test_an_empty_answer_opens_and_closes() -> None:
    deltas, _ = run(singly([*BEGIN, Token(0, 2, b""), End(0, "end_of_turn")]))
    assert deltas == [Opened(0, N_PROMPT), Closed(0, "stop"), Totals(usage(1))]


def test_choices_are_opened_in_order_before_anything_else_and_counted_together() -> None:
    events = [
        *BEGIN,
        *tokens(b"b", index=1),
        *tokens(b"a", b"a", index=0),
        End(1, "length"),
        *tokens(b"c", index=2),
        End(2, "length"),
        End(0, "end_of_turn"),
    ]
    deltas, _ = run(singly(events), n=3)
    assert deltas[:3] == [Opened(0, N_PROMPT), Opened(1, N_PROMPT), Opened(2, N_PROMPT)]
    assert deltas[-1] == Totals(usage(4))
    assert [text_of(deltas, i) for i in range(3)] == ["aa", "b", "c"]
    assert [d for d in deltas if isinstance(d, Closed)] == [Closed(1, "length"), Closed(2, "length"), Closed(0, "stop")]


def test_tokens_that_come_together_make_one_text_per_choice() -> None:
    frame = [*tokens(b"a", b"b", index=0), *tokens(b"x", index=1), *tokens(b"c", index=0), End(0, "length")]
    deltas, _ = run([BEGIN, frame, [End(1, "length")]], n=2)
    assert deltas == [
        *(Opened(0, N_PROMPT), Opened(1, N_PROMPT)),
        *(Text(0, "abc"), Closed(0, "length"), Text(1, "x")),
        *(Closed(1, "length"), Totals(usage(4))),
    ]


@pytest.mark.parametrize(
    ("reason", "finish_reason"), [("end_of_turn", "stop"), ("length", "length"), ("stopped", "stop")]
)
def test_finish_reasons(reason: EndReason, finish_reason: FinishReason) -> None:
    deltas, _ = run(singly([*BEGIN, *tokens(b"a"), End(0, reason)]))
    assert Closed(0, finish_reason) in deltas


def test_a_stop_string_ends_the_choice_at_once_and_stops_the_engine() -> None:
    assembly_frames = singly([*BEGIN, *tokens(b"one", b" ST", b"OP two")])
    deltas, stopped = run(assembly_frames, stop=("STOP",))
    assert deltas == [Opened(0, N_PROMPT), Text(0, "one"), Text(0, " "), Closed(0, "stop")]
    assert stopped == [0]


def test_a_trimmed_stop_string_is_counted_and_tokens_after_it_are_not() -> None:
    late = [*tokens(b" more", b" and more"), End(0, "stopped")]
    deltas, stopped = run(singly([*BEGIN, *tokens(b"one ", b"ST", b"OP"), *late]), stop=("STOP",))
    assert deltas[-2:] == [Closed(0, "stop"), Totals(usage(3))]
    assert text_of(deltas) == "one "
    assert stopped == [0]


def test_a_stop_string_in_the_last_token_before_the_limit_is_a_stop() -> None:
    deltas, _ = run([BEGIN, [*tokens(b"one", b"."), End(0, "length")]], stop=(".",))
    assert deltas == [Opened(0, N_PROMPT), Text(0, "one"), Closed(0, "stop"), Totals(usage(2))]


def test_text_that_was_held_back_is_shown_at_the_end() -> None:
    deltas, _ = run(singly([*BEGIN, *tokens(b"a ST"), End(0, "length")]), stop=("STOP",))
    assert deltas == [Opened(0, N_PROMPT), Text(0, "a "), Text(0, "ST"), Closed(0, "length"), Totals(usage(1))]


def test_a_character_cut_off_by_the_limit_is_a_replacement_character() -> None:
    deltas, _ = run(singly([*BEGIN, *tokens(b"a\xf0\x9f"), End(0, "length")]))
    assert text_of(deltas) == "a\ufffd"


def test_a_stop_string_across_characters_that_span_tokens() -> None:
    word = "山川"
    pieces = [bytes([byte]) for byte in f"a{word}b".encode()]
    deltas, stopped = run(singly([*BEGIN, *tokens(*pieces)]), stop=(word,))
    assert (text_of(deltas), stopped) == ("a", [0])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (PromptTooLong(20, 16), ContextLengthExceeded),
        (QueueFull(), Overloaded),
        (WorkerLost(3.0, started=False), EngineRestarting),
        (WorkerLost(3.0, started=True), EngineLost),
        (WorkerFault("a reason at /some/path"), ServerError),
    ],
)
def test_faults_become_errors_of_the_wire(fault: Fault, error: type[APIError]) -> None:
    with pytest.raises(error) as raised:
        run([[Failed(fault)]])
    assert "/some/path" not in raised.value.message


def test_what_a_fault_says_reaches_the_client() -> None:
    with pytest.raises(ContextLengthExceeded, match=r"16 tokens\. However, your messages resulted in 20 tokens"):
        run([[Failed(PromptTooLong(20, 16))]])
    with pytest.raises(Overloaded) as raised:
        run([[Failed(WorkerLost(2.5, started=False))]])
    assert raised.value.headers == {"retry-after": "3", "x-should-retry": "true"}


def test_text_before_a_fault_is_not_lost() -> None:
    assembly = Assembly(1, reading(), Mailbox(n_choices=1, stop=lambda _: None, cancel=lambda: None))
    deltas = assembly.feed([*BEGIN, *tokens(b"half"), Failed(WorkerLost(1.0, started=True))])
    assert [next(deltas), next(deltas)] == [Opened(0, N_PROMPT), Text(0, "half")]
    with pytest.raises(EngineLost):
        next(deltas)


@given(st.text("aST OP山", max_size=30), st.data())
def test_text_and_counts_do_not_depend_on_how_events_come_together(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[i:j] for i, j in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    events = [*BEGIN, *tokens(*pieces), End(0, "length")]
    frames_at = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4)))
    frames = [events[i:j] for i, j in zip([0, *frames_at], [*frames_at, len(events)], strict=True)]
    stop = ("STOP", "山O")
    apart, _ = run(singly(events), stop=stop)
    together, _ = run(frames, stop=stop)
    assert text_of(together) == text_of(apart)
    assert [d for d in together if not isinstance(d, Text)] == [d for d in apart if not isinstance(d, Text)]
