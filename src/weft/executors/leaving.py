"""The end of a worker process."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["leave"]


def leave(code: int = 0) -> NoReturn:
    """End the process as an interpreter ends: wait for threads, call exit handlers, empty buffers. Tear nothing down.

    Exits with `code`; with 1 where that is 0 and an exit handler raises.
    """
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        import atexit

        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - a handler of the user's
        code = code or 1
        import traceback

        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001
            pass
    os._exit(code)
