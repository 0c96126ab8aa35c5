"""Places where jobs run."""

from __future__ import annotations

from typing import Any

from weft.engine.edges import choose
from weft.errors import ArgumentError

__all__ = ["NAMES", "check_backend"]

NAMES = ("local", "threads", "serial", "dry")


def check_backend(where: str, backend: Any) -> None:
    """Refuse what is not one of `NAMES`, an executor, or an object with the methods of `Backend`."""
    if isinstance(backend, str):
        choose(backend, NAMES, where)
        return
    if isinstance(backend, type) or not callable(getattr(backend, "submit", None)):
        hint = f"; give an instance: {backend.__name__}()" if isinstance(backend, type) else ""
        raise ArgumentError(
            f"{where} must be one of {', '.join(map(repr, NAMES))}, an executor, or an object like "
            f"weft.jobs.Backend, got {backend!r:.60}{hint}"
        )
