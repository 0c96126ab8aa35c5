"""Values as short text, whatever they are: for the local variables in a traceback.

`repr` alone would print a hundred megabytes, sort a set of millions or raise. What has its own way of being large in
some attribute of an attribute can still take its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import GetSetDescriptorType
from typing import Any

__all__ = ["shorten"]

LONGEST = 200  # characters
ITEMS = 6  # of a container
DEPTH = 3  # of containers in containers
MANY = 1000  # items from which on a container is not asked for its own repr

PLAIN = (list, tuple, dict, set, frozenset, deque)
BRACKETS = (((list, deque), ("[", "]")), (tuple, ("(", ")")), ((dict, set, frozenset), ("{", "}")))


def shorten(value: Any) -> str:
    """A repr of at most LONGEST characters, made in little time. Never raises."""
    try:
        text = _short(value, DEPTH)
    except BaseException:  # noqa: BLE001 - a repr is somebody's code
        return f"<{type(value).__name__} object, whose repr() fails>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]}...{text[-17:]}"


def _short(value: Any, depth: int) -> str:
    kind = type(value)
    if isinstance(value, PLAIN):
        text = _container(value, depth)
    elif kind in (str, bytes, bytearray) and len(value) > LONGEST:
        text = f"{value[: LONGEST // 2]!r}... ({len(value):,} in all)"
    elif kind is int and value.bit_length() > 4 * LONGEST:  # the time that its digits take grows with their square
        text = f"<int of {value.bit_length():,} bits>"
    elif hasattr(kind, "__dataclass_fields__"):
        text = _fields(kind, list(kind.__dataclass_fields__), lambda name: getattr(value, name), depth)
    elif isinstance(value, BaseException):
        text = f"{kind.__name__}({_joined((_short(part, depth - 1) for part in value.args), len(value.args))})"
    elif not isinstance(value, type) and _is_large(value):
        text = _summary(value)
    else:
        text = repr(value)
    return text


def _container(value: Any, depth: int) -> str:
    kind = type(value)
    if hasattr(kind, "_fields") and isinstance(value, tuple):
        return _fields(kind, kind._fields, dict(zip(kind._fields, value, strict=False)).__getitem__, depth)
    if depth <= 0:
        inside = "..." if value else ""
    elif isinstance(value, dict):
        pairs = islice(dict.items(value), ITEMS)
        inside = _joined((f"{_short(key, depth - 1)}: {_short(item, depth - 1)}" for key, item in pairs), len(value))
    else:
        inside = _joined((_short(item, depth - 1) for item in islice(value, ITEMS)), len(value))
    if kind is tuple and len(value) == 1:
        inside += ","
    opening, closing = next(brackets for kinds, brackets in BRACKETS if isinstance(value, kinds))
    text = f"{opening}{inside}{closing}"
    if kind in (list, tuple, dict) or (kind is set and inside):
        return text
    return f"{kind.__name__}({text if inside else ''})"


def _joined(parts: Iterator[str], count: int) -> str:
    shown = [part if len(part) <= LONGEST // 3 else f"{part[: LONGEST // 3]}..." for part in islice(parts, ITEMS)]
    if count > ITEMS:
        shown.append(f"... ({count:,} in all)")
    return ", ".join(shown)


def _fields(kind: type, names: Sequence[str], get: Callable[[str], Any], depth: int) -> str:
    parts = (f"{name}={_short(get(name), depth - 1)}" for name in names) if depth > 0 else iter(["..."])
    return f"{kind.__name__}({_joined(parts, len(names) if depth > 0 else 0)})"


def _is_large(value: Any) -> bool:
    """Whether it, or an attribute of it that its repr may show, is long."""
    attributes = getattr(value, "__dict__", {})
    parts = [value, *islice(attributes.values(), MANY)] if type(attributes) is dict else [value]
    return any(_count(part) > MANY for part in parts)


def _count(value: Any) -> int:
    for count in ("__len__", "nbytes"):
        found = getattr(type(value), count, None)
        if callable(found):
            return len(value)
        if isinstance(found, (property, GetSetDescriptorType)):
            return int(value.nbytes)
    return 0


def _summary(value: Any) -> str:
    """Such as ``<ndarray of float64, shape (1000, 1000)>``."""
    kind = type(value).__name__
    shape, of = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple):
        return f"<{kind}{f' of {of}' if of is not None else ''}, shape {shape}>"
    return f"<{kind} with {len(value):,} items>" if hasattr(type(value), "__len__") else f"<{kind} object>"
