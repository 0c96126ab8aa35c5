"""Procs: named processes, which names, patterns, locks and waves put in order. ``import weft.procs as pp``.

* defining:     `Proc`, `Proto`, `create`; `NO_FAILURES`, `AFTER_ALL`, `WhenScheduled`, `WhenTargetScheduled`
* running:      `start`, `run`, `wait`, `wait_for_all`, `wait_clear`, `clear`, `observe`
* looking:      `results`, `get_procs`, `get_protos`, `ProcState`, `Happened`
* options:      `set_options`, `set_params`
* in a proc:    `ProcContext`, `ProcFailedError`, `ProcSkippedError`, `ProcNoChangeError`
* errors:       `ProcessError`, `UserError`
* independent:  `ProcManager`
"""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.engine.states import State as ProcState
    from weft.errors import ProcessError, ProcFailedError, ProcNoChangeError, ProcSkippedError, UserError
    from weft.procs.conditions import AFTER_ALL, NO_FAILURES, WhenScheduled, WhenTargetScheduled
    from weft.procs.context import ProcContext
    from weft.procs.default import (
        MANAGER,
        Proc,
        Proto,
        clear,
        create,
        get_procs,
        get_protos,
        observe,
        results,
        run,
        set_options,
        set_params,
        start,
        wait,
        wait_clear,
        wait_for_all,
    )
    from weft.procs.manager import ProcManager
    from weft.procs.running import Happened

__all__ = [
    "AFTER_ALL",
    "MANAGER",
    "NO_FAILURES",
    "Happened",
    "Proc",
    "ProcContext",
    "ProcFailedError",
    "ProcManager",
    "ProcNoChangeError",
    "ProcSkippedError",
    "ProcState",
    "ProcessError",
    "Proto",
    "UserError",
    "WhenScheduled",
    "WhenTargetScheduled",
    "clear",
    "create",
    "get_procs",
    "get_protos",
    "observe",
    "results",
    "run",
    "set_options",
    "set_params",
    "start",
    "wait",
    "wait_clear",
    "wait_for_all",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "AFTER_ALL": "conditions",
        "Happened": "running",
        "MANAGER": "default",
        "NO_FAILURES": "conditions",
        "Proc": "default",
        "ProcContext": "context",
        "ProcFailedError": "weft.errors",
        "ProcManager": "manager",
        "ProcNoChangeError": "weft.errors",
        "ProcSkippedError": "weft.errors",
        "ProcState": "default",
        "ProcessError": "weft.errors",
        "Proto": "default",
        "UserError": "weft.errors",
        "WhenScheduled": "conditions",
        "WhenTargetScheduled": "conditions",
        **dict.fromkeys(
            (
                *("clear", "create", "get_procs", "get_protos", "observe", "results", "run", "set_options"),
                *("set_params", "start", "wait", "wait_clear", "wait_for_all"),
            ),
            "default",
        ),
    },
)
