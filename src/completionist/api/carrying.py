"""Large values from one process to another, without holding the interpreter for long at the end where they arrive.

Unpickling runs in C and lets no other thread in: the request of a body of 2.5 MB took 29 ms of the event loop's time, on
whichever thread it was done. So the pickle has a pause in it every few objects: an object is written as `(object,)` under a
persistent id, and the reader, asked for what is meant, lets the others run before it answers.

The pickler's memo is off, since freeing one of as many entries takes long as well; so what is shared is written as often as it
is met, and classes are written under ids too.
"""

from __future__ import annotations

import functools
import io
import pickle
import pkgutil
import time

_OBJECTS_BETWEEN_PAUSES = 500
"""0.3 ms at most."""
_PAUSE_S = 20e-6
"""Any real sleep lets a waiting thread have the interpreter; none may keep it for itself."""

_Held = tuple[object] | str
"""An object behind a pause, or the name of a class."""


def packed(value: object) -> bytes:
    """`value` is a tree: nothing in it leads back to itself."""
    sink = io.BytesIO()
    packer = _Packer(sink, pickle.HIGHEST_PROTOCOL)
    packer.fast = True
    packer.dump(value)
    return sink.getvalue()


def unpacked(packed: bytes) -> object:
    """On a thread, not on the event loop. `packed` is our own."""
    return _Unpacker(io.BytesIO(packed)).load()


class _Packer(pickle.Pickler):
    _n_objects = 0

    def persistent_id(self, item: object) -> _Held | None:
        """Called for every object; None: it is written as usual."""
        if isinstance(item, type):
            return f"{item.__module__}:{item.__qualname__}"
        self._n_objects += 1
        return (item,) if self._n_objects % _OBJECTS_BETWEEN_PAUSES == 0 else None


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, held: _Held) -> object:
        if isinstance(held, str):
            return _class(held)
        time.sleep(_PAUSE_S)
        return held[0]


_class = functools.cache(pkgutil.resolve_name)
