"""Pictures in messages to a model that sees: a tiny one, its projector beside it, through the real server and client.

Both have random weights: they see nothing, on the path that models take which do.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import PIL.Image
import pytest

from completionist.engine.client import EngineClient
from completionist.engine.launch import Beside
from completionist.engine.llama.launch import launch
from completionist.local.template import FALLBACK
from completionist.models.installed import LOCAL_PUBLISHER, ModelFile
from completionist.models.projectors import with_projector
from completionist.registry.model import Model, Running
from completionist.settings import (
    DocumentSettings,
    EngineSettings,
    ImageSettings,
    ModerationSettings,
    ServedSettings,
    ServerSettings,
    Settings,
)
from completionist.stock import running
from tests.engine.tiny_models import WIDTH, write_plain
from tests.media.test_pictures import BAD, PARSE, TEXT, URL, image_part, png
from tests.media.test_speech import client_of
from tests.moderation.test_judge import play
from tests.support.ask import official
from tests.support.documents import PDF, file_part, pdf
from tests.support.projectors import write_projector
from tests.support.real import running_model
from tests.support.server import MODEL, RunningServer, eventually, running_server

SETTINGS = Settings(
    server=ServerSettings(port=0),
    images=ImageSettings(max_pixels=8_000_000, max_images=4),
    documents=DocumentSettings(max_page_pictures=3, page_picture_side=256),
    moderation=ModerationSettings(model=MODEL, timeout_s=30),
)
CONTEXT_TOKENS = 600


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serves `tiny`, which sees pictures of any size: a token for every 128 by 128 pixels. Nothing holds its loop up."""
    directory = tmp_path_factory.mktemp("models")
    path = write_plain(directory / "tiny.gguf", controls=("<|im_start|>", "<|im_end|>"), chat_template=FALLBACK)
    write_projector(directory / "mmproj-tiny.gguf", "phi4", WIDTH)
    file = ModelFile(path=path, name="tiny", publisher=LOCAL_PUBLISHER, sha256=None, added_at_s=0)
    tiny = seeing(with_projector(file, None))
    with running_server(play, settings=SETTINGS, others=lambda: [tiny]) as server:
        yield server


def seeing(file: ModelFile) -> Model:
    settings = EngineSettings(threads=1, streams=4, context_tokens=CONTEXT_TOKENS)

    async def start(_: Beside) -> Running:
        how = await asyncio.to_thread(launch, file.path, file.name, settings, projector_path=file.projector_path)
        engine = EngineClient(how)
        await engine.start()
        return await running(engine, ServedSettings())

    return Model(name=file.name, version=1, created=0, owned_by=file.publisher, keep_alive_s=math.inf, start=start)


def noise(seed: int, width: int, height: int, kind: str = "PNG", *, of: int = 256) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, of, (height, width, 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def asked(server: RunningServer, *parts: dict[str, Any], **fields: Any) -> Any:
    messages = [{"role": "user", "content": [TEXT, *parts]}]
    fields = {"model": "tiny", "temperature": 0, "max_tokens": 6, "messages": messages, **fields}
    with client_of(server) as client:
        answer = client.chat.completions.create(**fields)
        return list(answer) if fields.get("stream") else answer


def refusal(server: RunningServer, *parts: dict[str, Any]) -> tuple[str | None, str | None, str]:
    with pytest.raises(openai.BadRequestError) as caught:
        asked(server, *parts)
    body: Any = caught.value.body
    return body["code"], body["param"], body["message"]


def image_tokens(answer: Any) -> int:
    details = answer.usage.prompt_tokens_details.model_dump()
    assert details["text_tokens"] + details["image_tokens"] + details["audio_tokens"] == answer.usage.prompt_tokens
    return int(details["image_tokens"])


def is_empty(server: RunningServer) -> bool:
    """Whether no picture is left in a file."""
    return not list(server.media.handover.directory.glob("*"))


def test_a_picture_is_answered_plain_and_streamed(eyes: RunningServer) -> None:
    part = image_part(noise(1, 640, 512))
    plain = asked(eyes, part)
    assert image_tokens(plain) == 5 * 4
    chunks = asked(eyes, part, stream=True, stream_options={"include_usage": True})
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == plain.choices[0].message.content
    assert image_tokens(chunks[-1]) == 5 * 4
    assert chunks[-1].usage.prompt_tokens == plain.usage.prompt_tokens
    eventually(lambda: is_empty(eyes))


def test_the_same_picture_is_found_again_however_it_is_packed(eyes: RunningServer) -> None:
    """What counts is its pixels."""
    first = asked(eyes, image_part(noise(2, 384, 384)))
    again = asked(eyes, image_part(noise(2, 384, 384, "WEBP"), "webp"))
    other = asked(eyes, image_part(noise(3, 384, 384)))
    assert again.choices == first.choices
    n_before = first.usage.prompt_tokens_details.cached_tokens
    assert again.usage.prompt_tokens_details.cached_tokens >= n_before + 9
    assert other.usage.prompt_tokens_details.cached_tokens < first.usage.prompt_tokens - 9
    assert other.choices[0].message.content != first.choices[0].message.content


def test_detail_is_the_budget_of_tokens(eyes: RunningServer) -> None:
    """`low` fits 512 by 512, `high` 2048 by 2048; nothing is enlarged."""
    large = noise(4, 3072, 1024, "JPEG", of=9)
    tokens = {
        detail: image_tokens(asked(eyes, image_part(large, "jpeg", detail=detail), max_tokens=1))
        for detail in ("low", "high", "auto", "original")
    }
    assert tokens == {"low": 4 * 1, "high": 16 * 5, "auto": 16 * 5, "original": 24 * 8}
    small = noise(5, 256, 128)
    assert {image_tokens(asked(eyes, image_part(small, detail=detail))) for detail in tokens} == {2}


def test_several_pictures_stand_where_they_were_put(eyes: RunningServer) -> None:
    one, two = (image_part(noise(seed, 256, 256)) for seed in (6, 7))
    between = {"type": "text", "text": " and then "}
    first, swapped = asked(eyes, one, between, two), asked(eyes, two, between, one)
    assert image_tokens(first) == image_tokens(swapped) == 8
    assert first.choices[0].message.content != swapped.choices[0].message.content
    earlier = [
        {"role": "user", "content": [TEXT, one]},
        {"role": "assistant", "content": "A tide gauge."},
        {"role": "user", "content": [two, TEXT]},
    ]
    assert image_tokens(asked(eyes, messages=earlier)) == 8


def test_a_prompt_that_is_too_long_with_its_pictures_is_refused(eyes: RunningServer) -> None:
    huge = [image_part(noise(seed, 2048, 2048, "JPEG", of=9), "jpeg") for seed in (8, 9, 10)]
    code, param, message = refusal(eyes, *huge)
    assert (code, param) == ("context_length_exceeded", "messages")
    n_text = asked(eyes).usage.prompt_tokens
    assert f"{CONTEXT_TOKENS} tokens" in message
    assert f"{n_text + 3 * 256} tokens" in message
    assert is_empty(eyes)


PAGE_TOKENS = 2 * 2
"""Of 192 by 256 pixels, a page of 600 by 800 points."""


def plan(*pages: str) -> dict[str, Any]:
    return file_part("plan.pdf", pdf(pages), PDF)


def test_pages_of_a_pdf_are_read_and_seen(eyes: RunningServer) -> None:
    part = plan("High water", "Low water")
    answer = asked(eyes, part)
    assert image_tokens(answer) == 2 * PAGE_TOKENS
    text = "\n\n[File: plan.pdf]\n[Page 1]\nHigh water\n\n[Page 2]\nLow water\n\n[End of file: plan.pdf]"
    assert answer.usage.prompt_tokens == asked(eyes).usage.prompt_tokens + len(text) + 2 * PAGE_TOKENS
    again = asked(eyes, part)
    assert again.choices == answer.choices
    assert again.usage.prompt_tokens_details.cached_tokens > len(text)
    eventually(lambda: is_empty(eyes))


def test_what_is_on_a_page_and_no_text_is_seen(eyes: RunningServer) -> None:
    """The same words in another place of the page make another picture, which no cache has."""
    moved = pdf(["Tide"]).replace(b" 50 700 Td", b" 90 200 Td")
    first, again, other = (
        asked(eyes, part).usage for part in (plan("Tide"), plan("Tide"), file_part("plan.pdf", moved, PDF))
    )
    assert first.prompt_tokens == again.prompt_tokens == other.prompt_tokens
    assert again.prompt_tokens_details.cached_tokens >= other.prompt_tokens_details.cached_tokens + PAGE_TOKENS


def test_the_first_pages_of_a_request_are_seen_and_all_are_read(eyes: RunningServer) -> None:
    one, two = plan("a", "b"), plan("c", "d", "e")
    assert image_tokens(asked(eyes, one, two)) == 3 * PAGE_TOKENS
    n_read = asked(eyes, two).usage.prompt_tokens - 3 * PAGE_TOKENS
    stripe = pdf(["c", "d", "e"]).replace(b"[0 0 600 800]", b"[0 0 600 2.0]")
    striped = asked(eyes, file_part("plan.pdf", stripe, PDF))
    assert striped.usage.prompt_tokens_details.model_dump()["image_tokens"] is None
    assert striped.usage.prompt_tokens <= n_read


def test_a_breakpoint_on_a_file_is_behind_its_last_page(eyes: RunningServer) -> None:
    part = {**plan("Slack water"), "prompt_cache_breakpoint": {"mode": "explicit"}}
    fields = {"extra_body": {"prompt_cache_options": {"mode": "explicit"}}}
    asked(eyes, part, {"type": "text", "text": "One."}, **fields)
    second = asked(eyes, part, {"type": "text", "text": "Two."}, **fields)
    n_alone = asked(eyes).usage.prompt_tokens
    assert second.usage.prompt_tokens_details.cached_tokens > n_alone + PAGE_TOKENS


def test_input_that_is_to_be_blocked_is_text_alone(eyes: RunningServer) -> None:
    block = {"extra_body": {"moderation": {"model": MODEL, "policy": {"input": {"mode": "block"}}}}}
    n_seen, n_read = (asked(eyes, plan("High"), **fields).usage.prompt_tokens for fields in ({}, block))
    assert n_read == n_seen - PAGE_TOKENS - len("\n")
    with pytest.raises(openai.BadRequestError, match="'block'"):
        asked(eyes, image_part(png(1, 1)), **block)


def test_a_pdf_that_cannot_be_read_leaves_nothing(eyes: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError):
        asked(eyes, plan("a"), file_part("broken.pdf", b"%PDF-1.4 no", PDF))
    eventually(lambda: is_empty(eyes))


def test_a_breakpoint_on_a_picture_is_kept(eyes: RunningServer) -> None:
    part = {**image_part(noise(11, 256, 256)), "prompt_cache_breakpoint": {"mode": "explicit"}}
    fields = {"extra_body": {"prompt_cache_options": {"mode": "explicit"}}}
    first = asked(eyes, part, {"type": "text", "text": "One."}, **fields)
    second = asked(eyes, part, {"type": "text", "text": "Two."}, **fields)
    written = first.usage.prompt_tokens_details.model_dump()["cache_write_tokens"]
    assert 0 < written == second.usage.prompt_tokens_details.cached_tokens < first.usage.prompt_tokens


@pytest.mark.parametrize(("content", "code"), BAD.values(), ids=BAD)
def test_what_is_no_picture_is_refused_and_the_model_goes_on(eyes: RunningServer, content: bytes, code: str) -> None:
    assert refusal(eyes, image_part(content))[:2] == (code, URL)
    assert is_empty(eyes)


def test_row_35_one_pixel_is_a_picture_and_a_stripe_is_none(eyes: RunningServer) -> None:
    assert image_tokens(asked(eyes, image_part(png(1, 1)))) == 1
    assert image_tokens(asked(eyes, image_part(noise(12, 1400, 7), detail="original"))) == 11
    assert refusal(eyes, image_part(noise(12, 1400, 6)))[:2] == (PARSE, URL)


@pytest.mark.parametrize("at_s", [0.01, 0.03, 0.1])
def test_who_leaves_leaves_nothing(eyes: RunningServer, at_s: float) -> None:
    part = image_part(noise(14, 2048, 1024, "JPEG", of=9), "jpeg")
    messages: Any = [{"role": "user", "content": [part]}]
    with client_of(eyes) as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=at_s).chat.completions.create(model="tiny", messages=messages)
    eventually(lambda: is_empty(eyes))
    with client_of(eyes) as client:
        next(client.chat.completions.create(model="tiny", messages=messages, stream=True))
    eventually(lambda: is_empty(eyes))
    assert asked(eyes).usage.completion_tokens == 6


def test_a_model_that_does_not_see_says_so_still(eyes: RunningServer) -> None:
    messages: Any = [{"role": "user", "content": [image_part(png(1, 1))]}]
    with client_of(eyes) as client, pytest.raises(openai.BadRequestError, match="only supported by certain models"):
        client.chat.completions.create(model="scripted", messages=messages)


@pytest.mark.large
def test_the_135m_model_with_a_projector_of_random_weights(tmp_path: Path) -> None:
    """One size for all pictures: `detail` changes nothing, and `original` is refused."""
    projector = write_projector(tmp_path / "mmproj.gguf", "mlp", 576)
    name = "smollm2-135m-instruct"
    with (
        running_model(tmp_path / "log", options=f'[served."{name}"]\nprojector = "{projector}"\n') as url,
        official(url, api_key="none", max_retries=0) as client,
    ):

        def ask(*parts: dict[str, Any]) -> Any:
            messages: Any = [{"role": "user", "content": [TEXT, *parts]}]
            return client.chat.completions.create(model=name, messages=messages, temperature=0, max_tokens=12)

        text = ask()
        first, again, low = (ask(image_part(noise(1, 700, 500), detail=detail)) for detail in ("high", "high", "low"))
        assert image_tokens(first) == image_tokens(low) == 16
        assert first.usage.prompt_tokens == text.usage.prompt_tokens + 16
        assert again.choices == first.choices
        assert again.usage.prompt_tokens_details.cached_tokens > text.usage.prompt_tokens
        assert ask().choices == text.choices
        with pytest.raises(openai.BadRequestError, match="'original'"):
            ask(image_part(noise(1, 7, 5), detail="original"))
