"""Where the library puts the scores of attention: at the beginning of a cache line, or two threads write to the same lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from cffi import FFI

from completionist.engine.llama.capi import Native, ffi
from completionist.engine.llama.library import find_library
from completionist.engine.llama.model import Model
from completionist.engine.llama.runner import Context

_LINE_BYTES = 64
_WATCH = FFI()
_WATCH.cdef("const char * ggml_get_name(const void *); void * ggml_get_data(const void *);")


class _Watched:
    """The library, whose contexts tell a callback of every tensor before it is computed."""

    def __init__(self, library: Any, callback: object) -> None:
        self._library = library
        self._callback = callback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def llama_init_from_model(self, model: object, params: Any) -> object:
        params.cb_eval = self._callback
        return self._library.llama_init_from_model(model, params)


@pytest.mark.model
@pytest.mark.parametrize("n_streams", [1, 4, 8, 16])
def test_scores_begin_with_a_cache_line(short_model_path: Path, n_streams: int) -> None:
    path = find_library().path
    ggml: Any = _WATCH.dlopen(str(path))
    places = set[int]()

    @_WATCH.callback("bool(void *, bool, void *)")
    def look(tensor: object, is_before: bool, _: object) -> bool:
        if is_before and _WATCH.string(ggml.ggml_get_name(tensor)) == b"kq-0":
            places.add(int(_WATCH.cast("uintptr_t", ggml.ggml_get_data(tensor))) % _LINE_BYTES)
        return False

    model = Model(Native(path), short_model_path)
    model.c = _Watched(model.c, ffi.cast("void *", int(_WATCH.cast("uintptr_t", cast("Any", look)))))
    context = Context(model, n_streams=n_streams, stream_tokens=512, threads=1, flash_attention="off")
    try:
        context.logits_behind(list(range(1, 65)), 0)
    finally:
        context.close()
    assert places == {0}
