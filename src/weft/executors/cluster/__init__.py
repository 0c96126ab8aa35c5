"""Executors on clusters: `ClusterExecutor`, and the batch systems that it can use."""

from weft.lazy import lazily

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from weft.executors.cluster.executor import ClusterExecutor
    from weft.executors.cluster.future import ClusterFuture

__all__ = ["ClusterExecutor", "ClusterFuture"]

__getattr__, __dir__ = lazily(__name__, {"ClusterExecutor": "executor", "ClusterFuture": "future"})
