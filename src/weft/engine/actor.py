"""One thread that does what others put into its inbox, one message after another.

What the messages work on belongs to that thread alone and needs no lock. The lock here, the door, stands only between
those who bring something new and the end of the thread: whatever is accepted is dealt with.

The thread holds the *hand*, except while it sleeps. Then another thread may take it, and do for once what else would be
a message: two threads that wake each other wait longer for that than most of what they do takes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from weft.engine.complain import complain
from weft.errors import ClosedError

__all__ = ["Actor"]

N = TypeVar("N")
Verb: TypeAlias = Callable[[Any], object]


IDLE = 10.0  # seconds

_main = threading.main_thread().ident


def _in_child() -> None:
    global _main
    _main = threading.main_thread().ident


os.register_at_fork(after_in_child=_in_child)


class _Idle(Exception):  # noqa: N818 - no error
    """The thread has had nothing to do for a while, and is not the actor's any more."""


class Actor(Generic[N]):
    """An inbox, a tray for what is new, the thread that reads both, and how it begins and ends.

    The subclass says what a turn is. What is new has a tray of its own, so that a flood of it does not stand before
    the messages that say what has ended; but every message that asks for something finds all of it taken in.
    """

    def __init__(self, name: str) -> None:
        self.thread: threading.Thread | None = None
        self._name = name
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._new: deque[N] = deque()
        self._asleep = False  # the thread waits, or is about to wait, for its inbox
        self._door = threading.RLock()  # reentrant, for signal handlers
        self._closed = ""  # why no more is accepted
        self._over = False  # the thread reads nothing any more
        self._hand = threading.Lock()  # whoever holds it may touch what belongs to the thread
        self._helper = 0  # another thread that holds it

    # From any thread.

    def put(self, verb: Verb, subject: Any) -> None:
        """Have `verb` called with `subject`, if the thread is still there."""
        self._inbox.put((verb, subject))

    def bring(self, subject: N) -> None:
        """Something new: `ClosedError` after `close`, otherwise it is certain to be dealt with."""
        with self._door:
            if self._closed:
                raise ClosedError(self._closed)
            if self.thread is None:
                self._start()
            self._new.append(subject)
        # The thread says that it will sleep and then looks at the tray once more; we fill the tray and then look
        # whether it sleeps. One of us sees the other. Of many who find it asleep one has to wake it.
        if self._asleep:
            try:
                self._asleep = False
            finally:
                self._inbox.put(None)

    def close(self, why: str) -> None:
        """Accept nothing new, and say `why`. The thread ends when nothing is left to do."""
        with self._door:
            if not self._closed:
                self._closed = why
                self._inbox.put(None)

    def event_after(self, verb: Callable[[threading.Event], object]) -> threading.Event:
        """Have `verb` called with a new event, which it is to set; the event is set already where nobody would."""
        event = threading.Event()
        with self._door:
            if self.thread is None or self._over:
                event.set()
            else:
                self._inbox.put((verb, event))
        return event

    def is_here(self) -> bool:
        """Whether this very thread is the one that does the work."""
        return threading.current_thread() is self.thread or threading.get_ident() == self._helper

    def helps(self) -> bool:
        """Take the hand, if the thread sleeps; then `has_helped` must follow. Never in the main thread.

        There a Ctrl-C may come at any moment, and what belongs to the thread would be left half done.
        """
        here = threading.get_ident()
        if here == _main or not self._hand.acquire(blocking=False):
            return False
        self._helper = here
        return True

    def has_helped(self, *, wake: bool) -> None:
        """Give the hand back; `wake` the thread, if there is something that it has to do itself."""
        self._helper = 0
        self._hand.release()
        if wake:
            self._inbox.put(None)

    def abandon(self) -> None:
        """In the child of a fork: the thread is not here, so nothing accepted here would ever be done."""
        self._door = threading.RLock()
        self._hand = threading.Lock()
        self._hand.acquire()
        self._over = True
        self._closed = "this scheduler belongs to the process that was forked; make a new one in the child"

    # The thread.

    def _start(self) -> None:
        # A daemon, so that work which never ends cannot keep the process; `weft.engine.exit` sees to it that what
        # was accepted is submitted before the interpreter goes.
        thread = threading.Thread(target=self._run, name=f"weft-{self._name}", daemon=True)
        thread.start()  # it may fail; then the next one who brings something tries again
        self.thread = thread

    def _run(self) -> None:
        """No thread dies silently: what goes wrong in a turn is logged, and the next turn comes."""
        with self._hand:
            while not self._over:
                try:
                    self._turn()
                except _Idle:
                    return
                except BaseException as exception:  # noqa: BLE001
                    complain("unexpected error in the thread of %s", self._name)
                    self._went_wrong(exception)

    def _turn(self) -> None:
        """Hook: one turn, or as many as go well; sets `_over`, by `_stop`, when all is done."""
        raise NotImplementedError

    def _went_wrong(self, exception: BaseException) -> None:
        """Hook: see to it that nobody waits for ever because of this."""

    def _may_sleep(self) -> bool:
        """Whether the next look at the inbox may block."""
        self._asleep = not self._new
        if self._new:
            self._asleep = False
        return self._asleep

    def _message(self, in_hand: bool) -> Any:
        """The next message. With nothing in hand, wait only so long for one, then end until somebody brings more.

        Otherwise the thread would keep alive for ever what the verbs refer to: often the object that has dropped us.
        """
        while True:
            self._hand.release()
            try:
                return self._inbox.get(timeout=None if in_hand else IDLE)
            except Empty:
                with self._door:
                    if self._inbox.empty() and not self._new:
                        self.thread = None
                        raise _Idle from None
            finally:
                self._hand.acquire()

    def _stop(self) -> bool:
        """Whether the thread may end now: nothing new can come, and nothing old is left."""
        if self._closed:
            with self._door:
                self._over = self._inbox.empty() and not self._new
        return self._over
