"""Does what running procs ask for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from weft.engine.states import IDLE
from weft.errors import DeadlockError
from weft.procs.failures import failed, process_error
from weft.procs.proc import Proc
from weft.procs.waiting import Waiter

if TYPE_CHECKING:
    from weft.procs.core import Core
    from weft.procs.running import Running

__all__ = ["Desk"]


class Desk:
    """In a thread of the proc that asks, or one that stands for it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._asking = threading.Lock()

    def answer(self, proc_name: str, verb: str, *words: Any) -> Any:
        """Do it. Raises what that raises."""
        from weft.procs.core import flat

        core = self._core
        if verb == "create":
            name, new_name, params = words
            return core.create(name, params, new_name)
        if verb == "start":
            return core.start_names(flat(words, "start"))
        if verb == "get_input":
            return self._ask_user(*words)
        return self._wait(core.known(proc_name, "wait"), flat(words, "wait"))

    def _wait(self, proc: Proc, names: list[str]) -> dict[str, Any]:
        """A running proc waits: the results, by name."""
        core = self._core
        known = [core.known(name, "wait") for name in names]
        if idle := [one.name for one in known if one._state is IDLE]:
            core.start_names(idle)
        if core.running is not None:
            self._sleep(core.running, proc, known)
        if bad := failed(known):
            raise process_error(bad)
        return {one.name: one.output for one in known}

    def _sleep(self, running: Running, proc: Proc, known: list[Proc]) -> None:
        with self._core.lock:
            waiter = Waiter(known, proc)
            if not waiter.left:
                return
            running.pause(proc, waiter.left)
            waiter.refused = running.loose.way_round(proc)
            if not waiter.refused:
                running.waiters.add(waiter)
        try:
            if not waiter.refused:
                running.loose.look()
                waiter.wait()
        finally:
            with self._core.lock:
                running.waiters.remove(waiter)
                seat = running.resume(proc)
        if seat is not None:
            seat.taken.wait()
        if waiter.refused:
            raise DeadlockError(f"wait: {proc.name!r} would never go on: {waiter.refused}")

    def _ask_user(self, message: str, password: bool) -> str:
        """The line that is typed, without its newline; one question at a time. Raises EOFError where nobody is."""
        with self._asking, self._core.lines.silent():
            if password:
                from getpass import getpass

                return getpass(message)
            return input(message)
