"""Speaking, and listening: processor time by the workers that do it, and what a stream of text beside them notices."""

from __future__ import annotations

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import soundfile

from bench.client import Ask, Load
from bench.harness import Sample, Session, main
from bench.prompts import chat
from bench.results import at_most
from bench.servers import Server, completionist
from bench.timing import gaps_s, percentile
from completionist.app import open_media
from completionist.errors import OperatorError
from completionist.settings import Settings
from completionist.text.clauses import Clauses

TITLE = "Speaking and listening"
_CELLS = 2048
_RATE_HZ = 24_000
_HEARD_S = 30
_SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}


def measure(session: Session) -> None:
    _check_installed()
    n_tokens = session.pick(80, 40)
    with completionist(session.options, streams=4, context_tokens=_CELLS) as server:
        cold, samples = _speak(server, n_tokens)
        spoken = session.repeat(lambda: _speak(server, n_tokens)[0])
        sound = _as_long_as(samples, session.pick(_HEARD_S, 5))
        _listen(server, sound)
        heard = session.repeat(lambda: _listen(server, sound))
        read = session.pick(300, 60)
        beside_ears = session.pairs(lambda: _beside(server, read, _about(sound)), lambda: _beside(server, read, None))
        told = session.pairs(
            lambda: _beside(server, read, _story(n_tokens) | _SPOKEN), lambda: _beside(server, read, _story(n_tokens))
        )
    session.value("first clause to first audio, CPU time", "s", [a["first"] for a in spoken], at_most(1.5))
    session.value("for the server's first spoken answer", "s", [cold["first"]])
    session.value("a second of speech, CPU time", "s", [a["second"] for a in spoken], at_most(1.0))
    session.value(
        f"hearing {len(sound) / _RATE_HZ:.0f} s of speech, CPU time", "s", [a["cpu"] for a in heard], at_most(12)
    )
    session.ratio("p95 inter-token time of a text: beside one who listens, and alone", beside_ears, "p95", at_most(1.5))
    session.ratio("beside an answer that is spoken, and the same in text", told, "p95", at_most(1.5))
    session.note("CPU time is that of the media workers; the model's own is left out")
    session.note(
        f"who listens asks about {_HEARD_S} s of sound again and again, for one token; hearing.model is the default"
    )


def _check_installed() -> None:
    media = open_media(Settings())
    for missing in (media.speaker.missing, media.listener.missing):
        if missing is not None:
            raise OperatorError(missing)


def _story(n_tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Tell a very long story about a lighthouse and the sea."}]
    return {"messages": messages, "temperature": 0, "max_tokens": n_tokens}


def _about(sound: Any) -> dict[str, Any]:  # noqa: ANN401 - samples
    file = io.BytesIO()
    soundfile.write(file, sound, _RATE_HZ, format="WAV")
    audio = {"data": base64.b64encode(file.getvalue()).decode(), "format": "wav"}
    content = [{"type": "input_audio", "input_audio": audio}]
    return {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 1}


def _speak(server: Server, n_tokens: int) -> tuple[Sample, Any]:
    """A spoken answer: CPU time from its first clause to its first sound, and for a second of speech; and its samples."""
    began_s, clause_s, first_s = _media_cpu_s(server), None, None
    clauses, pcm = Clauses(), bytearray()
    for delta in _deltas(server, _story(n_tokens) | _SPOKEN | {"stream": True}):
        audio = delta.get("audio") or {}
        if clause_s is None and clauses.feed(audio.get("transcript", "")):
            clause_s = _media_cpu_s(server)
        if "data" in audio:
            first_s = first_s or _media_cpu_s(server)
            pcm += base64.b64decode(audio["data"])
    if clause_s is None or first_s is None:
        raise RuntimeError("the answer was not spoken")
    seconds = len(pcm) / 2 / _RATE_HZ
    sample = {"first": first_s - clause_s, "second": (_media_cpu_s(server) - began_s) / seconds}
    return sample, np.frombuffer(pcm, "<i2")


def _listen(server: Server, sound: Any) -> Sample:  # noqa: ANN401 - samples
    before_s = _media_cpu_s(server)
    _post(server, _about(sound))
    return {"cpu": _media_cpu_s(server) - before_s}


def _as_long_as(samples: Any, seconds: int) -> Any:  # noqa: ANN401 - samples
    """Again and again, where it is shorter."""
    return np.resize(samples, seconds * _RATE_HZ)


def _beside(server: Server, n_tokens: int, other: Mapping[str, Any] | None) -> Sample:
    """A text, while `other` is asked again and again."""
    text = Ask(messages=chat("Tell a very long story about a lost dog."), max_tokens=n_tokens)
    with _again_and_again(server, other):
        load: Load = server.run([text])
    return {"p95": percentile(gaps_s(load.answers), 0.95)}


@contextmanager
def _again_and_again(server: Server, body: Mapping[str, Any] | None) -> Iterator[None]:
    if body is None:
        yield
        return
    is_over, has_begun = threading.Event(), threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            has_begun.set()
            _post(server, body)

    thread = threading.Thread(target=ask)
    thread.start()
    has_begun.wait()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _post(server: Server, body: Mapping[str, Any]) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        answer = _sent(connection, server, body)
        return answer.read()
    finally:
        connection.close()


def _deltas(server: Server, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        for line in _sent(connection, server, body):
            if line.startswith(b"data: {"):
                for choice in json.loads(line.removeprefix(b"data: "))["choices"]:
                    yield choice["delta"]
    finally:
        connection.close()


def _sent(connection: http.client.HTTPConnection, server: Server, body: Mapping[str, Any]) -> http.client.HTTPResponse:
    content = json.dumps({"model": server.model, **body})
    connection.request("POST", "/v1/chat/completions", content, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {answer.read()[:500].decode(errors='replace')}")
    return answer


def _media_cpu_s(server: Server) -> float:
    """Of all media workers so far."""
    total_s = 0.0
    for process in server.workers():
        try:
            if "completionist.media.worker" in process.cmdline():
                times = process.cpu_times()
                total_s += times.user + times.system
        except psutil.NoSuchProcess:
            continue
    return total_s


if __name__ == "__main__":
    main("media", TITLE, measure)
