"""Files with pixels, and a server that is killed over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from completionist.local.template import FALLBACK
from completionist.media.scratch import Scratch
from completionist.settings import EngineSettings, ServerSettings, Settings
from tests.abuse.served import serving_file
from tests.engine.tiny_models import WIDTH, write_plain
from tests.media.test_pictures import image_part, png
from tests.support.process import server_process, short
from tests.support.projectors import write_projector

SETTINGS = Settings(
    server=ServerSettings(port=0), engine=EngineSettings(threads=1, streams=1, context_tokens=256, cache_bytes=0)
)


def test_what_a_killed_server_left_goes_when_the_next_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only that: what a process still holds stays, and what is not ours."""
    file = write_plain(tmp_path / "tiny.gguf", controls=("<|im_start|>", "<|im_end|>"), chat_template=FALLBACK)
    write_projector(tmp_path / "mmproj-tiny.gguf", "phi4", WIDTH)
    messages: Any = [{"role": "user", "content": [image_part(png(1, 1))]}]
    with serving_file(file, SETTINGS, tmp_path / "server") as served:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key="x", max_retries=0) as client:
            client.chat.completions.create(model="tiny", messages=messages, max_tokens=1)
        served.process.kill()
        served.process.wait()
    temporary = tmp_path / "server" / "temporary"
    (left,) = temporary.iterdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    (temporary / "completionist-media-of-mine").write_text("no directory")
    held = Scratch()
    held.open()
    (left / "pixels").write_bytes(b"x")
    with server_process(short):
        assert {path.name for path in temporary.iterdir()} == {"completionist-media-of-mine", held.path.name}
    held.close()
    assert not held.path.exists()
