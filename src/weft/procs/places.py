"""Where procs run: each in a process of its own, or wherever an executor has them run; see also `threads`."""

from __future__ import annotations

import itertools
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from weft.errors import ChoiceError, WeftError
from weft.executors.local import LocalExecutor
from weft.payload import pack, unpack
from weft.procs.call import Call, Outcome
from weft.resources import Resources

__all__ = ["Elsewhere", "NotInheritedError", "OwnProcesses", "Place"]

MANY = 1_000_000  # workers: how many procs run at a time is for the engine's gates to say


class NotInheritedError(WeftError):
    """A worker was forked before the call was there: it is to be submitted again."""


class Place(Protocol):
    """Where calls run."""

    for_good: bool  #: Whether each has a process to itself.
    shares: bool  #: Whether it is this process that they run in.

    def check(self, where: str, resources: Resources) -> None:
        """Refuse, on the user's line, what cannot be had here."""

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        """Have it run."""

    def close(self, *, at_once: bool) -> None:
        """Nothing more comes; return when all is gone. `at_once`: stop what runs."""


# Calls by their keys. A worker is forked once its call is here, and so has all that the call refers to.
_calls: dict[int, Call] = {}
_keys = itertools.count(1)


def _run_inherited(key: int) -> Outcome:
    call = _calls.get(key)
    if call is None:
        raise NotInheritedError(f"call {key} is not here")
    return call()


class OwnProcesses:
    """A worker of a `LocalExecutor` for each proc, forked from this process."""

    for_good = True
    shares = False

    def __init__(self) -> None:
        from weft.executors.streams import flush_streams

        self._executor = LocalExecutor(MANY, start="fork", fresh=True, name="procs")
        self._views: dict[tuple[Any, ...], LocalExecutor] = {}
        # What every worker imports is imported here, once; and what is in a buffer is not written by each of them.
        import weft.executors.keeper
        import weft.procs.packed  # noqa: F401

        flush_streams()

    def check(self, where: str, resources: Resources) -> None:
        self._view(resources)

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        key = next(_keys)
        _calls[key] = call
        try:
            future = self._view(resources).submit(_run_inherited, key)
        except BaseException:
            _calls.pop(key, None)
            raise
        future.add_done_callback(lambda _: _calls.pop(key, None))
        return future

    def close(self, *, at_once: bool) -> None:
        if at_once:  # as after Ctrl-C in a with block
            self._executor.__exit__(KeyboardInterrupt, None, None)
        else:
            self._executor.shutdown()

    def _view(self, resources: Resources) -> LocalExecutor:
        words = {word: value for word, value in resources.words().items() if word != "retries"}
        key = tuple(words.items())
        if key not in self._views:
            self._views[key] = self._executor.using(**words) if words else self._executor
        return self._views[key]


class Elsewhere:
    """An executor of the user's."""

    for_good = False
    shares = False

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def check(self, where: str, resources: Resources) -> None:
        words = [word for word in resources.words() if word != "retries"]
        if words and not hasattr(self._executor, "using"):
            word = "timeout" if words[0] == "time" else words[0]
            raise ChoiceError(
                f"{where}: a {type(self._executor).__name__} knows no {word}; leave it out, or give the proc another "
                "executor"
            )
        self._view(resources)

    def submit(self, call: Call, resources: Resources) -> Future[Outcome]:
        executor = self._view(resources)
        if getattr(executor, "carries_objects", False):
            return executor.submit(call)
        return executor.submit(_run_packed, pack(call))

    def close(self, *, at_once: bool) -> None:
        """It is the user's to shut down."""

    def _view(self, resources: Resources) -> Executor:
        words = {word: value for word, value in resources.words().items() if word != "retries"}
        using: Any = getattr(self._executor, "using", None)
        view: Executor = using(**words) if words else self._executor
        return view


def _run_packed(data: bytes) -> Outcome:
    outcome: Outcome = unpack(data)()
    return outcome
