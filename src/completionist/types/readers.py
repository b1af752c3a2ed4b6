"""Readers: what a value of the request may be, as data.

A reader takes a decoded JSON value and where it stands (`messages[2].content[0].text`), and gives the frozen value or
raises the documented refusal. Readers nest, and keep the order of checks of the contract, section 2.3: arrays go by
index; an object checks missing keys, then the types of its keys, then their values, then unknown keys. That is why
`check_type` and `read` are two steps: an object asks the first of all its keys before the second of any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from completionist.errors import (
    ArrayTooLong,
    EmptyArray,
    EmptyString,
    InvalidRequest,
    InvalidType,
    InvalidValue,
    MissingParameter,
    OutOfRange,
    PatternMismatch,
    StringTooLong,
    UnknownParameter,
    quoted_list,
)

T = TypeVar("T")

Value = Any
"""A decoded JSON value, of a type that its reader has checked."""

NAME_PATTERN = "^[a-zA-Z0-9_-]+$"
MAX_TEXT_CHARACTERS = 1_048_576
"""Of one string of text (section 2.1)."""
MAX_IDENTIFIER_CHARACTERS = 1024

_NULL = type(None)
_KINDS: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a decimal number",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    _NULL: "null",
}


class Reader(Generic[T]):
    """One kind of value. `types` are compared exactly, so that `true` is no integer."""

    types: tuple[type, ...]
    expected: str
    """The filler of `Invalid type for …: expected {X}` (section 9.3)."""

    def check_type(self, value: object, at: str) -> None:
        """Raises `InvalidType`, or what `wrong_type` says instead."""
        if type(value) not in self.types:
            raise self.wrong_type(value, at)

    def wrong_type(self, value: object, at: str) -> InvalidRequest:
        return InvalidType(at, expected=self.expected, got=_KINDS[type(value)])

    def read(self, value: Value, at: str) -> T:  # noqa: ARG002  (readers that can refuse say where)
        """The frozen form of a value that has passed `check_type`. Raises subclasses of `InvalidRequest`."""
        return cast("T", value)


class Nullable(Reader[T | None]):
    """A field for which null means «not given»."""

    def __init__(self, inner: Reader[T]) -> None:
        self.inner = inner
        self.types = (*inner.types, _NULL)
        self.expected = inner.expected

    def read(self, value: Value, at: str) -> T | None:
        return None if value is None else self.inner.read(value, at)


class Anything(Reader[object]):
    types = tuple(_KINDS)
    expected = "anything"


class Boolean(Reader[bool]):
    types = (bool,)
    expected = "a boolean"


class Number(Reader[T]):
    """Bounds are inclusive and written as messages show them."""

    is_decimal: ClassVar[bool]

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check_range(self, value: float, at: str) -> None:
        if value < self.minimum:
            raise OutOfRange(at, value, minimum=self.minimum, decimal=self.is_decimal)
        if value > self.maximum:
            raise OutOfRange(at, value, maximum=self.maximum, decimal=self.is_decimal)


class Integer(Number[int]):
    types = (int,)
    expected = "an integer"
    is_decimal = False

    def read(self, value: Value, at: str) -> int:
        self.check_range(value, at)
        return cast("int", value)


class Decimal(Number[float]):
    types = (int, float)
    expected = "a decimal"
    is_decimal = True

    def read(self, value: Value, at: str) -> float:
        self.check_range(value, at)
        return float(value) + 0.0  # -0.0 becomes 0.0


class Text(Reader[str]):
    """Lengths are in characters; emptiness is refused before length, length before pattern."""

    types = (str,)
    expected = "a string"

    def __init__(
        self, maximum: int | None = MAX_TEXT_CHARACTERS, *, can_be_empty: bool = True, pattern: str | None = None
    ) -> None:
        self.maximum = maximum
        self.can_be_empty = can_be_empty
        self.pattern = pattern

    def read(self, value: Value, at: str) -> str:
        text = cast("str", value)
        if not text and not self.can_be_empty:
            raise EmptyString(at)
        if self.maximum is not None and len(text) > self.maximum:
            raise StringTooLong(at, maximum=self.maximum, length=len(text))
        if self.pattern is not None and re.fullmatch(self.pattern, text) is None:
            raise PatternMismatch(at, self.pattern)
        return text


class OneOf(Reader[str]):
    """A closed list. `listed`: the values as messages show them, where that is not all of them in this order."""

    types = (str,)

    def __init__(self, *values: str, listed: Sequence[str] = ()) -> None:
        self.values = frozenset(values)
        self.listed = tuple(listed) or values
        choices = quoted_list(self.listed, last="or")
        self.expected = choices if len(self.listed) == 1 else f"one of {choices}"

    def read(self, value: Value, at: str) -> str:
        if value not in self.values:
            raise InvalidValue(at, value, self.listed)
        return cast("str", value)


class Array(Reader[tuple[T, ...]]):
    """One item at least."""

    types = (list,)

    def __init__(self, item: Reader[T], *, expected: str = "an array of objects", maximum: int | None = None) -> None:
        self.item = item
        self.expected = expected
        self.maximum = maximum

    def read(self, value: Value, at: str) -> tuple[T, ...]:
        if not value:
            raise EmptyArray(at)
        if self.maximum is not None and len(value) > self.maximum:
            raise ArrayTooLong(at, maximum=self.maximum, length=len(value))
        return tuple(self._item(item, f"{at}[{i}]") for i, item in enumerate(value))

    def _item(self, value: object, at: str) -> T:
        self.item.check_type(value, at)
        return self.item.read(value, at)


class StringOr(Reader[str | T]):
    """A string, or another form that is no string."""

    def __init__(self, other: Reader[T], *, expected: str, text: Reader[str]) -> None:
        self.other = other
        self.text = text
        self.types = (str, *other.types)
        self.expected = expected

    def read(self, value: Value, at: str) -> str | T:
        return self.text.read(value, at) if type(value) is str else self.other.read(value, at)


class Key(NamedTuple):
    """A key of an object. One that is not `is_kept` is checked and left out of the frozen value."""

    name: str
    reader: Reader[Any]
    is_required: bool = False
    is_kept: bool = True


def required(name: str, reader: Reader[Any]) -> Key:
    return Key(name, reader, is_required=True)


def optional(name: str, reader: Reader[Any]) -> Key:
    return Key(name, reader)


def ignored(name: str) -> Key:
    """A discriminator that its union has read, or a key that a replayed answer carries."""
    return Key(name, Anything(), is_kept=False)


class Object(Reader[T]):
    """A known object. `demand` belongs to the search for missing keys, where their need depends on other keys."""

    types = (dict,)
    expected = "an object"

    def __init__(
        self, build: Callable[..., T], *keys: Key, demand: Callable[[Mapping[str, Any], str], None] | None = None
    ) -> None:
        self.build = build
        self.keys = keys
        self.names = frozenset(key.name for key in keys)
        self.required = tuple(key.name for key in keys if key.is_required)
        self.demand = demand

    def read(self, value: Value, at: str) -> T:
        self._check_missing(value, at)
        given = [key for key in self.keys if key.name in value]
        for name, reader, _, _ in given:
            if (
                type(value[name]) not in reader.types
            ):  # `check_type`, without writing the path of every key that is right
                raise reader.wrong_type(value[name], f"{at}.{name}")
        kept = {name: reader.read(value[name], f"{at}.{name}") for name, reader, _, is_kept in given if is_kept}
        if len(given) < len(value):
            refuse_unknown(value, self.names, f"{at}.")
        return self.build(**kept)

    def _check_missing(self, value: Mapping[str, Any], at: str) -> None:
        for name in self.required:
            if name not in value:
                raise MissingParameter(f"{at}.{name}")
        if self.demand is not None:
            self.demand(value, at)


class Tagged(Reader[T]):
    """A union of objects told apart by the string under `tag`. `listed` as for `OneOf`."""

    types = (dict,)
    expected = "an object"

    def __init__(self, tag: str, variants: Mapping[str, Reader[T]], *, listed: Sequence[str] = ()) -> None:
        self.tag = tag
        self.variants = variants
        self.choice = OneOf(*variants, listed=listed)

    def read(self, value: Value, at: str) -> T:
        if self.tag not in value:
            raise MissingParameter(f"{at}.{self.tag}")
        kind, tag_at = value[self.tag], f"{at}.{self.tag}"
        self.choice.check_type(kind, tag_at)
        return self.variants[self.choice.read(kind, tag_at)].read(value, at)


def refuse_unknown(value: Mapping[str, Any], known: frozenset[str], prefix: str = "") -> None:
    """Raises `UnknownParameter` for the first key, as sent, that is not `known`."""
    for name in value:
        if name not in known:
            raise UnknownParameter(prefix + name)


NAME = Text(64, can_be_empty=False, pattern=NAME_PATTERN)
"""Of a function, tool, schema or participant (section 11)."""
TEXT = Text()
FREE_TEXT = Text(None)
IDENTIFIER = Text(MAX_IDENTIFIER_CHARACTERS)
BOOLEAN = Boolean()
