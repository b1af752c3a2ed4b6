"""A prompt's segments → its tokens, with what its pictures and sounds take among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from completionist.engine.base import MediumSlot, Prompt, Segment, Sound
from completionist.engine.llama.insets import Inset, Insets
from completionist.engine.llama.model import Model
from completionist.engine.llama.projector import Piece, Projector


@dataclass(slots=True)
class Laid:
    """A prompt, laid out."""

    tokens: list[int] = field(default_factory=list)
    breakpoints: tuple[int, ...] = ()
    """Tokens before each, ascending."""
    insets: Insets = ()
    n_picture_tokens: int = 0
    """Markers included."""
    n_sound_tokens: int = 0
    """Markers included."""


def lay(prompt: Prompt, model: Model, projector: Projector | None) -> Laid:
    """Reads the files of its media. Raises `MediumFailed`, `OSError`."""
    pieces = [projector.lay_out(medium) for medium in prompt.media] if projector else []
    laid = Laid()
    run: list[Segment] = []
    for segment in prompt.segments:
        if isinstance(segment, MediumSlot):
            _write(laid, run, model)
            n_tokens = _insert(laid, pieces[segment.index])
            if isinstance(prompt.media[segment.index], Sound):
                laid.n_sound_tokens += n_tokens
            else:
                laid.n_picture_tokens += n_tokens
            laid.breakpoints += (len(laid.tokens),) if segment.is_breakpoint else ()
            run = []
        else:
            run.append(segment)
    _write(laid, run, model)
    return laid


def _write(laid: Laid, run: list[Segment], model: Model) -> None:
    tokens, breakpoints = model.tokenise(run, is_start=not laid.tokens)
    laid.breakpoints += tuple(len(laid.tokens) + n for n in breakpoints)
    laid.tokens += tokens


def _insert(laid: Laid, pieces: list[Piece]) -> int:
    """How many tokens it takes."""
    for piece in pieces:
        if piece.chunk is not None:
            start = len(laid.tokens)
            inset = Inset(start=start, n_tokens=len(piece.tokens), is_whole=piece.is_whole, chunk=piece.chunk)
            laid.insets += (inset,)
        laid.tokens += piece.tokens
    return sum(len(piece.tokens) for piece in pieces)
