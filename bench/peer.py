"""The peer: llama.cpp's own server, embedded in the `xllamacpp` wheel, as a process on loopback.

    python -m bench.peer MODEL THREADS SLOTS CELLS PORT

Set as its users would for many clients: one slot for each, its prompt cache at the default size, `cache_reuse` on, the
same library, threads and context length as ours.
"""

from __future__ import annotations

import sys
import threading

CACHE_REUSE_TOKENS = 256
"""The least run of tokens that it shifts into place; the value its documentation uses."""


def serve(model: str, *, threads: int, slots: int, cells: int, port: int) -> None:
    """Serve until killed. `cells`: context length of a slot."""
    import xllamacpp  # noqa: PLC0415 - loads the library, which only this process may do

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx = slots, slots * cells
    params.n_cache_reuse = CACHE_REUSE_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    assert server.listening_address
    threading.Event().wait()


if __name__ == "__main__":
    serve(
        sys.argv[1],
        threads=int(sys.argv[2]),
        slots=int(sys.argv[3]),
        cells=int(sys.argv[4]),
        port=int(sys.argv[5]),
    )
