"""What crosses a process border: values, calls and failures, as bytes.

* values:   `pack`, `pack_apart` (large buffers beside the stream), `unpack`, `by_value` (for a ``__reduce__``)
* failures: `pack_failure`, `unpack_failure`, `traceback_of`: an exception and its traceback
* blame:    `culprit`, `unpackable_arguments`: which part of a value it is that cannot travel; `call_name`

Importing it costs little: workers do so before they start. Blame is imported when there is some.
"""

from weft.lazy import lazily
from weft.payload.failures import pack_failure, traceback_of, unpack_failure
from weft.payload.names import call_name
from weft.payload.packing import by_value, pack, pack_apart, unpack

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.payload.blame import culprit, unpackable_arguments, unsendable_result

__all__ = [
    "by_value",
    "call_name",
    "culprit",
    "pack",
    "pack_apart",
    "pack_failure",
    "traceback_of",
    "unpack",
    "unpack_failure",
    "unpackable_arguments",
    "unsendable_result",
]

__getattr__, __dir__ = lazily(
    __name__, {"culprit": "blame", "unpackable_arguments": "blame", "unsendable_result": "blame"}
)
