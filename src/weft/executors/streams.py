"""What this process writes to stdout and stderr: where it goes, and that none of it stays behind in a buffer."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from typing import Any

__all__ = ["flush_streams", "point_streams_to"]

_fflush: Any = None


def point_streams_to(output: int, errors: int | None = None) -> None:
    """Have stdout and stderr, of Python, of C code and of programs started from now on, go to these files.

    Args:
        output: for both, or for stdout.
        errors: for stderr.
    """
    os.dup2(output, 1)
    os.dup2(output if errors is None else errors, 2)


def flush_streams() -> None:
    """Let nothing that has been written stay in a buffer, those of C included."""
    global _fflush
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - closed, replaced or None: the task's own doing
            pass
    if _fflush is None:
        try:
            import ctypes

            _fflush = ctypes.CDLL(None).fflush
        except Exception:  # noqa: BLE001 - no ctypes: then C has to flush for itself
            _fflush = int
    _fflush(0)
