"""What becomes of executors that nobody has shut down: when the interpreter ends, and in the child of a fork."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Living"]

T = TypeVar("T")


class Living(Generic[T]):
    """Those of one kind, as long as somebody holds them.

    Args:
        end: called at exit, after everything that waits has been submitted to them, with all that there are, and
            whether a Ctrl-C has ended the program.
        forget: called with each of them in the child of a fork, where their threads are not.
    """

    def __init__(self, end: Callable[[Sequence[T], bool], object], forget: Callable[[T], object]) -> None:
        self._members: weakref.WeakSet[T] = weakref.WeakSet()
        self._end = end
        self._forget = forget
        self._hooked = False
        os.register_at_fork(after_in_child=self._in_child)

    def add(self, one: T) -> None:
        """One more."""
        self._members.add(one)
        if not self._hooked:
            from weft.engine.exit import end_before_exit

            self._hooked = True
            end_before_exit(self._at_exit)

    def _at_exit(self) -> None:
        self._end(list(self._members), getattr(sys, "last_type", None) is KeyboardInterrupt)

    def _in_child(self) -> None:
        for one in list(self._members):
            self._forget(one)
        self._members.clear()
