"""Snapshots of arguments, so that a call does not see what the caller changes later.

What nobody can change is not copied; lists, dicts, sets and dataclass instances are; arrays and buffers are copied
once, as a block; the rest is left to `copy.deepcopy`. Futures are kept as they are.
"""

from __future__ import annotations

import copy
import sys
import types
from concurrent.futures import Future
from typing import Any

from weft.calls.unknown import Unknown
from weft.tree import rebuild, remember

__all__ = ["Snapshot", "never_changes"]


class Snapshot:
    """A function that copies data, with one memory of what it has copied.

    What is one object stays one object, within a call of it and across its calls, as long as the originals live; so a
    list that is passed twice is one list in the copy, too, and data that contain themselves are fine. Dict keys are
    not copied. What cannot be copied, such as locks, open files and generators, is kept by reference.
    """

    def __init__(self) -> None:
        self._memo: dict[int, Any] = {}
        # `copy.deepcopy` keeps things alive here; made now so that it is the oldest entry (see `_deep_copy`).
        self._memo[id(self._memo)] = []
        self._futures: dict[int, Future[Any]] = {}

    @property
    def futures(self) -> list[Future[Any]]:
        """The futures met so far, each once, in the order in which they were met."""
        return list(self._futures.values())

    def __call__(self, data: Any) -> Any:
        return rebuild(data, self._leaf, never_changes, self._memo, fresh=True)

    def _leaf(self, item: Any) -> Any:
        kind = type(item)
        if issubclass(kind, Future):
            self._futures[id(item)] = item
            return item
        if kind is bytearray or _is_array(kind):
            result = item[:]
        elif _is_numpy_array(kind) and not item.dtype.hasobject:
            result = item.copy(order="K")
        else:
            return self._deep_copy(item)
        self._memo[id(item)] = result
        return result

    def _deep_copy(self, item: Any) -> Any:
        before = len(self._memo)
        try:
            return copy.deepcopy(item, self._memo)
        except Exception:  # noqa: BLE001 - a __deepcopy__ or __reduce__ of the user's can raise anything
            # Half-made copies must not be taken for copies later on. Dicts keep their order: the newest go first.
            while len(self._memo) > before:
                self._memo.popitem()
            self._memo[id(item)] = item
            return item


_BASIC: frozenset[type] = frozenset(
    {
        *(int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented), range),
        *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, Unknown),
    }
)

# By name, so that none of these modules is imported for it.
_BY_NAME: frozenset[tuple[str, str]] = frozenset(
    {
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        *(("pathlib", name) for name in ("PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath")),
        *(("pathlib._local", name) for name in ("PurePosixPath", "PureWindowsPath", "PosixPath", "WindowsPath")),
        *(("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"), ("re", "Pattern")),
    }
)


@remember
def never_changes(kind: type) -> bool:
    """Whether instances of exactly this type need no copy."""
    if kind in _BASIC or issubclass(kind, type):
        return True
    if (kind.__module__, kind.__qualname__) in _BY_NAME:
        return True
    enum, numpy = sys.modules.get("enum"), sys.modules.get("numpy")
    if enum is not None and issubclass(kind, enum.Enum):
        return True
    # Of NumPy's scalars, records can be changed.
    return numpy is not None and issubclass(kind, numpy.generic) and not issubclass(kind, numpy.void)


@remember
def _is_numpy_array(kind: type) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is numpy.ndarray


@remember
def _is_array(kind: type) -> bool:
    array = sys.modules.get("array")
    return array is not None and kind is array.array
