"""Executors: places where calls run, each a `concurrent.futures.Executor`."""

from typing import TYPE_CHECKING

from weft.lazy import lazily

if TYPE_CHECKING:
    from weft.executors.local import LocalExecutor
    from weft.executors.tasks import LocalFuture

__all__ = ["LocalExecutor", "LocalFuture"]

__getattr__, __dir__ = lazily(
    __name__,
    {"LocalExecutor": "local", "LocalFuture": "tasks"},
)
