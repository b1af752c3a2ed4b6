"""Where sequences lie: those that generate side by side, and no hole between any."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest

from completionist.engine.llama.sequence import Sequence
from completionist.engine.llama.streams import Streams
from tests.engine.asking import request

N_STREAMS = 6


def streams_of(layout: str) -> Streams:
    """D generates, P has a prompt under way, and _ is free."""
    context: Any = SimpleNamespace(n_streams=N_STREAMS)
    streams = Streams(context)
    for stream, kind in enumerate(layout):
        if kind != "_":
            sequence = request(stream, tokens=[1, 2, 3]).start()
            sequence.n_cells = 3 if kind == "D" else 0
            streams.take(sequence, stream)
    return streams


def layout_of(streams: Streams) -> str:
    holders = [streams.holder(stream) for stream in range(N_STREAMS)]
    return "".join("_" if one is None else "D" if one.is_decoding else "P" for one in holders)


def move(streams: Streams, sequence: Sequence, stream: int) -> None:
    """A holder of `stream` gets the one that is left."""
    holder, left = streams.holder(stream), sequence.stream
    for one in (sequence, holder):
        if one is not None:
            streams.release(one)
    streams.take(sequence, stream)
    if holder is not None:
        streams.take(holder, left)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DPDD__", "PDDD__"),
        ("DDPD__", "DDDP__"),
        ("DPPDD_", "PPDDD_"),
        ("DP_D__", "DD_P__"),
        ("D_DP__", "DD_P__"),
        ("P_P___", "PP____"),
        ("DDDPP_", None),
        ("_PDDP_", None),
        ("___D__", None),
        ("______", None),
    ],
)
def test_one_move_brings_those_that_generate_together_or_closes_a_hole(before: str, after: str | None) -> None:
    streams = streams_of(before)
    better = streams.better_place()
    if better is not None:
        move(streams, *better)
    assert (better and layout_of(streams)) == after


def test_some_moves_later_there_is_nothing_to_gain() -> None:
    for kinds in itertools.product("DP_", repeat=N_STREAMS):
        streams = streams_of("".join(kinds))
        for _ in range(N_STREAMS):
            if better := streams.better_place():
                move(streams, *better)
        layout = layout_of(streams)
        assert sorted(layout) == sorted(kinds)
        assert streams.better_place() is None
        assert re.fullmatch(r"_*P*D*P*_*", layout)
