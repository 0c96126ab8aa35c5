"""What is raised for procs that have failed."""

from __future__ import annotations

from collections.abc import Iterable

from weft.engine.states import FAILED
from weft.errors import DependencyNeverSatisfied, ProcessError, TaskError
from weft.procs.proc import Proc

__all__ = ["failed", "process_error"]


def failed(procs: Iterable[Proc]) -> list[Proc]:
    """Those that have ended, and not well."""
    return [proc for proc in procs if proc._state.is_end and not proc._state.is_success]


def process_error(procs: Iterable[Proc]) -> ProcessError:
    """The error for these procs, which have failed: names, reasons and logs, and a group of what they failed with."""
    lines: list[str] = []
    causes: dict[int, Exception] = {}
    count = 0
    for proc in procs:
        count += 1
        log = f" (log: {proc.log_path})" if proc.log_path is not None else ""
        lines.append(f"  {proc.name}: {proc.reason}{log}")
        cause = _cause(proc)
        causes[id(cause)] = cause
    heading = "1 proc failed" if count == 1 else f"{count} procs failed"
    return ProcessError("\n".join([f"{heading}:", *lines]), list(causes.values()))


def _cause(proc: Proc) -> Exception:
    root = proc if proc._state is FAILED else proc._root
    error = root._error if root is not None else None
    if error is None:
        return DependencyNeverSatisfied(f"{proc.name}: {proc.reason}")
    if isinstance(error, Exception):
        return error
    other = TaskError(f"{proc.name}: {proc.reason}")  # a KeyboardInterrupt would make it a group of another kind
    other.__cause__ = error
    return other
