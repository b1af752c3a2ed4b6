"""A dialect: how one family of models writes reasoning and calls, and reads tools and their results.

A dialect is data, found from the model's card (`dialects.choose`). Its parts:

    layout      markers, forms of calls, thinking: what grammar and parser are made from
    tools_in    whether the tools go to the template, or into the system text
    history     what the template's ways demand of earlier calls and results
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from completionist.dialects.harmony_channels import MessageChannels
from completionist.dialects.history import History, Turn, written_for
from completionist.dialects.parser import FormParser, Parser, warm_up
from completionist.engine.base import ControlToken, GrammarSpec, ModelCard, PlainText, Segment
from completionist.grammar.compile import Layout, ThinkingState, answer_grammar
from completionist.grammar.forms import Offer
from completionist.text.channels import Channels, as_control, split_controls


def segments_of(text: str, card: ModelCard) -> tuple[Segment, ...]:
    """`text` of ours as part of a prompt; control tokens in it are those of the model."""
    ids = Vocabulary(card).control_ids
    return tuple(ControlToken(ids[piece]) if is_token else PlainText(piece) for piece, is_token in split_controls(text))


class Vocabulary:
    """Which markers are control tokens of a model. User-defined tokens are text to the engine and to grammars."""

    def __init__(self, card: ModelCard) -> None:
        self.control_ids: Mapping[str, int] = {
            token.text: token.id for token in card.specials if token.kind == "control"
        }

    def marker(self, spelling: str) -> str:
        """The marker as it comes in the stream: a control token where the vocabulary has it, else text."""
        return as_control(spelling) if spelling in self.control_ids else spelling

    def has(self, *spellings: str) -> bool:
        return all(spelling in self.control_ids for spelling in spellings)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    name: str
    layout: Layout
    tools_in: Literal["template", "system"] = "template"
    history: History = History()
    is_message_wise: bool = False
    """Every stretch has a header that names its channel (harmony)."""

    def warm_up(self) -> None:
        """Make what all parsers share; until then the first of them takes long."""
        warm_up(self.layout.forms)

    def parser(self, offer: Offer | None, thinking: ThinkingState) -> Parser:
        """For one choice. `offer` None: nothing may be called, and what looks like a call is text."""
        splitter = (
            MessageChannels() if self.is_message_wise else Channels(self.layout.thinking, is_open=thinking == "open")
        )
        return FormParser(splitter, self.layout.forms, offer)

    def grammar(
        self,
        card: ModelCard,
        *,
        offer: Offer | None,
        schema: Mapping[str, Any] | None,
        thinking: ThinkingState,
    ) -> GrammarSpec | None:
        """The grammar of the whole answer (`grammar.compile`), None where it is free."""
        return answer_grammar(self.layout, Vocabulary(card).control_ids, offer=offer, schema=schema, thinking=thinking)

    def thinking_after(self, prompt: str) -> ThinkingState:
        """What the end of a rendered prompt says about the model's thinking."""
        thinking = self.layout.thinking
        if thinking is None:
            return "closed"
        if self.is_message_wise:  # the closing marker begins every message of the model
            return "possible"
        end = prompt.rstrip()
        if end.endswith(_spelled(thinking.opening).rstrip()):
            return "open"
        return "closed" if end.endswith(_spelled(thinking.closing).rstrip()) else "possible"

    def written_thinking(self, state: ThinkingState, *, wanted: Literal["open", "closed"]) -> tuple[str, ThinkingState]:
        """What has to be written behind a prompt so that thinking is open, or is over before it began; and the state then.

        A family with headers opens its messages itself: there the grammar decides which may come.
        """
        thinking = self.layout.thinking
        if thinking is None or state == wanted or (state == "closed" and wanted == "open"):
            return "", state
        if self.is_message_wise:
            return "", wanted if wanted == "closed" else state
        opening = f"{thinking.opening}\n" if state == "possible" else ""
        return (opening, "open") if wanted == "open" else (f"{opening}{self.thinking_end()}", "closed")

    def thinking_end(self) -> str:
        """What ends thinking that has gone on for too long; empty for a model that does not think."""
        return f"\n{self.layout.thinking.closing}\n\n" if self.layout.thinking else ""

    def write(self, turns: Sequence[Turn]) -> list[Turn]:
        """Turns as this family's template takes them."""
        return written_for(self.history, turns)

    def messages(self, turns: Sequence[Turn]) -> list[Mapping[str, Any]]:
        """The template's variable of that name, from turns that were written for it."""
        return [turn.as_message(has_text_arguments=self.history.has_text_arguments) for turn in turns]


def _spelled(marker: str) -> str:
    return "".join(piece for piece, _ in split_controls(marker))
