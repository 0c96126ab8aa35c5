"""One thread that does what others put into its inbox, one message after another.

What the messages work on belongs to that thread alone and needs no lock. The lock here, the door, stands only between
those who put messages in and the end of the thread: whatever is accepted is dealt with.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

from weft.errors import ClosedError

__all__ = ["Actor"]

LOGGER = logging.getLogger("weft")

Verb: TypeAlias = Callable[[Any], object]


class Actor:
    """An inbox, the thread that reads it, and how both begin and end. The subclass says what a turn is."""

    def __init__(self, name: str) -> None:
        self.thread: threading.Thread | None = None
        self._name = name
        self._inbox: SimpleQueue[tuple[Verb, Any]] = SimpleQueue()
        self._door = threading.RLock()  # reentrant, for signal handlers
        self._closed = ""  # why no more is accepted
        self._over = False  # the thread reads its inbox no more

    # From any thread.

    def put(self, verb: Verb, subject: Any) -> None:
        """Have `verb` called with `subject`, if the thread is still there."""
        self._inbox.put((verb, subject))

    def put_if_open(self, verb: Verb, subject: Any) -> None:
        """The same for something new: `ClosedError` after `close`, otherwise it is certain to be dealt with."""
        with self._door:
            if self._closed:
                raise ClosedError(self._closed)
            if self.thread is None:
                self._start()
            self._inbox.put((verb, subject))

    def close(self, why: str) -> None:
        """Accept nothing new, and say `why`. The thread ends when nothing is left to do."""
        with self._door:
            if not self._closed:
                self._closed = why
                self._inbox.put((self._look_again, None))

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
        return threading.current_thread() is self.thread

    def abandon(self) -> None:
        """In the child of a fork: the thread is not here, so nothing accepted here would ever be done."""
        self._door = threading.RLock()
        self._over = True
        self._closed = "this scheduler belongs to the process that was forked; make a new one in the child"

    # The thread.

    def _start(self) -> None:
        # A daemon, so that work which never ends cannot keep the process; `weft.engine.exit` sees to it that what
        # was accepted is submitted before the interpreter goes.
        self.thread = threading.Thread(target=self._run, name=f"weft-{self._name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        raise NotImplementedError

    def _do(self, verb: Verb, subject: Any) -> None:
        """No thread dies silently: what goes wrong is logged and handed to `_went_wrong`, and the thread goes on."""
        try:
            verb(subject)
        except BaseException as exception:
            LOGGER.exception("unexpected error in the thread of %s", self._name)
            self._went_wrong(subject, exception)

    def _went_wrong(self, subject: Any, exception: BaseException) -> None:
        """Hook: what an error means for the subject of the message."""

    def _stop(self) -> bool:
        """Whether the thread may end now: nothing new can come, and nothing old is left in the inbox."""
        if not self._closed:
            return False
        with self._door:
            self._over = self._inbox.empty()
            return self._over

    def _look_again(self, _: None) -> None:
        """A message that only wakes the thread up."""
