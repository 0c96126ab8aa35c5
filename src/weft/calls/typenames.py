"""Types and values as messages show them: short, and without module names."""

from __future__ import annotations

import reprlib
import types
import typing
from typing import Any

__all__ = ["got", "key_name", "type_name"]

_WIDTH = 60
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 30
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxfrozenset = _SHORT.maxarray = 3
_SHORT.maxdict = 2
_SHORT.maxlevel = 2


def type_name(api: Any) -> str:
    """A type as one would write it in an annotation."""
    return _shortened(_type_name(api))


def _type_name(api: Any) -> str:
    args = typing.get_args(api)
    origin = typing.get_origin(api)
    if origin in (typing.Union, types.UnionType):
        text = " | ".join(map(_type_name, args))
    elif origin is typing.Annotated:
        text = _type_name(args[0])
    elif origin is typing.Literal:
        text = f"Literal[{', '.join(map(repr, args))}]"
    elif origin is not None:
        text = f"{_type_name(origin)}[{', '.join(map(_type_name, args)) or '()'}]"
    elif isinstance(api, list):  # the parameters of a Callable
        text = f"[{', '.join(map(_type_name, api))}]"
    elif api is None or api is type(None):
        text = "None"
    elif api is ...:
        text = "..."
    else:
        text = getattr(api, "__forward_arg__", None) or getattr(api, "__name__", None) or repr(api)
    return text


def got(value: Any) -> str:
    """A value with its type: ``str 'a'``, ``None``, ``Point(x=1)``."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the type {value.__name__}"
    name, text = type(value).__name__, _one_line(value)
    return text if name in text.partition("(")[0] or name in text.partition(" ")[0] else f"{name} {text}"


def key_name(key: Any) -> str:
    """A key or a member, short."""
    return _one_line(key)


def _one_line(value: Any) -> str:
    try:
        text = " ".join(_SHORT.repr(value).split())
    except Exception:  # noqa: BLE001 - a __repr__ of the user's must not hide the message it is for
        return f"<{type(value).__name__}>"
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
