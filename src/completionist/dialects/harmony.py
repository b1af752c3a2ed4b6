"""gpt-oss. Words in bars are control tokens; the prompt ends with `<|start|>assistant`.

    <|channel|>analysis<|message|>The user wants the tide.<|end|>
    <|start|>assistant<|channel|>commentary to=functions.get_tide <|constrain|>json<|message|>{"harbour": "Brest"}<|call|>

    <|start|>assistant<|channel|>final<|message|>High water is at 12:40.<|return|>

(without the line ends). Analysis is reasoning, commentary without a recipient and final are the visible text. A call ends the
turn, so there is one to a turn; the template takes but one in its history too.
"""

from __future__ import annotations

from completionist.dialects.base import Dialect, Vocabulary
from completionist.dialects.harmony_channels import CALL_MIDDLE, CALL_OPENING, CHANNEL, END, MESSAGE, START
from completionist.dialects.history import History
from completionist.engine.base import ModelCard
from completionist.grammar.compile import Layout
from completionist.grammar.forms import Form
from completionist.text.channels import Thinking

_SPELLINGS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|constrain|>")


def harmony(card: ModelCard) -> Dialect | None:
    if not Vocabulary(card).has(*_SPELLINGS):
        return None
    form = Form(opening=CALL_OPENING, middle=CALL_MIDDLE, max_calls=1)
    return Dialect(
        name="harmony",
        layout=Layout(
            forms=(form,),
            thinking=Thinking(opening=f"{CHANNEL}analysis{MESSAGE}", closing=f"{END}{START}assistant"),
            content_opening=f"{CHANNEL}final{MESSAGE}",
        ),
        history=History(max_calls_per_turn=1),
        is_message_wise=True,
    )
