"""What follows from starting some procs: which others, in which order. Nothing is changed here; `Running` does that.

All functions of the user's that say something about names are called here, by whoever starts something; nobody else
plans meanwhile, and no lock that anything which runs could need is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from typing import Any, TypeGuard

from weft.engine.graph import topological_order
from weft.engine.states import IDLE, WANTED
from weft.errors import ArgumentError, ChoiceError
from weft.payload import call_name
from weft.procs.casts import text_of
from weft.procs.conditions import Special
from weft.procs.declare import Rdep
from weft.procs.draft import Draft, filled
from weft.procs.names import placeholders
from weft.procs.proc import Proc, Proto
from weft.procs.registry import Declarer, Registry, UnknownNameError

__all__ = ["Plan", "refuse_late"]


class Plan:
    """The procs that become wanted, each with what it comes after.

    Args:
        registry: what there is.
        draft: takes what has to be made on the way.
        allow_missing: wait for dependencies that are not defined yet.
    """

    def __init__(self, registry: Registry, draft: Draft, *, allow_missing: bool) -> None:
        self._registry = registry
        self._draft = draft
        self._allow_missing = allow_missing
        self._todo: deque[Proc] = deque()
        self.wanted: dict[str, Proc] = {}
        self.deps: dict[str, dict[str, Proc | None]] = {}
        self.specials: dict[str, set[Special]] = {}
        #: Procs that are wanted already, and are now to come after others as well.
        self.late: dict[Proc, dict[str, Proc]] = {}
        self.order: list[Proc] = []

    def make(self, procs: Iterable[Proc], missing: Container[str] = ()) -> None:
        """Find out what follows from starting these.

        Args:
            procs: to be started.
            missing: names that others wait for.

        Raises CycleError, ArgumentError and ChoiceError.
        """
        for proc in procs:
            self._want(proc)
        while self._todo:
            self._follow(self._todo.popleft())
        self._check_waves()
        self._sort(bool(self.late) or any(name in missing for name in self.wanted))

    def _want(self, proc: Proc) -> None:
        if proc._state is IDLE and proc.name not in self.wanted:
            self.wanted[proc.name] = proc
            self.deps.setdefault(proc.name, {})
            self._todo.append(proc)

    def _is_wanted(self, proc: Proc) -> bool:
        return proc.name in self.wanted or proc._state is not IDLE

    def _follow(self, proc: Proc) -> None:
        """What comes before a proc, and what it has to come before."""
        deps, specials = self.deps[proc.name], set[Special]()
        for dep in proc._declaration.deps:
            for item in self._asked(proc, dep):
                if isinstance(item, Special):
                    specials.add(item)
                else:
                    self._depend(proc, item, deps)
        self.specials[proc.name] = specials
        for declarer in self._registry.declarers(proc):
            for before in self._declared(declarer, proc):
                self._want(before)
                deps[before.name] = before
        for rdep in proc._declaration.rdeps:
            self._precede(proc, rdep)

    # Dependencies ---------------------------------------------------------------------------------------------

    def _asked(self, proc: Proc, dep: Any) -> list[str | Special]:
        if isinstance(dep, (str, Special)) or not callable(dep):
            return [dep]
        where = f"{proc._declaration.where}: the function {call_name(dep)} in deps"
        found = self._draft.ask(dep, proc.name, proc.args, where)
        items = found if isinstance(found, (list, tuple)) else [found]
        for item in items:
            if not isinstance(item, (str, Special)):
                raise ArgumentError(f"{where} must return a name or a list of names, got {found!r:.60}")
        return list(items)

    def _depend(self, proc: Proc, name: str, deps: dict[str, Proc | None]) -> None:
        where = f"{proc._declaration.where}: its dependency"
        given = {param: _said(proc, param) for param in placeholders(name) if param in proc.args}
        found = self._draft.find(name, given, where)
        if not found:
            name = filled(name, given)
            if not self._allow_missing:
                unknown = self._registry.unknown(name, where)
                raise UnknownNameError(f"{unknown}; or set_options(allow_missing_deps=True)")
            deps.setdefault(name, None)
        for dep in found:
            self._want(dep)
            deps[dep.name] = dep

    # Who comes before whom by its own word -------------------------------------------------------------------

    def _declared(self, declarer: Declarer, target: Proc) -> list[Proc]:
        """What runs before `target` by its own word; nothing where it does so only when it is scheduled, and is not."""
        source, rdep, texts = declarer
        if isinstance(source, Proc):
            found = [source]
        elif rdep.pulls_target and not _tells_all(source, texts):
            everything = [*self._registry.procs.values(), *self.wanted.values()]
            found = [proc for proc in everything if proc._declaration is source._declaration and _has(proc, texts)]
        else:
            name = _name_for(source, rdep, texts)
            known = self._draft.get(name)
            if known is not None:
                found = [known]
            elif rdep.pulls_target:
                return []
            else:
                found = self._draft.make(name, {}, f"{source._declaration.where}, before {target.name!r}")
        return [proc for proc in found if self._is_wanted(proc)] if rdep.pulls_target else found

    def _precede(self, proc: Proc, rdep: Rdep) -> None:
        """A proc that is scheduled puts itself before its targets."""
        pattern = rdep.pattern
        if not all(param in proc.args for param in pattern.params):
            for target in [*self._registry.procs.values(), *self.wanted.values()]:
                wanted = target._state is WANTED or target.name in self.wanted
                other = target._declaration is not proc._declaration
                if wanted and other and not target._launched and pattern.match(target.name) is not None:
                    self._put_before(proc, target)
            return
        name = pattern.fill({param: text_of(_said(proc, param)) for param in pattern.params})
        known = self._draft.get(name)
        targets = [known] if known is not None else []
        if rdep.pulls_target:
            targets = targets or self._draft.make(name, {}, f"{proc._declaration.where}: WhenScheduled")
        for target in targets:
            if rdep.pulls_target:
                self._want(target)
            self._put_before(proc, target)

    def _put_before(self, proc: Proc, target: Proc) -> None:
        if target.name in self.wanted:
            self.deps[target.name][proc.name] = proc
            return
        refuse_late(proc.name, target)
        if target._state is WANTED and proc.name not in target._deps:
            self.late.setdefault(target, {})[proc.name] = proc

    # Checks ---------------------------------------------------------------------------------------------------

    def _check_waves(self) -> None:
        pairs: list[tuple[Proc, dict[str, Any]]] = [(proc, self.deps[name]) for name, proc in self.wanted.items()]
        for proc, deps in [*pairs, *self.late.items()]:
            wave = proc._declaration.wave
            for dep in deps.values():
                if dep is not None and dep._declaration.wave > wave and not dep._state.is_end:
                    raise ChoiceError(
                        f"{proc.name!r} of wave {wave} cannot wait for {dep.name!r} of wave {dep._declaration.wave}, "
                        f"which starts when all of wave {wave} have ended; give it wave={dep._declaration.wave}"
                    )

    def _sort(self, further: bool) -> None:
        """Put what is wanted in order; `further`: what has been wanted before may now come after what is new."""
        graph: dict[str, list[str]] = {
            name: [dep for dep in self.deps[name] if dep in self.wanted] for name in self.wanted
        }
        if further:
            graph = self._reached()
        self.order = [self.wanted[name] for name in topological_order(graph) if name in self.wanted]
        # Those of a higher wave must find the others wanted. No dependency is of a higher wave than what needs it.
        self.order.sort(key=lambda proc: proc._declaration.wave)

    def _reached(self) -> dict[str, list[str]]:
        """What is new, and all that has been wanted and that it comes after, or that comes after it."""
        graph: dict[str, list[str]] = {name: list(self.deps[name]) for name in self.wanted}
        todo = [dep for name in self.wanted for dep in self.deps[name].values() if _is_open(dep)]
        todo += self.late
        while todo:
            proc = todo.pop()
            if proc.name not in graph:
                before = {**proc._deps, **self.late.get(proc, {})}
                graph[proc.name] = list(before)
                todo += filter(_is_open, before.values())
        return graph


def _is_open(proc: Proc | None) -> TypeGuard[Proc]:
    return proc is not None and proc._state is WANTED


def refuse_late(name: str, target: Proc) -> None:
    """Raise ChoiceError where `target` has started, and so nothing can run before it any more."""
    if target._launched or target._state.is_end:
        state = target._state.name if target._state is not WANTED else "RUNNING"
        raise ChoiceError(
            f"{name!r} is to run before {target.name!r}, which is already {state}: {name!r} is scheduled too late; "
            "start it first, or both in one start(...)"
        )


def _said(proc: Proc, param: str) -> Any:
    """What stands for a parameter in names: the text that the user wrote, where there is one."""
    return proc._texts.get(param, proc.args[param])


def _tells_all(proto: Proto, texts: dict[str, str]) -> bool:
    """Whether a target tells all that is in the name of the one that comes before it."""
    declaration = proto._declaration
    return all(param in texts or param in declaration.args for param in declaration.pattern.params)


def _has(proc: Proc, texts: dict[str, str]) -> bool:
    return all(param in proc.args and text_of(_said(proc, param)) == text for param, text in texts.items())


def _name_for(proto: Proto, rdep: Rdep, texts: dict[str, str]) -> str:
    """The name of the proc of `proto` that comes before a target."""
    declaration = proto._declaration
    pattern = declaration.implied(rdep) or declaration.pattern
    known = {**{name: text_of(value) for name, value in declaration.args.items()}, **texts}
    return pattern.fill({param: known[param] for param in pattern.params})
