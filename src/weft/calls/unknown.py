"""A value that is not known yet, and says so when it is used."""

from __future__ import annotations

from typing import Any, NoReturn

from weft.errors import UnknownValueError

__all__ = ["Unknown", "is_unknown", "why_unknown"]


class Unknown:
    """Stands for a value that nobody can know yet. It may be passed on and looked at with `repr`, nothing else.

    Whatever needs the value, such as an attribute, an item, its length, its truth, a comparison, arithmetic or
    formatting, raises UnknownValueError with the text `why`.
    """

    __slots__ = ("_what", "_why")

    def __init__(self, what: str, why: str) -> None:
        object.__setattr__(self, "_what", what)
        object.__setattr__(self, "_why", why)

    def __repr__(self) -> str:
        return f"<{object.__getattribute__(self, '_what')}, not known yet>"

    # By identity, so that it can be a member of a set. As a key of a mock it is refused by name.
    __hash__ = object.__hash__


def is_unknown(value: object) -> bool:
    """Whether `value` is a stand-in for a value that is not known. (`isinstance` would already use it.)"""
    return type(value) is Unknown


def why_unknown(value: Any) -> str:
    """What its use would raise."""
    return str(object.__getattribute__(value, "_why"))


def _refuse(self: Unknown, *_: object, **__: object) -> NoReturn:
    raise UnknownValueError(why_unknown(self))


_USES = (
    *("getattribute", "setattr", "delattr", "dir", "call", "bool", "str", "format", "bytes", "fspath"),
    *("getitem", "setitem", "delitem", "contains", "len", "length_hint", "iter", "next", "reversed"),
    *("int", "float", "complex", "index", "round", "trunc", "floor", "ceil", "neg", "pos", "abs", "invert"),
    *("eq", "ne", "lt", "le", "gt", "ge", "enter", "exit", "await", "aiter", "anext"),
)
_OPERATORS = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod", "pow"),
    *("lshift", "rshift", "and", "or", "xor"),
)
for _use in (*_USES, *_OPERATORS, *(f"r{name}" for name in _OPERATORS)):
    setattr(Unknown, f"__{_use}__", _refuse)
