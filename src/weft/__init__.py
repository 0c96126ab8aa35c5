"""weft weaves plain Python functions into parallel workflows.

Names are imported when they are first used, so that ``import weft`` costs next to nothing:

* calls and runners:  `task`, `SerialRunner`, `DryRunner`, `ConcurrentRunner`, `wrap`, `Closure`
* executors:          `LocalExecutor`, `Retry`
* futures:            `Scheduler`, `ScheduledFuture`, `WaitGraph`, `WaitFuture`
* what comes back:    `State`, `Event`
* errors:             `weft.errors`
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.calls import Closure, task
    from weft.engine.events import Event
    from weft.engine.states import State
    from weft.executors import LocalExecutor
    from weft.futures import ScheduledFuture, Scheduler, WaitFuture, WaitGraph
    from weft.resources import Retry
    from weft.runners import ConcurrentRunner, DryRunner, SerialRunner, wrap

__all__ = [
    "Closure",
    "ConcurrentRunner",
    "DryRunner",
    "Event",
    "LocalExecutor",
    "Retry",
    "ScheduledFuture",
    "Scheduler",
    "SerialRunner",
    "State",
    "WaitFuture",
    "WaitGraph",
    "task",
    "wrap",
]

__version__ = "0.1.0"

_HOME = {
    "Closure": "weft.calls",
    "ConcurrentRunner": "weft.runners",
    "DryRunner": "weft.runners",
    "Event": "weft.futures",
    "LocalExecutor": "weft.executors",
    "Retry": "weft.resources",
    "ScheduledFuture": "weft.futures",
    "Scheduler": "weft.futures",
    "SerialRunner": "weft.runners",
    "State": "weft.futures",
    "WaitFuture": "weft.futures",
    "WaitGraph": "weft.futures",
    "task": "weft.calls",
    "wrap": "weft.runners",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'weft' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
