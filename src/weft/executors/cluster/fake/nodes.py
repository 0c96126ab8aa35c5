"""Nodes, and what of them is free."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.executors.cluster.fake.directives import Wants

__all__ = ["Node"]


class Node:
    """One node with its cpus, bytes of memory and gpus."""

    def __init__(self, name: str, amounts: tuple[int, int, int]) -> None:
        self.name = name
        self.amounts = amounts
        self.up = True
        self.silent = False  # it does not answer,
        self.silent_until = math.inf  # and then counts as down
        self._free = list(amounts)

    def could_run(self, wants: Wants) -> bool:
        """Whether it has as much memory and as many gpus at all. Who wants more cpus waits for ever."""
        return all(map(operator.ge, self.amounts[1:], wants.amounts[1:]))

    def can_run(self, wants: Wants) -> bool:
        """Whether it has as much now."""
        return self.up and not self.silent and all(map(operator.ge, self._free, wants.amounts))

    def take(self, wants: Wants) -> None:
        self._free = list(map(operator.sub, self._free, wants.amounts))

    def give_back(self, wants: Wants) -> None:
        self._free = list(map(operator.add, self._free, wants.amounts))

    def go_silent(self, until: float) -> None:
        """It does not answer any more; at this time it counts as down."""
        self.silent, self.silent_until = True, until

    def go_down(self) -> None:
        """It is not there."""
        self.up, self.silent, self.silent_until = False, False, math.inf

    def come_up(self) -> None:
        """It is there, and answers."""
        self.up, self.silent, self.silent_until = True, False, math.inf
