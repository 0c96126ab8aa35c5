"""Functions in a module that worker processes can import."""

from __future__ import annotations

from weft import task


@task(cpus=2, name="add two")
def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


def plain(a: int) -> int:
    return a


renamed = task(plain)


class Shelf:
    @staticmethod
    @task
    def twice(x: int) -> int:
        return 2 * x
