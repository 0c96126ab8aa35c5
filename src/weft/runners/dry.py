"""Checks a whole script without running its functions."""

from __future__ import annotations

import logging
import operator
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from weft.calls.closure import Closure
from weft.calls.snapshot import never_changes
from weft.calls.unknown import is_unknown
from weft.runners.base import Runner
from weft.tree import form_of, rebuild, walk

__all__ = ["DryCall", "DryRunner"]

LOGGER = logging.getLogger("weft")


class DryCall(NamedTuple):
    """One call that a dry run has checked."""

    name: str
    after: tuple[int, ...]  #: Indices, in `DryRunner.graph()`, of the calls whose results it takes.


class DryRunner(Runner):
    """Checks the arguments, never calls a function, touches no file, and returns the mock.

    Without a mock it returns a typed stand-in from the return annotation: 0 for int, an empty list for list[float].
    Without an annotation, too, it is something that raises UnknownValueError, saying what to write, when it is used.

    On shutdown it logs `summary()` at level INFO to the logger ``weft``.
    """

    def __init__(self) -> None:
        self._calls: list[DryCall] = []
        # From the id of each object handed out to the call that it came from; None where that cannot be told.
        self._origins: dict[int, int | None] = {}
        self._handed_out: list[Any] = []  # kept alive, so that no id is used twice

    def __call__(self, call: Closure | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # Looked at before the snapshot, in which arrays and lists are other objects.
        data = (call.args, call.kwargs) if isinstance(call, Closure) else (args, kwargs)
        found = {self._origins.get(id(item)) for item in walk(data)} if self._origins else set()
        result = super().__call__(call, *args, **kwargs)
        name, _ = self._calls[-1]
        self._calls[-1] = DryCall(name, tuple(sorted(index for index in found if index is not None)))
        return result

    def run(self, closure: Closure) -> Any:
        closure.validate_parameters()
        closure.get_result_api()  # a mock that is wrong shows here
        mock = rebuild(closure.get_result_mock(), _fresh, _none_is_plain, {}, fresh=True)
        self._remember(mock, len(self._calls))
        self._calls.append(DryCall(closure.describe(), ()))
        return mock

    @property
    def calls(self) -> int:
        """How many calls have been checked."""
        return len(self._calls)

    def graph(self) -> list[DryCall]:
        """The calls in the order in which they were made, each with the calls whose results it takes.

        Results are recognised by identity. So there is no edge for what everybody shares, such as None, booleans,
        whole numbers up to 256, texts of up to one character, dates, members of an Enum, and tuples of only such;
        none for what has been computed from a result; and none for an array or another object in a Closure that was
        made beforehand, which has taken a copy.
        """
        return list(self._calls)

    def summary(self) -> str:
        """What has been checked, in one line: ``dry run: 3 calls checked, 2 kinds: parse x 2, plot x 1``."""
        kinds = Counter(call.name for call in self._calls).most_common()
        listed = ", ".join(f"{name} x {count}" for name, count in kinds[:8]) + (", ..." if len(kinds) > 8 else "")
        return f"dry run: {_count(self.calls, 'call')} checked, {_count(len(kinds), 'kind')}: {listed or 'none'}"

    def shutdown(self) -> None:
        if not self._closed:
            LOGGER.info(self.summary())
        super().shutdown()

    def _remember(self, mock: Any, index: int) -> None:
        self._handed_out.append(mock)
        for item in walk([mock]):
            if _is_its_own(item):
                # An object that two calls gave out, through a mock of the user's, tells nothing.
                self._origins[id(item)] = None if self._origins.get(id(item), index) != index else index


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _none_is_plain(_kind: type) -> bool:
    return False


def _fresh(leaf: Any) -> Any:
    """An equal object that is nobody else's, where Python gives one."""
    kind = type(leaf)
    if kind in (float, complex, int):
        return operator.neg(operator.neg(leaf))
    if kind in (str, bytes) and len(leaf) > 1:
        return leaf[:0].join((leaf[:1], leaf[1:]))
    if kind.__module__.partition(".")[0] == "pathlib":
        return kind(leaf)
    return leaf


def _is_its_own(item: Any) -> bool:
    kind = type(item)
    if kind is int:
        return not -5 <= item <= 256
    if kind in (float, complex) or kind.__module__.partition(".")[0] == "pathlib" or is_unknown(item):
        return True
    if kind in (str, bytes):
        return len(item) > 1
    if kind in (tuple, frozenset):
        return bool(item)
    return form_of(kind) is not None or not never_changes(kind)
