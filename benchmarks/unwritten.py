"""A run directory whose writers do nothing, in whatever process imports this; and a no-op job that has it imported."""

from typing import Any

import tasks
from weft.rundir import Journal, Member, Recorder, RunFolder


def nothing(*_: Any, **_named: Any) -> None:
    """Write nothing."""


WRITERS = [(Journal, "write_line"), (Recorder, "record"), (Member, "is_at"), (RunFolder, "write_facts")]

for kind, method in WRITERS:
    if not hasattr(kind, method):
        raise AttributeError(f"{kind.__name__} has no {method} any more: what writes to the run directory now?")
    setattr(kind, method, nothing)


def mark(index: int) -> None:
    """See `tasks.mark`; a function of this module, so that a worker imports it."""
    tasks.mark(index)
