"""A prompt's segments → its tokens, with what its pictures take among them."""

from __future__ import annotations

from dataclasses import dataclass, field

from completionist.engine.base import PictureSlot, Prompt, Segment
from completionist.engine.llama.model import Model
from completionist.engine.llama.pictures import Pictures, Shown
from completionist.engine.llama.projector import Piece, Projector


@dataclass(slots=True)
class Laid:
    """A prompt, laid out."""

    tokens: list[int] = field(default_factory=list)
    breakpoints: tuple[int, ...] = ()
    """Tokens before each, ascending."""
    pictures: Pictures = ()
    n_picture_tokens: int = 0
    """Markers included."""


def lay(prompt: Prompt, model: Model, projector: Projector | None) -> Laid:
    """Reads the files of its pictures. Raises `PictureFailed`, `OSError`."""
    pieces = [projector.lay_out(picture) for picture in prompt.pictures] if projector else []
    laid = Laid()
    run: list[Segment] = []
    for segment in prompt.segments:
        if isinstance(segment, PictureSlot):
            _write(laid, run, model)
            _show(laid, pieces[segment.index])
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


def _show(laid: Laid, pieces: list[Piece]) -> None:
    for piece in pieces:
        if piece.chunk is not None:
            start = len(laid.tokens)
            shown = Shown(start=start, n_tokens=len(piece.tokens), is_whole=piece.is_whole, chunk=piece.chunk)
            laid.pictures += (shown,)
        laid.tokens += piece.tokens
        laid.n_picture_tokens += len(piece.tokens)
