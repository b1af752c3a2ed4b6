"""A stage over the delta stream: what an answer cites is said with the end of its choice (contract 5.3, 6.8).

The text stays what the model wrote: a citation is visible as `[1]`, and its annotation says where that stands, and which
source it is. So text, tokens and their probabilities agree, and a stop string or a schema holds for what is shown.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from completionist.chat.deltas import Closed, Delta, Text
from completionist.chat.search import Source
from completionist.text.citations import Citation, Citations
from completionist.types.completion import Annotation, URLCitation


async def cited(deltas: AsyncIterator[Delta], sources: Sequence[Source], *, is_json: bool) -> AsyncGenerator[Delta]:
    """`deltas`, with annotations for what cites `sources`; `is_json`: answers are to be JSON. Raises what `deltas` raise."""
    choices: dict[int, Citations] = {}
    async for delta in deltas:
        match delta:
            case Text():
                choices.setdefault(delta.index, Citations(len(sources), is_json=is_json)).feed(delta.text)
                yield delta
            case Closed() if delta.index in choices:
                citations = choices.pop(delta.index).finish()
                yield msgspec.structs.replace(delta, annotations=tuple(_annotation(it, sources) for it in citations))
            case _:
                yield delta


def _annotation(citation: Citation, sources: Sequence[Source]) -> Annotation:
    source = sources[citation.number - 1]
    return Annotation(
        url_citation=URLCitation(start_index=citation.start, end_index=citation.end, title=source.title, url=source.url)
    )
