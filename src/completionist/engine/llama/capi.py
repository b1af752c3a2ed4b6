"""llama.cpp's C API and mtmd's through `cffi`, for one pinned version and no other.

`capi.h` and `mtmd.h` beside this file declare the functions and structs we call, copied from the headers of that version.
Structs change within weeks, and a wrong layout does not fail: everything loads and reads as nonsense. So a library is used only
if its version and every field of its default parameters are the known ones.

Moving to another version: replace the declarations by those of its `llama.h` and `mtmd.h`, run

    python -m completionist.engine.llama.capi LIBRARY

and, where the observed defaults make sense, put them into `KNOWN_VERSION`, `KNOWN_MODEL_DEFAULTS`,
`KNOWN_CONTEXT_DEFAULTS` and `KNOWN_PROJECTOR_DEFAULTS`.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

from cffi import FFI

from completionist.errors import OperatorError

KNOWN_VERSION = "0.6.0-dev"

Defaults: TypeAlias = dict[str, float | str | None]

KNOWN_MODEL_DEFAULTS: Defaults = {
    "devices": None,
    "tensor_buft_overrides": None,
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "main_gpu": 0,
    "tensor_split": None,
    "progress_callback": None,
    "progress_callback_user_data": None,
    "kv_overrides": None,
    "vocab_only": False,
    "check_tensors": False,
    "use_extra_bufts": True,
    "no_host": False,
    "no_alloc": False,
    "load_mtp": False,
}
KNOWN_CONTEXT_DEFAULTS: Defaults = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_rs_seq": 0,
    "n_outputs_max": 0,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    "ctx_type": 0,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": -1,
    "rope_freq_base": 0.0,
    "rope_freq_scale": 0.0,
    "yarn_ext_factor": -1.0,
    "yarn_attn_factor": -1.0,
    "yarn_beta_fast": -1.0,
    "yarn_beta_slow": -1.0,
    "yarn_orig_ctx": 0,
    "defrag_thold": -1.0,
    "cb_eval": None,
    "cb_eval_user_data": None,
    "type_k": 1,
    "type_v": 1,
    "moe_cache_size": 0,
    "abort_callback": None,
    "abort_callback_data": None,
    "embeddings": False,
    "offload_kqv": True,
    "no_perf": True,
    "op_offload": True,
    "swa_full": True,
    "kv_unified": False,
    "samplers": None,
    "n_samplers": 0,
    "ctx_other": None,
}
KNOWN_PROJECTOR_DEFAULTS: Defaults = {
    "use_gpu": True,
    "device": None,
    "print_timings": True,
    "n_threads": 4,
    "image_marker": None,
    "media_marker": "<__media__>",
    "flash_attn_type": -1,
    "warmup": True,
    "image_min_tokens": -1,
    "image_max_tokens": -1,
    "cb_eval": None,
    "cb_eval_user_data": None,
    "batch_max_tokens": 1024,
    "progress_callback": None,
    "progress_callback_user_data": None,
}

_MAX_LOG_LINES = 64
_SOURCE_DIRECTORY = re.compile(r"^\S*/")
_WARN, _ERROR = 3, 4

CData: TypeAlias = Any
"""A value of the library; `cffi` knows their types only at run time."""

ffi = FFI()
for _header in ("capi.h", "mtmd.h"):
    ffi.cdef(Path(__file__).with_name(_header).read_text(encoding="ascii"))


class LibraryRefused(OperatorError):
    """The native library is missing, cannot be loaded, or is not the version these declarations are for."""


def print_last_words(reason: str) -> None:
    """One line for the log, in place of the library's own and a debugger's."""
    print(f"the engine library gave up: {reason}", file=sys.stderr, flush=True)  # noqa: T201 - the process ends with it


class Native:
    """A loaded and checked library: `c` holds its functions, `log` its last warnings and errors."""

    def __init__(self, path: Path, on_abort: Callable[[str], None] = print_last_words) -> None:
        """`on_abort` is called with the reason, on any thread, where the library finds something that it trusted in to be
        wrong; the process ends when it returns."""
        try:
            self.c: CData = cast("CData", ffi.dlopen(str(path)))
        except OSError as error:
            raise LibraryRefused(_explain_load_error(path, str(error))) from error
        check(observe(self.c), path)
        self.log: deque[str] = deque(maxlen=_MAX_LOG_LINES)
        self._log_callback = ffi.callback("ggml_log_callback", self._record)
        self.c.llama_log_set(self._log_callback, ffi.NULL)
        self.c.mtmd_log_set(self._log_callback, ffi.NULL)
        self._on_abort = on_abort
        self._abort_callback = ffi.callback("ggml_abort_callback_t", self._abort)
        self.c.ggml_set_abort_callback(self._abort_callback)
        self.c.llama_backend_init()

    def _abort(self, message: CData) -> None:
        self._on_abort(_SOURCE_DIRECTORY.sub("", text_at(message).strip()))

    def _record(self, level: int, text: CData, _user_data: CData) -> None:
        if level in (_WARN, _ERROR):
            self.log.append(text_at(text).rstrip())

    def last_words(self) -> str:
        """The end of the library's log, for the message of a failed call."""
        return " | ".join(list(self.log)[-4:])

    def build(self) -> str:
        """Version and the processor features this library uses."""
        return f"{text_at(self.c.llama_version())} {text_at(self.c.llama_print_system_info())}"


Observed = tuple[str, Defaults, Defaults, Defaults]


def observe(c: CData) -> Observed:
    """Version, and the defaults of models, contexts and projectors as this library reports them; None is a null pointer."""
    try:
        return (
            text_at(c.llama_version()),
            _fields(c.llama_model_default_params()),
            _fields(c.llama_context_default_params()),
            _fields(c.mtmd_context_params_default()),
        )
    except AttributeError as error:
        raise LibraryRefused(f"the library lacks a function: {error}") from error


def check(observed: Observed, path: Path) -> None:
    """Raise `LibraryRefused` unless all parts are the known ones."""
    version, model, context, projector = observed
    if version != KNOWN_VERSION:
        raise LibraryRefused(f"{path} is llama.cpp {version!r}; this release works with {KNOWN_VERSION!r} only")
    parts = (
        ("model", model, KNOWN_MODEL_DEFAULTS),
        ("context", context, KNOWN_CONTEXT_DEFAULTS),
        ("projector", projector, KNOWN_PROJECTOR_DEFAULTS),
    )
    for kind, seen, known in parts:
        strange = [name for name in known if seen[name] != known[name]]
        if strange:
            raise LibraryRefused(
                f"{path} has another {kind} parameter layout than this release was written for "
                f"(first difference: {strange[0]} is {seen[strange[0]]}, expected {known[strange[0]]})"
            )


def _fields(struct: CData) -> Defaults:
    return {name: _value(getattr(struct, name)) for name, _ in ffi.typeof(struct).fields}


def _value(field: CData) -> float | str | None:
    """A number or text as it is; a null pointer as None, any other pointer as its address."""
    if isinstance(field, bool | int | float):
        return field
    if field == ffi.NULL:
        return None
    return text_at(field) if ffi.typeof(field).cname == "char *" else int(ffi.cast("uintptr_t", field))


def text_at(pointer: CData) -> str:
    """A zero-terminated string of the library."""
    return cast("bytes", ffi.string(pointer)).decode(errors="replace")


def _explain_load_error(path: Path, error: str) -> str:
    if "libgomp" in error:
        return f"cannot load {path}: the OpenMP runtime is missing; install it (Debian, Ubuntu: apt install libgomp1)"
    return f"cannot load {path}: {error}"


if __name__ == "__main__":
    for part in observe(ffi.dlopen(sys.argv[1])):
        sys.stdout.write(f"{part!r}\n")
