"""weft weaves plain Python functions into parallel workflows.

Names are imported when they are first used, so that ``import weft`` costs next to nothing:

* calls and runners:  `task`, `SerialRunner`, `DryRunner`, `ConcurrentRunner`, `wrap`, `Closure`
* procs:              `import weft.procs as pp`
* jobs:               `job`, `after`, `ensure`, `waitfor`, `schedule`, `terminal_nodes`, `Job`, `Run`
* executors:          `LocalExecutor`, `SlurmExecutor`, `CondorExecutor`, `Retry`, `map`, `on_terminate`
* futures:            `Scheduler`, `ScheduledFuture`, `WaitGraph`, `WaitFuture`
* what comes back:    `State`, `Event`
* errors:             `weft.errors`
"""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.calls import Closure, task
    from weft.engine.events import Event
    from weft.engine.states import State
    from weft.executors import CondorExecutor, LocalExecutor, SlurmExecutor, on_terminate
    from weft.executors import map as map
    from weft.futures import ScheduledFuture, Scheduler, WaitFuture, WaitGraph
    from weft.jobs import Job, Run, after, ensure, job, schedule, terminal_nodes, waitfor
    from weft.resources import Retry
    from weft.runners import ConcurrentRunner, DryRunner, SerialRunner, wrap

__all__ = [
    "Closure",
    "ConcurrentRunner",
    "CondorExecutor",
    "DryRunner",
    "Event",
    "Job",
    "LocalExecutor",
    "Retry",
    "Run",
    "ScheduledFuture",
    "Scheduler",
    "SerialRunner",
    "SlurmExecutor",
    "State",
    "WaitFuture",
    "WaitGraph",
    "after",
    "ensure",
    "job",
    "on_terminate",
    "schedule",
    "task",
    "terminal_nodes",
    "waitfor",
    "wrap",
]

# Not `map`: a star-import would hide Python's own.

__version__ = "0.1.0"

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Closure": "weft.calls",
        "ConcurrentRunner": "weft.runners",
        "CondorExecutor": "weft.executors",
        "DryRunner": "weft.runners",
        "Event": "weft.futures",
        "Job": "weft.jobs",
        "LocalExecutor": "weft.executors",
        "Retry": "weft.resources",
        "Run": "weft.jobs",
        "ScheduledFuture": "weft.futures",
        "Scheduler": "weft.futures",
        "SerialRunner": "weft.runners",
        "SlurmExecutor": "weft.executors",
        "State": "weft.futures",
        "WaitFuture": "weft.futures",
        "WaitGraph": "weft.futures",
        "after": "weft.jobs",
        "ensure": "weft.jobs",
        "job": "weft.jobs",
        "map": "weft.executors",
        "on_terminate": "weft.executors",
        "schedule": "weft.jobs",
        "task": "weft.calls",
        "terminal_nodes": "weft.jobs",
        "waitfor": "weft.jobs",
        "wrap": "weft.runners",
    },
)
