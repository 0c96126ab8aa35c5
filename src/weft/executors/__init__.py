"""Executors: places where calls run, each a `concurrent.futures.Executor`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.executors.local import LocalExecutor
    from weft.executors.tasks import LocalFuture

__all__ = ["LocalExecutor", "LocalFuture"]

_HOME = {"LocalExecutor": "local", "LocalFuture": "tasks"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'weft.executors' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"weft.executors.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
