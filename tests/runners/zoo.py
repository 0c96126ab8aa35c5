"""Functions that behave in all sorts of ways, in a module that worker processes can import."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

from weft import task
from weft.calls import MinimalMetaFunc


@task
def add(a: int, b: int = 1) -> int:
    return a + b


class Counting(MinimalMetaFunc):
    """Knows more than its base class."""

    count = 0

    def __call__(self, a: int) -> int:
        return self.count


@task
def total(xs: list[int]) -> int:
    return sum(xs)


@task(mock={"mean": 0.0, "range": [0, 0], "pair": (0, 0), "nothing": None, "empty": []})
def describe(x: int) -> dict[str, Any]:
    return {"mean": float(x), "range": [x, x + 1], "pair": (x, x), "nothing": None, "empty": []}


@task
def fail(x: int) -> int:
    raise ValueError(f"no {x}")


@task
def wrong_type(x: int) -> int:
    return str(x)  # type: ignore[return-value]


@task(mock=[0, 0])
def wrong_shape(x: int) -> list[int]:
    return [x]


@task(mock=lambda n: [0] * n)
def spread(n: int) -> list[int]:
    return list(range(n))


@task
def where() -> int:
    return os.getpid()


@task
def vanish(x: int) -> int:
    os._exit(3)


@task
def lock() -> object:
    return threading.Lock()


@task
def take(thing: object) -> str:
    return type(thing).__name__


class Picky(Exception):
    """It pickles, and does not unpickle."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


@task
def picky(x: int) -> int:
    raise Picky(x, x)


class OddEscape(BaseException):
    """Is no Exception, and cannot be rebuilt from its args."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__("odd")


class Unspeakable(Exception):
    """Cannot be packed, and its text cannot be made."""

    def __reduce__(self) -> Any:
        raise ValueError("no")

    def __str__(self) -> str:
        raise OddEscape(1, 2)


def break_out(number: int) -> int:
    raise [OddEscape(1, 2), Unspeakable(), SystemExit(3)][number]


class Unpackable:
    """It packs, and running its code to unpack it ends badly."""

    def __reduce__(self) -> Any:
        return exit, (1,)


@task
def unpackable() -> object:
    return Unpackable()


@dataclass
class Point:
    x: Any


@task
def move(p: Point) -> float:
    return p.x + 1


def rebound(x: int) -> int:
    return 10 * x
