"""What becomes of schedulers that nobody shut down, when the interpreter ends or the process forks.

As with the standard library's executors, what was scheduled by then still runs. That takes two moments. While the
executors still accept work, everything that waits is submitted; this hook must therefore run before theirs, and
`threading` runs such hooks in reverse order of registration. Once the executors have ended, the last outcomes are
published, so that done-callbacks of the last tasks are called.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # its hook must be registered before ours
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.engine.dispatch import Dispatcher

__all__ = ["before_the_rest", "end_before_exit", "look_after"]

LOGGER = logging.getLogger("weft")
PATIENCE = 2.0  # seconds of silence before a script that will not end says what it waits for

_dispatchers: weakref.WeakSet[Dispatcher] = weakref.WeakSet()
_registered_after: set[str] = set()
_heralds: list[Callable[[], object]] = []


def look_after(dispatcher: Dispatcher) -> None:
    """See to it that nothing that `dispatcher` accepts is forgotten."""
    _dispatchers.add(dispatcher)
    # The process pool registers its hook when it is first imported, perhaps since the last scheduler was made: then
    # ours once more, to be before it. It does no harm twice.
    executor = "process" if "concurrent.futures.process" in sys.modules else "thread"
    if executor not in _registered_after:
        threading._register_atexit(_submit_the_rest)  # type: ignore[attr-defined]
        _registered_after.add(executor)


def before_the_rest(hook: Callable[[], object]) -> None:
    """Call `hook` at exit before what waits is submitted: the script is over, so nobody will define or start more."""
    _heralds.append(hook)


def end_before_exit(hook: Callable[[], None]) -> None:
    """Call the hook of an executor at exit: after everything that waits has been submitted to it."""
    threading._register_atexit(hook)  # type: ignore[attr-defined]
    threading._register_atexit(_submit_the_rest)  # type: ignore[attr-defined]


def _submit_the_rest() -> None:
    try:
        while _heralds:
            _heralds.pop()()
        for dispatcher in list(_dispatchers):
            _drain(dispatcher)
    except KeyboardInterrupt:
        for dispatcher in list(_dispatchers):
            names = dispatcher.waiting()
            dispatcher.cancel_pending()
            if names:
                LOGGER.warning("interrupted at exit: %s cancelled", _listed(names))


def _drain(dispatcher: Dispatcher) -> None:
    drained = dispatcher.drained()
    told = False
    while not drained.wait(PATIENCE):
        if _nobody_is_at_work():
            LOGGER.warning(
                "%s dropped at exit: the futures that they wait for are completed by nobody",
                _listed(dispatcher.waiting()),
            )
            dispatcher.cancel_pending()
        elif not told:
            told = True
            LOGGER.warning("waiting at exit for %s (Ctrl-C drops what waits)", _listed(dispatcher.waiting()))


def _nobody_is_at_work() -> bool:
    """Whether nothing is under way and no thread is left that could still complete a future."""
    dispatchers = list(_dispatchers)
    if not all(dispatcher.resting() for dispatcher in dispatchers):
        return False
    ours = {threading.main_thread(), *(dispatcher.thread for dispatcher in dispatchers)}
    return all(_is_idle(thread) for thread in threading.enumerate() if thread not in ours)


def _is_idle(thread: threading.Thread) -> bool:
    """Whether it is a worker of one of the standard library's pools that waits for work.

    Such a thread stays until the pool's own hook ends it, which is after ours. Any other thread may be about to
    complete a future, as far as anyone can tell.
    """
    if thread.name == "QueueFeederThread":  # of multiprocessing: it only carries what others send
        return True
    pending = getattr(thread, "pending_work_items", None)  # the manager of a process pool, or of our executors
    if pending is not None:
        return not pending
    queue = getattr(concurrent.futures.thread, "_threads_queues", {}).get(thread)
    frame = sys._current_frames().get(thread.ident or 0)
    return (
        queue is not None
        and queue.empty()
        and frame is not None
        and frame.f_code is concurrent.futures.thread._worker.__code__
    )


def _listed(names: list[str]) -> str:
    text = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} task{'s' * (len(names) != 1)} ({text})"


@atexit.register
def _publish_the_rest() -> None:
    deadline = time.monotonic() + PATIENCE
    for dispatcher in list(_dispatchers):
        dispatcher.flushed().wait(max(0.0, deadline - time.monotonic()))


def _forget_in_child() -> None:
    for dispatcher in list(_dispatchers):
        dispatcher.abandon()
    _dispatchers.clear()


os.register_at_fork(after_in_child=_forget_in_child)
