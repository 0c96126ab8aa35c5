"""The other end: a process that runs what its executor sends, and survives whatever an exception can do.

It has one thread. What the executor has to know while a task keeps that thread busy is in the `Ledger`.

From the executor (pickled, see `Wire`)::

    Config                                             once, at first
    (number, half, news, runs)                         a batch; its first task has this number
        news  ((kind, id, packed), ...)                functions and settings that this worker has not seen yet;
                                                       or that it is to forget all that it has seen
        runs  ((function, setting, plain, calls), ...) plain: calls are the single arguments themselves;
                                                       else each is b"" or the packed (args, kwargs)
    None                                               leave

Packed is bytes, or ``(first, count, parcel)``: so many of the files that came with the message, and where in them.

To the executor::

    True                                               it begins with the initializer, which may take its time
    None                                               ready
    bytes                                              the packed failure of the initializer; the worker ends
    (number, outcomes, scalar, nanoseconds, ended)     outcomes from this task on; whether they are all ints, floats
                                                       and None; the time that they took; whether the batch is over:
                                                       what has no outcome by then was not begun

An outcome is an int, a float or None as it is; bytes, which are a packed value; or ``(kind, ...)``, see `batch`.
"""

from __future__ import annotations

import _thread
import os
import pickle
import select
import signal
import sys
import time
from contextvars import Context

from weft.executors.batch import Batch, unpacked
from weft.executors.ledger import Ledger
from weft.executors.wire import Wire
from weft.payload import pack_failure, unpack

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from weft.executors.capture import Sink
    from weft.executors.segments import Segment

__all__ = ["FORGET", "FUNCTION", "SETTING", "Config", "Setting", "Terminated", "Worker", "be_lenient", "work"]

FUNCTION, SETTING, FORGET = range(3)


class Setting:
    """What a task inherits from where it was submitted."""

    __slots__ = ("context", "folder", "path")

    def __init__(self, folder: str | None, path: list[str], context: tuple[tuple[Any, Any], ...]) -> None:
        self.folder = folder
        self.path = path
        self.context = context


class Config:
    """What a worker is told once.

    Args:
        setting: where to begin.
        environ: environment variables.
        argv: what functions of the script find in `sys.argv`.
        initializer: packed (function, args), or nothing.
        capture: None: output goes where it goes; "": into a file in memory; else the folder of log files.
        show_locals: in tracebacks.
    """

    __slots__ = ("argv", "capture", "environ", "initializer", "setting", "show_locals")

    def __init__(
        self,
        setting: Setting,
        environ: dict[str, str],
        argv: list[str],
        initializer: bytes,
        capture: str | None,
        show_locals: bool,
    ) -> None:
        self.setting = setting
        self.environ = environ
        self.argv = argv
        self.initializer = initializer
        self.capture = capture
        self.show_locals = show_locals


_lenient = False
SPARED = 0.15  # seconds; the keeper kills after twice that


def be_lenient(on: bool) -> None:
    """Whether a task that runs when the executor dies may go on for a moment. Default: it is interrupted at once.

    For a task whose outcome is recorded elsewhere: one that is about to end need not be run again.
    """
    global _lenient
    _lenient = on


def _terminate_later() -> None:
    time.sleep(SPARED)
    os.kill(os.getpid(), signal.SIGTERM)


class Terminated(SystemExit):
    """SIGTERM has come: unwind, so that `finally` blocks of the task run, and then die of it."""


def work(wire: Wire, ledger: Ledger, inherited: Mapping[int, Callable[..., Any]]) -> None:
    """Serve one executor; returns when it says so, or is gone. `inherited`: functions that cannot be sent."""
    worker = Worker(wire, ledger, inherited)
    signal.signal(signal.SIGTERM, worker.terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        worker.serve()
    except EOFError:
        return
    except Terminated:
        _die_of_sigterm()


def _die_of_sigterm() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("unreachable")


class Worker:
    """What a worker knows between batches."""

    def __init__(self, wire: Wire, ledger: Ledger, inherited: Mapping[int, Callable[..., Any]]) -> None:
        self.wire = wire
        self.ledger = ledger
        self._inherited = inherited
        self.functions: dict[int, Callable[..., Any]] = dict(inherited)
        self.settings: dict[int, Setting] = {}
        self.contexts: dict[int, Context] = {}
        self.setting: Setting | None = None
        self.sink: Sink | None = None
        self.show_locals = False
        self.alert = False  #: Something has to be seen to before the next task.
        self._last = 0  # number of the first task of the last batch
        self._forked = self._terminated = False
        os.register_at_fork(after_in_child=self._in_child)

    def serve(self) -> None:
        """Do what the messages say until one says to leave; EOFError where the executor is gone."""
        while True:
            for data, files in self.wire.receive():
                message = pickle.loads(data)
                if message is None:
                    return
                if isinstance(message, Config):
                    if not self._begin(message):
                        return
                else:
                    self._run(message, files)

    def terminate(self, *_: object) -> None:
        """On SIGTERM; once, so that nothing interrupts the clean-up of a task."""
        if _lenient and not self._terminated and self._is_orphan():
            self._terminated = self.alert = True  # no further task is begun
            _thread.start_new_thread(_terminate_later, ())
            return
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._terminated = self.alert = True
        raise Terminated(128 + signal.SIGTERM)

    def _is_orphan(self) -> bool:
        """Whether the executor is gone."""
        poll = select.poll()
        poll.register(self.wire, 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _in_child(self) -> None:
        # A child that a task forks is no worker. With the wire open in it, nobody would see that the worker is gone.
        self._forked = self.alert = True
        self.wire.close()

    def send(self, message: Any, files: Sequence[int] = ()) -> None:
        """Tell the executor. EOFError where it is gone."""
        try:
            self.wire.send(pickle.dumps(message, 5), files)
        except OSError as error:
            raise EOFError(str(error)) from None

    # Between tasks -------------------------------------------------------------------------------------------

    def see_to(self, setting: Setting) -> None:
        """Deal with what a task has done to the process as a whole."""
        self.alert = False
        if self._forked:
            os._exit(0)  # the function has returned in the child, too; that is all that it was forked for
        if self._terminated:
            raise Terminated(128 + signal.SIGTERM)
        self.enter(setting)

    def enter(self, setting: Setting) -> None:
        """Be where the task was submitted."""
        before, self.setting = self.setting, setting
        if before is None or before.path != setting.path:
            sys.path[:] = setting.path
        if setting.folder is not None:
            try:
                os.chdir(setting.folder)
            except OSError:  # it is gone by now; a task that needs it will say so
                pass
        self.alert = self._terminated

    # Messages ------------------------------------------------------------------------------------------------

    def _begin(self, config: Config) -> bool:
        os.environ.clear()
        os.environ.update(config.environ)
        sys.argv[:] = config.argv
        self.show_locals = config.show_locals
        self.enter(config.setting)
        sys.addaudithook(self._audit)
        if config.capture is not None:
            from weft.executors.capture import Sink

            self.sink = Sink(config.capture, self.ledger)
        if config.initializer:
            self.send(True)  # noqa: FBT003
            try:
                initializer, args = unpack(config.initializer)
                initializer(*args)
            except Terminated:
                raise
            except BaseException as error:  # noqa: BLE001 - it is told to everyone who waits
                self.send(pack_failure(error, show_locals=self.show_locals))
                return False
        self.send(None)
        return True

    def _audit(self, event: str, _: object) -> None:
        if event == "os.chdir":
            self.alert = True

    def _run(self, message: Any, files: list[int]) -> None:
        number, half, news, runs = message
        segments: Sequence[Segment] = ()
        if files:
            from weft.executors.segments import adopt

            segments = [adopt(file) for file in files]
        if number <= self._last:
            return  # sent twice: a Ctrl-C came between the sending and the note of it
        self._last = number
        for kind, key, packed in news:
            self._learn(kind, key, packed, segments)
        Batch(self, number, half, segments).run(runs)

    def _learn(self, kind: int, key: int, packed: Any, segments: Sequence[Segment]) -> None:
        if kind == FORGET:
            self.functions = dict(self._inherited)
            self.settings, self.contexts = {}, {}
            return
        try:
            value = unpacked(packed, segments)
        except Terminated:
            raise
        except BaseException as error:  # noqa: BLE001 - each call of it fails with this
            value = _Unusable(error) if kind == FUNCTION else Setting(None, list(sys.path), ())
        if kind == FUNCTION:
            self.functions[key] = value
            return
        self.settings[key] = value
        self.contexts[key] = context = Context()
        for variable, content in value.context:
            context.run(variable.set, content)


class _Unusable:
    """In place of a function that did not unpickle."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise self.error
