"""Open maps of a request: `metadata` and `logit_bias` (contract, sections 2.1, 2.6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from completionist.errors import PropertyNameTooLong, TooManyProperties
from completionist.types.frozen import FrozenMap
from completionist.types.readers import Integer, Reader, Text, Value
from completionist.types.refusals import InvalidLogitBiasKey

MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY_CHARACTERS = 64
MAX_METADATA_VALUE_CHARACTERS = 512
MAX_BIASED_TOKENS = 1024
MAX_TOKEN_ID = 2**31 - 1
"""Of any vocabulary: engines hold ids in 32 bits. What one model's vocabulary allows is checked with the model."""

K = TypeVar("K")
V = TypeVar("V")

_DIGITS = re.compile(r"[0-9]+")


class MapReader(Reader[FrozenMap[K, V]]):
    types = (dict,)
    expected = "an object"

    def __init__(self, key: Callable[[str, str], K], value: Reader[V], *, max_pairs: int) -> None:
        self.key = key
        self.value = value
        self.max_pairs = max_pairs

    def read(self, value: Value, at: str) -> FrozenMap[K, V]:
        if len(value) > self.max_pairs:
            raise TooManyProperties(at, maximum=self.max_pairs, count=len(value))
        return FrozenMap(dict(self._pair(key, item, at) for key, item in value.items()))

    def _pair(self, key: str, item: object, at: str) -> tuple[K, V]:
        read_key = self.key(key, at)
        self.value.check_type(item, f"{at}.{key}")
        return read_key, self.value.read(item, f"{at}.{key}")


def _metadata_key(key: str, at: str) -> str:
    if len(key) > MAX_METADATA_KEY_CHARACTERS:
        raise PropertyNameTooLong(at, key, maximum=MAX_METADATA_KEY_CHARACTERS)
    return key


def _token_id(key: str, at: str) -> int:
    if _DIGITS.fullmatch(key) is None:
        raise InvalidLogitBiasKey(at, key)
    if len(key) > len(str(MAX_TOKEN_ID)) or int(key) > MAX_TOKEN_ID:
        raise InvalidLogitBiasKey(at, key, maximum=MAX_TOKEN_ID)
    return int(key)


METADATA = MapReader(_metadata_key, Text(MAX_METADATA_VALUE_CHARACTERS), max_pairs=MAX_METADATA_PAIRS)
"""String to string."""
LOGIT_BIAS = MapReader(_token_id, Integer(-100, 100), max_pairs=MAX_BIASED_TOKENS)
"""Token id to bias."""
