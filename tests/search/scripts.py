"""What plays the model in tests of searching."""

from __future__ import annotations

from completionist.engine.base import PlainText, Prompt
from completionist.engine.scripted import Move

SAY = "Say: "
REQUEST = "\n\nAnswer in sentences. Behind each sentence write the bracketed number of the result that it comes from."
"""What stands behind a question whose answer may cite."""


def talkative(prompt: Prompt) -> list[list[Move]]:
    """Says what stands behind `SAY`, each choice cut into two tokens at another place; without it, the user's turn."""
    text = "".join(segment.text for segment in prompt.segments if isinstance(segment, PlainText))
    turn = text.rpartition("user\n")[2].rpartition("\nassistant")[0]
    _, found, said = turn.removesuffix(REQUEST).partition(SAY)
    if not found:
        return [[turn.encode()]] * prompt.n
    written = said.encode()
    cuts = [1 + i % max(1, len(written) - 1) for i in range(prompt.n)]
    return [[piece for piece in (written[:cut], written[cut:]) if piece] for cut in cuts]
