"""Executors: places where calls run, each a `concurrent.futures.Executor`; and a fake cluster for tests."""

from typing import TYPE_CHECKING

from weft.lazy import lazily

if TYPE_CHECKING:
    from weft.executors.cluster.fake import FakeCluster, VirtualClock
    from weft.executors.local import LocalExecutor
    from weft.executors.tasks import LocalFuture

__all__ = ["FakeCluster", "LocalExecutor", "LocalFuture", "VirtualClock"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "FakeCluster": "weft.executors.cluster.fake",
        "LocalExecutor": "local",
        "LocalFuture": "tasks",
        "VirtualClock": "weft.executors.cluster.fake",
    },
)
