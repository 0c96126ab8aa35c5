"""Jobs: declare a graph of functions, say what each leaves behind, launch what is not done yet.

* declaring:  `job`, `after`, `ensure`, `waitfor`, `Job`
* graphs:     `terminal_nodes`, `roots`, `leaves`, `cycles`, `ancestors`
* pruning:    `Job.prune`, `Plan`
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.jobs.declare import after, ensure, job, waitfor
    from weft.jobs.graph import ancestors, cycles, leaves, roots, terminal_nodes
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan

__all__ = [
    "Job",
    "Plan",
    "after",
    "ancestors",
    "cycles",
    "ensure",
    "job",
    "leaves",
    "roots",
    "terminal_nodes",
    "waitfor",
]

# No module here has the name of a function that is in the table: the module would hide it.
_HOME = {
    "Job": "node",
    "Plan": "prune",
    "after": "declare",
    "ancestors": "graph",
    "cycles": "graph",
    "ensure": "declare",
    "job": "declare",
    "leaves": "graph",
    "roots": "graph",
    "terminal_nodes": "graph",
    "waitfor": "declare",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'weft.jobs' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"weft.jobs.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
