"""What became of a proc, and why."""

from __future__ import annotations

from concurrent.futures import CancelledError

from weft.engine.light import outcome
from weft.engine.states import CANCELLED, FAILED, SUCCEEDED, UNREACHABLE, State
from weft.procs.attempt import reason_of
from weft.procs.proc import Proc

__all__ = ["record"]


def record(proc: Proc, state: State, detail: str) -> None:
    """Write down that the task of a proc has ended so. Under the manager's lock."""
    proc._state = state
    if state is SUCCEEDED:
        assert proc._work is not None
        proc._state, proc._output, proc._reason, proc._changed = outcome(proc._work)[0]  # type: ignore[misc]
    elif state is FAILED:
        error = proc._error
        if error is None and proc._work is not None:
            try:
                error = outcome(proc._work)[1]
            except CancelledError as cancelled:
                error = cancelled
        proc._error, proc._root = error, proc
        proc._reason = detail if error is None else reason_of(error)
    elif state is UNREACHABLE:
        _blame(proc, detail)
    else:
        proc._reason = "stopped" if proc._launched else "not started"


def _blame(proc: Proc, detail: str) -> None:
    missing = next((name for name, dep in proc._deps.items() if dep is None), None)
    dep = next((dep for dep in proc._deps.values() if dep and dep._state.is_end and not dep._state.is_success), None)
    if dep is not None:
        proc._root = dep._root
        proc._reason = f'canceled due to failure of "{(dep._root or dep).name}"'
        if dep._state is CANCELLED:
            proc._reason = f'canceled because "{dep.name}" was stopped'
    elif missing is not None:
        proc._reason = f'dependency "{missing}" missing'
    else:
        proc._reason = detail.removeprefix("DependencyNeverSatisfied: ")
