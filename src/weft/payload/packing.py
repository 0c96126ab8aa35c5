"""Values as bytes, and back.

Plain pickle comes first, at the speed of C. What it refuses, and whatever mentions the main script, which another
process cannot import, is packed again by cloudpickle: functions and classes by value. So a ``__reduce__`` or
``__getstate__`` can be called twice for one value; that is the price of not looking at each value beforehand.
"""

from __future__ import annotations

import pickle
import threading
from pickle import dumps
from sys import modules

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

__all__ = ["Chunk", "by_value", "pack", "pack_apart", "unpack"]

Chunk: TypeAlias = bytes | memoryview

# In each pickle with a reference to the main script, and seldom in others. Those are merely packed once more.
MAIN = b"__main__"

# A chunk of a stream that is longer holds data. References lie in frames, which pickle ends after 64 KB, before
# anything of 64 KB or more.
LONGEST_FRAME = 256 * 1024

SCALARS = frozenset({int, float, complex, bool, type(None)})  # what tiny tasks return

# Where cloudpickle keeps the modules that the user has told it to pack by value. Its public function copies them, which
# would cost as much as the rest of `pack`.
CLOUD = "cloudpickle.cloudpickle"

_here = threading.local()


def pack(value: Any) -> bytes:
    """`value` as bytes; functions and classes of ``__main__``, lambdas and closures by value.

    Raises what pickling raises: PicklingError, TypeError, and whatever a ``__reduce__`` of the user's does.
    """
    try:
        data = dumps(value, 5)
        # Written out here, and not as a function, for this line is a third of the whole time.
        if MAIN not in data and (CLOUD not in modules or not modules[CLOUD]._PICKLE_BY_VALUE_MODULES):
            return data
    except Exception:  # noqa: BLE001 - cloudpickle can do more; where it cannot, it says why
        pass
    return b"".join(_by_value(value))  # for one chunk of bytes, which is the rule, that is no copy


def pack_apart(value: Any, smallest: int) -> tuple[list[Chunk], list[pickle.PickleBuffer]]:
    """`value` as the chunks of one stream, and beside it the buffers of `smallest` bytes or more.

    `unpack` takes the joined chunks and the buffers. Nothing large is copied: buffers and large chunks are the
    memory of what is in `value`, so what is changed before they are sent is sent as changed.

    Raises what `pack` does.
    """
    if type(value) in SCALARS:
        return [dumps(value, 5)], []
    kept: list[pickle.PickleBuffer] = []

    def stays(buffer: pickle.PickleBuffer) -> bool:
        view = memoryview(buffer)
        if view.nbytes < smallest or not view.contiguous:
            return True
        kept.append(buffer)
        return False

    stream = _Stream()
    try:
        pickle.Pickler(stream, 5, buffer_callback=stays).dump(value)
        if not stream.mentions_main() and (CLOUD not in modules or not modules[CLOUD]._PICKLE_BY_VALUE_MODULES):
            return stream.chunks(), kept
    except Exception:  # noqa: BLE001 - as in pack()
        pass
    kept.clear()  # what the first pickler had put there
    return _by_value(value, stays), kept


def unpack(data: bytes | bytearray | memoryview, buffers: Iterable[Any] = ()) -> Any:
    """What was packed. Runs code that the bytes name, as unpickling does."""
    return pickle.loads(data, buffers=buffers)


class _Stream:
    """The file that a pickler writes to. It hands over large bytes as they are, and here they stay as they are."""

    __slots__ = ("_written", "write")

    def __init__(self) -> None:
        self._written: list[Any] = []
        self.write = self._written.append

    def mentions_main(self) -> bool:
        for chunk in self._written:  # noqa: SIM110 - a generator would take longer than all else here
            if type(chunk) is bytes and len(chunk) < LONGEST_FRAME and MAIN in chunk:
                return True
        return False

    def chunks(self) -> list[Chunk]:
        for index, chunk in enumerate(self._written):
            if type(chunk) is not bytes:
                self._written[index] = memoryview(chunk).cast("B")
        return self._written


def _by_value(value: Any, stays: Callable[[pickle.PickleBuffer], bool] | None = None) -> list[Chunk]:
    from weft.payload.cloud import CloudPickler

    stream = _Stream()
    dump_by_value(CloudPickler(stream, protocol=5, buffer_callback=stays), value)
    return stream.chunks()


def dump_by_value(pickler: pickle.Pickler, value: Any) -> None:
    """Dump through a `CloudPickler`; whatever uses `by_value` gives it the parts themselves."""
    outer = getattr(_here, "packing", False)
    _here.packing = True
    try:
        pickler.dump(value)
    finally:
        _here.packing = outer


def by_value(make: Callable[..., Any], state: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """For a ``__reduce__``: rebuild by ``make(*state)``, whichever pickler is at work.

    A plain pickler would refuse what is in `state`, such as a lambda; so it gets bytes. Inside `pack` it must be the
    parts themselves: a function that mentions itself would be packed within itself for ever, and what `state` shares
    with the rest of a value would be there twice.
    """
    if getattr(_here, "packing", False):
        return make, state
    return _make_from__main__, (pack((make, state)),)


def _make_from__main__(data: bytes) -> Any:
    # Its name has MAIN in it, so that `pack` sees in the outcome of plain pickle that there are bytes within bytes, and
    # packs the value by value, which puts the parts themselves there.
    make, state = unpack(data)
    return make(*state)
