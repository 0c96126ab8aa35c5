"""Calls: functions that know about themselves, and calls that are about to be made.

`task` turns a function into a `MetaFuncBase`; a `Closure` is one with arguments. Runners take either.
"""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.calls.checks import check
    from weft.calls.closure import Closure
    from weft.calls.metafunc import MetaFuncBase, MinimalMetaFunc, as_metafunc
    from weft.calls.standins import stand_in
    from weft.calls.tasks import Task, task

__all__ = ["Closure", "MetaFuncBase", "MinimalMetaFunc", "Task", "as_metafunc", "check", "stand_in", "task"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Closure": "closure",
        "MetaFuncBase": "metafunc",
        "MinimalMetaFunc": "metafunc",
        "Task": "tasks",
        "as_metafunc": "metafunc",
        "check": "checks",
        "stand_in": "standins",
        "task": "tasks",
    },
)
