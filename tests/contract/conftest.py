"""One scripted server and the real model for all cases, and a way to ask both that keeps what came over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from completionist.settings import DEFAULT_MODEL
from tests.contract.cases import Case, play
from tests.contract.shapes import Stream, read_stream
from tests.support.ask import official
from tests.support.server import MODEL, running_server


class Asker:
    """Asks the cases of one engine."""

    def __init__(self, client: openai.OpenAI, model: str, **defaults: Any) -> None:
        self._completions = client.chat.completions
        self._model = model
        self._defaults = defaults

    def fields(self, case: Case, **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": f"Tell me of the sea, in JSON or not. {case.key}"}]
        return {"model": self._model, "messages": messages, **self._defaults, **case.fields, **more}

    def plain(self, case: Case) -> str:
        """The body of a plain answer."""
        return self._completions.with_raw_response.create(**self.fields(case)).text

    def streamed(self, case: Case, **options: bool) -> Stream:
        fields = self.fields(case, stream=True, **({"stream_options": options} if options else {}))
        with self._completions.with_streaming_response.create(**fields) as response:
            return read_stream(response.iter_lines())


@pytest.fixture(scope="package")
def scripted() -> Iterator[Asker]:
    with (
        running_server(play) as server,
        official(server.base_url, api_key="x", max_retries=0) as client,
    ):
        yield Asker(client, MODEL)


@pytest.fixture(scope="package")
def real(real_url: str) -> Iterator[Asker]:
    with official(real_url, api_key="x", max_retries=0) as client:
        yield Asker(client, DEFAULT_MODEL, temperature=0, max_tokens=6)
