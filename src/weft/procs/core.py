"""What a manager consists of, underneath its verbs: what is known, who may change it, and the engine."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weft.engine.exit import before_the_rest
from weft.errors import ArgumentError, ChoiceError, ClosedError, DeadlockError
from weft.procs.declare import read_proc, read_proto
from weft.procs.desk import Desk
from weft.procs.draft import Draft
from weft.procs.lines import Lines
from weft.procs.logs import log_folder
from weft.procs.names import check_text, near
from weft.procs.observers import Observers
from weft.procs.options import FIXED, Options, changed
from weft.procs.plan import Plan
from weft.procs.proc import Proc, Proto
from weft.procs.registry import Registry
from weft.procs.running import Running
from weft.procs.signals import Guard, Signals
from weft.procs.waiting import Waiter

__all__ = ["Core", "flat"]

Item = Proc | Proto


class Core:
    """The state of one manager."""

    def __init__(self) -> None:
        # For all that is known of procs; held for a moment, and never while somebody else's code runs.
        self.signals = Signals(self._stop_for)
        self.lock = Guard(self.signals)
        # Of whoever defines or starts something: one at a time, since what follows from it is decided as a whole.
        # Functions of the user's are called meanwhile, and may define and start things in turn.
        self._planning = threading.RLock()
        self._planner = 0  # the thread that does so
        self.registry = Registry()
        self.options = Options()
        self.params: dict[str, Any] = {}
        self.running: Running | None = None
        self._folder: Path | None = None
        self.lines = Lines(self)
        self.observers = Observers(self.lines)
        self._desk = Desk(self)
        self._pid = os.getpid()
        _cores.add(self)

    def define_proc(self, name: Any, function: Any, options: Mapping[str, Any]) -> Proc:
        with self.plans():
            declaration = read_proc(name, function, self.options.name_param_separator, options)
            proc = Proc(declaration.pattern.text, declaration, dict(declaration.args))
            self._define(proc, [proc] if declaration.now or proc.name in self._missing() else [])
            return proc

    def define_proto(self, name: Any, function: Any, options: Mapping[str, Any]) -> Proto:
        with self.plans():
            declaration = read_proto(name, function, self.options.name_param_separator, options)
            proto = Proto(declaration)
            self._define(proto, [])
            return proto

    def _define(self, item: Proc | Proto, start: list[Proc]) -> None:
        registry = self.registry
        registry.refuse_known(item.name, item._declaration.where)
        with self.lock:
            registry.add(item)
        try:
            draft = Draft(registry, self.params)
            if isinstance(item, Proto):
                names = [name for name in self._missing() if _matches(item, name)]
                start = [proc for name in names for proc in draft.make(name, {}, "start")]
            if isinstance(item, Proto) and item._declaration.now:
                start += draft.make(item.name, {}, item._declaration.where)
            if start:
                self.start(draft, start, now=True)
        except BaseException:
            with self.lock:
                registry.remove(item)
            raise

    def _missing(self) -> Collection[str]:
        with self.lock:
            return () if self.running is None else self.running.loose.missing

    @contextmanager
    def plans(self) -> Iterator[Draft]:
        """Nobody else defines or starts anything meanwhile; what is to be made is put into the draft."""
        self.check_here()
        with self._planning:
            before, self._planner = self._planner, threading.get_ident()
            try:
                yield Draft(self.registry, self.params)
            finally:
                self._planner = before

    def check_here(self) -> None:
        if self._pid != os.getpid():
            raise ClosedError(
                "this ProcManager belongs to the process that started this proc; use the context that the proc's "
                "function gets: context.run(...), context.wait(...)"
            )

    def create(self, name: str, params: Mapping[str, Any], proc_name: str | None = None) -> list[str]:
        """Make procs."""
        with self.plans() as draft:
            procs = draft.make(name, params, "create", proc_name)
            if awaited := [proc for proc in draft.new.values() if proc.name in self._missing()]:
                self.start(draft, awaited, now=True)
            else:
                self.commit(draft, None)
            return [proc.name for proc in procs]

    def run(self, name: str, params: Mapping[str, Any]) -> list[str]:
        """Make procs and start them."""
        with self.plans() as draft:
            procs = draft.make(name, params, "run")
            self.start(draft, procs)
            return [proc.name for proc in procs]

    def start_names(self, names: Iterable[str]) -> None:
        """Start procs."""
        with self.plans() as draft:
            self.start(draft, [proc for name in names for proc in draft.make(name, {}, "start")])

    def start(self, draft: Draft, procs: Iterable[Proc], *, now: bool = False) -> None:
        plan = Plan(self.registry, draft, allow_missing=self.options.allow_missing_deps or now)
        missing = self._missing()
        plan.make([*procs, *(proc for proc in draft.new.values() if proc.name in missing)], missing)
        if plan.order or plan.late:
            running = self._engine()
            for proc in plan.order:
                running.check(proc)
            self.signals.install()
        self.commit(draft, plan)

    def commit(self, draft: Draft, plan: Plan | None) -> None:
        """Take over what has been planned. Raises ChoiceError, and nothing has happened."""
        with self.lock:
            for name in draft.new:
                # By a function of the user's that was asked on the way.
                self.registry.refuse_known(name, "start")
            if plan is not None and self.running is not None:
                self.running.want(plan)
            for proc in draft.new.values():
                self.registry.add(proc, declared=False)
            if plan is not None and self.running is not None:
                for proc in plan.order:
                    self.running.loose.define(proc)
        if plan is not None and self.running is not None:
            self.running.loose.look()

    def _engine(self) -> Running:
        with self.lock:
            if self.running is None:
                self.running = Running(
                    self.lock, self.options, self.params, self._desk.answer, self.observers.tell, self.folder()
                )
                self.running.failures = sum(proc._error is not None for proc in self.registry.procs.values())
            return self.running

    def known(self, name: Any, where: str) -> Proc:
        """The proc of a name. Raises ArgumentError and ChoiceError."""
        check_text(name, where)
        with self.lock:
            proc = self.registry.procs.get(name)
            names = [] if proc is not None else list(self.registry.procs)
        if proc is None:
            raise ChoiceError(f"{where}: there is no proc {name!r}{near(name, names)}")
        return proc

    def wait(self, procs: list[Proc] | None) -> None:
        """For somebody who is no proc. Raises DeadlockError from where nothing else could start meanwhile."""
        if self._planner == threading.get_ident():
            raise DeadlockError(
                "wait: a function that is asked for dependencies or choices cannot wait for procs; what it waits for "
                "could start nothing meanwhile"
            )
        running = self.running
        if running is None:
            return
        waiter = Waiter(procs)
        with self.lock:
            if not running.open if procs is None else not waiter.left:
                self._settled(running)
                return
            running.waiters.add(waiter)
        try:
            self.signals.install()
            running.loose.look()
            waiter.wait()
        finally:
            with self.lock:
                running.waiters.remove(waiter)
        self._settled(running)

    def _settled(self, running: Running) -> None:
        if not running.open:
            self.lines.summary()
            self.signals.restore()

    def _stop_for(self) -> list[Proc] | None:
        """A signal ends the run: stop all, and return when it is gone; what ran. None: nothing was under way."""
        running = self.running
        if running is None or not running.open:
            return None
        ran = running.stop()
        running.settle()
        running.close(at_once=True)
        self.running = None
        return ran

    # Options and the like -------------------------------------------------------------------------------------

    def folder(self) -> Path:
        """Of the logs. Raises StorageError."""
        with self.lock:
            given = self.options.log_directory
            folder = log_folder(given, self._folder)
            if given is None:
                self._folder = folder
            return folder

    def change(self, words: Mapping[str, Any]) -> None:
        """Take other options."""
        with self._planning:
            with self.lock:
                new = changed(self.options, words)
                moved = [word for word in FIXED if getattr(new, word) != getattr(self.options, word)]
                running = self.running
                if moved and running is not None:
                    if running.open:
                        raise ClosedError(
                            f"set_options: {moved[0]} cannot change while procs run; call wait_for_all() first"
                        )
                    self.running = None
                self.options = new
            if moved and running is not None:
                running.close()

    def clear(self) -> None:
        """Stop what runs, and forget all procs and protos."""
        with self._planning:
            with self.lock:
                running, self.running = self.running, None
                self.registry = Registry()
            if running is not None:
                busy = bool(running.open)
                running.stop()
                running.settle()
                running.close(at_once=busy)
            self.lines.forget()
        self.signals.restore()


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _at_exit() -> None:
    """The script is over: what it has started still runs, and what is missing by now will not come."""
    for core in list(_cores):
        if core._pid == os.getpid() and core.running is not None:
            core.signals.restore()
            core.running.leave_alone()


def _in_child() -> None:
    """After a fork: another thread may have held these, and is not here."""
    for core in list(_cores):
        core.lock = Guard(core.signals)
        core._planning = threading.RLock()


before_the_rest(_at_exit)
os.register_at_fork(after_in_child=_in_child)


def flat(names: Iterable[Any], where: str) -> list[str]:
    """Names, and names in lists, in order. Raises ArgumentError."""
    found: list[str] = []
    for name in names:
        if isinstance(name, (list, tuple)):
            found += flat(name, where)
        elif isinstance(name, str):
            found.append(name)
        elif isinstance(name, Proc):
            found.append(name.name)
        else:
            raise ArgumentError(f"{where} takes names of procs and lists of names, got {name!r:.60}")
    return found


def _matches(proto: Proto, name: str) -> bool:
    return any(pattern.match(name) is not None for pattern in proto._patterns)
