"""What a task wants done when it is told to end, before it is."""

from __future__ import annotations

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[[], Any])

__all__ = ["forget_callbacks", "on_terminate", "run_callbacks"]

_callbacks: list[Callable[[], Any]] = []


def on_terminate(callback: F) -> F:
    """Within a task on a cluster: have `callback` called should the task be told to end, so that it can save its state.

    A batch system tells a job to end, by SIGTERM, when its time is over, when it is cancelled, or when its node is
    needed for something more urgent. Soon after, it is killed: on Slurm after ``KillWait``, 30 seconds as a rule; on
    HTCondor after ``job_max_vacate_time``, 30 seconds unless that is said. A task with ``time=`` is told when that is
    over. The callback runs in the main thread, within whatever the task is doing; then the task ends.

    Args:
        callback: called without arguments. Several are called in the order in which they came.

    Returns the callback, so that it can be used as a decorator. It is forgotten when the task is over.
    """
    _callbacks.append(callback)
    return callback


def run_callbacks() -> None:
    """Call them, each once; what one raises is told on stderr, and the others are called all the same."""
    while _callbacks:
        callback = _callbacks.pop(0)
        try:
            callback()
        except BaseException:  # noqa: BLE001 - code of the user's
            import traceback

            traceback.print_exc()


def forget_callbacks() -> None:
    """The task is over."""
    _callbacks.clear()
