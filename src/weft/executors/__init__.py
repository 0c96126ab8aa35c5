"""Executors: places where calls run, each a `concurrent.futures.Executor`; and a fake cluster for tests."""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.executors.cluster.executor import ClusterExecutor
    from weft.executors.cluster.fake import FakeCluster, VirtualClock
    from weft.executors.cluster.future import ClusterFuture
    from weft.executors.condor import CondorExecutor
    from weft.executors.local import LocalExecutor
    from weft.executors.mapping import map
    from weft.executors.slurm import SlurmExecutor
    from weft.executors.tasks import LocalFuture
    from weft.executors.terminating import on_terminate

__all__ = [
    "ClusterExecutor",
    "ClusterFuture",
    "CondorExecutor",
    "FakeCluster",
    "LocalExecutor",
    "LocalFuture",
    "SlurmExecutor",
    "VirtualClock",
    "map",
    "on_terminate",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ClusterExecutor": "weft.executors.cluster.executor",
        "ClusterFuture": "weft.executors.cluster.future",
        "CondorExecutor": "condor",
        "FakeCluster": "weft.executors.cluster.fake",
        "LocalExecutor": "local",
        "LocalFuture": "tasks",
        "map": "mapping",
        "SlurmExecutor": "slurm",
        "VirtualClock": "weft.executors.cluster.fake",
        "on_terminate": "terminating",
    },
)
