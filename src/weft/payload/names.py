"""What functions are called in messages."""

from __future__ import annotations

import functools

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from typing import Any

__all__ = ["call_name"]


def call_name(function: Any) -> str:
    """The name of a function for messages and events, without the places that it is nested in."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__
