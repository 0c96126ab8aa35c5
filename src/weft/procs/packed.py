"""What a fork sends back to the process that it is a fork of: classes of the script by name, since both have them.

Elsewhere such classes travel by value, and what arrives would be of another class of the same name.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from pickle import PickleBuffer
from types import FunctionType
from typing import Any

from weft.errors import RemoteTraceback
from weft.payload import traceback_of
from weft.payload.cloud import CloudPickler

__all__ = ["Packed", "Raised"]


class _ForkPickler(CloudPickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__" and _is_of_script(obj):
            return obj.__qualname__
        return super().reducer_override(obj)


def _is_of_script(thing: type | FunctionType) -> bool:
    found: Any = sys.modules["__main__"]
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


class Packed:
    """A value that is itself again when it arrives. Its buffers are left to whoever carries it.

    Raises what pickling raises.
    """

    def __init__(self, value: Any) -> None:
        self._buffers: list[PickleBuffer] = []
        stream = io.BytesIO()
        _ForkPickler(stream, protocol=5, buffer_callback=self._buffers.append).dump(value)
        self._data = stream.getvalue()

    def __reduce_ex__(self, protocol: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _unpacked, (self._data, *self._buffers)


def _unpacked(data: bytes, *buffers: Any) -> Any:
    return pickle.loads(data, buffers=buffers)


class Raised:
    """An exception of a class of the script, with its traceback.

    Raises what pickling raises, and what making it of its arguments again does.
    """

    def __init__(self, error: BaseException) -> None:
        packed = Packed(error)
        _unpacked(packed._data, *packed._buffers)
        self._error: Any = packed
        self._traceback = traceback_of(error)

    def error(self) -> BaseException:
        """Where it has arrived: the exception; its cause shows the traceback."""
        error: BaseException = self._error
        error.__cause__ = RemoteTraceback(self._traceback)
        return error
