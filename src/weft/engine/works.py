"""The futures that the submit function returned and that are not done yet, and whose work each is."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

from weft.engine.complain import complain

if TYPE_CHECKING:
    from weft.engine.task import ScheduledFuture

    Task: TypeAlias = ScheduledFuture[Any]

__all__ = ["Works"]


class Works:
    """Which tasks each work is for: nearly always one, so only several are put into a list.

    It belongs to the dispatcher's thread; `cancel` and a look whether there are any are safe from others.
    """

    def __init__(self) -> None:
        self._owners: dict[Future[Any], Task | list[Task]] = {}

    def __bool__(self) -> bool:
        return bool(self._owners)

    def add(self, work: Future[Any], task: Task) -> bool:
        """Note that `work` is for `task`, too; whether it has not been known before."""
        owners = self._owners.setdefault(work, task)
        if owners is task:
            return True
        if isinstance(owners, list):
            owners.append(task)
        else:
            self._owners[work] = [owners, task]
        return False

    def remove(self, work: Future[Any]) -> Task | list[Task] | None:
        """The task or tasks that it was for; None where it is not known."""
        return self._owners.pop(work, None)

    def cancel(self, task: Task) -> None:
        """Stop the work of `task`, or try to cancel it, unless another task still wants it."""
        work = task._work
        if work is None:
            return
        owners = self._owners.get(work)
        if not isinstance(owners, list) or all(owner.done() for owner in owners):
            _cancel(work)

    def cancel_queued(self) -> None:
        """Try to cancel all that does not run yet."""
        for work in tuple(self._owners):
            _cancel(work, unless_running=True)


def _cancel(work: Future[Any], *, unless_running: bool = False) -> None:
    """Cancel it; stop it if it runs and can be stopped, unless what runs is to be left alone."""
    try:
        if unless_running:
            if not work.running():
                work.cancel()
            return
        kill = getattr(work, "kill", None)  # beyond what a Future has: it is for a work that runs, too
        work.cancel() if kill is None else kill()
    except BaseException:  # noqa: BLE001 - a future, or a callback on it, from anywhere
        complain("cannot cancel %r", work)
