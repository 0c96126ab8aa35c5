"""What crosses a process border: anything that cloudpickle can pack, as bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["by_value", "pack", "unpack"]

_here = threading.local()


def pack(value: Any) -> bytes:
    """`value` as bytes; functions and classes of ``__main__``, lambdas and closures by value.

    Raises what pickling raises: PicklingError, TypeError, and whatever a ``__reduce__`` of the user's does.
    """
    import cloudpickle

    outer = getattr(_here, "packing", False)
    _here.packing = True
    try:
        return cloudpickle.dumps(value, protocol=5)  # type: ignore[no-any-return]
    finally:
        _here.packing = outer


def unpack(data: bytes) -> Any:
    """What was packed. Runs code that the bytes name, as unpickling does."""
    import pickle

    return pickle.loads(data)


def by_value(make: Callable[..., Any], state: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """For a ``__reduce__``: rebuild by ``make(*state)``, whichever pickler is at work.

    A plain pickler would refuse what is in `state`, such as a lambda; so it gets bytes. Inside `pack` it must be the
    parts themselves: a function that mentions itself would be packed within itself for ever.
    """
    if getattr(_here, "packing", False):
        return make, state
    return _make_from, (pack((make, state)),)


def _make_from(data: bytes) -> Any:
    make, state = unpack(data)
    return make(*state)
