"""Jobs: declare a graph of functions, say what each leaves behind, launch what is not done yet.

* declaring:  `job`, `after`, `ensure`, `waitfor`, `Job`
* graphs:     `terminal_nodes`, `roots`, `leaves`, `cycles`, `ancestors`
* pruning:    `Job.prune`, `Plan`
* running:    `schedule`, `Run`, `Backend`
"""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.jobs.backends import Backend
    from weft.jobs.declare import after, ensure, job, waitfor
    from weft.jobs.graph import ancestors, cycles, leaves, roots, terminal_nodes
    from weft.jobs.launch import schedule
    from weft.jobs.node import Job
    from weft.jobs.prune import Plan
    from weft.jobs.run import Run

__all__ = [
    "Backend",
    "Job",
    "Plan",
    "Run",
    "after",
    "ancestors",
    "cycles",
    "ensure",
    "job",
    "leaves",
    "roots",
    "schedule",
    "terminal_nodes",
    "waitfor",
]

# No module here has the name of a function that is in the table: the module would hide it.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "Backend": "backends",
        "Job": "node",
        "Plan": "prune",
        "Run": "run",
        "after": "declare",
        "ancestors": "graph",
        "cycles": "graph",
        "ensure": "declare",
        "job": "declare",
        "leaves": "graph",
        "roots": "graph",
        "schedule": "launch",
        "terminal_nodes": "graph",
        "waitfor": "declare",
    },
)
