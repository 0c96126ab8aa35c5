"""The procs and protos of one manager, by name; and who puts itself before whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from weft.errors import ChoiceError
from weft.procs.declare import Rdep
from weft.procs.names import Pattern, near
from weft.procs.proc import Proc, Proto

__all__ = ["Declarer", "Registry", "UnknownNameError"]


class UnknownNameError(ChoiceError):
    """No proc has this name, and no proto makes one of it."""


class Declarer(NamedTuple):
    """A proc or proto that wants to run before a target."""

    source: Proc | Proto
    rdep: Rdep
    texts: dict[str, str]  #: What the placeholders of its pattern stand for in the target's name.


Candidate: TypeAlias = tuple[Proto, Pattern, dict[str, str]]


class Registry:
    """Read by any thread under the manager's lock; written by whoever plans, see `ProcManager`."""

    def __init__(self) -> None:
        self.procs: dict[str, Proc] = {}
        self.protos: dict[str, Proto] = {}
        # Those without placeholders by name, so that thousands of them cost nothing.
        self._before: dict[str, list[tuple[Proc | Proto, Rdep]]] = {}
        self._before_any: list[tuple[Proc | Proto, Rdep]] = []

    def refuse_known(self, name: str, where: str) -> None:
        """Raise ChoiceError where there is a proc or proto of this name."""
        if name in self.procs or name in self.protos:
            kind = "Proc" if name in self.procs else "Proto"
            raise ChoiceError(
                f"{where}: there is a {kind} {name!r} already; give this one another name, or call clear()"
            )

    def add(self, item: Proc | Proto, *, declared: bool = True) -> None:
        """One more. `declared`: by the user, and not made out of a proto, which has told its `rdeps` already."""
        if isinstance(item, Proc):
            self.procs[item.name] = item
        else:
            self.protos[item.name] = item
        for rdep in item._declaration.rdeps if declared else ():
            if rdep.pattern.params:
                self._before_any.append((item, rdep))
            else:
                self._before.setdefault(rdep.pattern.text, []).append((item, rdep))

    def remove(self, item: Proc | Proto) -> None:
        """Take back an `add`."""
        (self.procs if isinstance(item, Proc) else self.protos).pop(item.name, None)
        for listed in (self._before_any, *self._before.values()):
            listed[:] = [entry for entry in listed if entry[0] is not item]

    def declarers(self, target: Proc) -> Iterator[Declarer]:
        """Those that put themselves before `target`."""
        for source, rdep in self._before.get(target.name, ()):
            if source._declaration is not target._declaration:
                yield Declarer(source, rdep, {})
        for source, rdep in self._before_any:
            # One that would come before itself would come before that as well, and so on.
            if source._declaration is target._declaration:
                continue
            texts = rdep.pattern.match(target.name)
            if texts is not None:
                yield Declarer(source, rdep, texts)

    def proto_for(self, name: str, where: str) -> Candidate | None:
        """The proto that makes a proc of this name, None where there is none. Raises ChoiceError for several."""
        found: list[Candidate] = []
        for proto in self.protos.values():
            for pattern in proto._patterns:
                texts = pattern.match(name)
                if texts is not None:
                    found.append((proto, pattern, texts))
                    break
        if len(found) <= 1:
            return found[0] if found else None
        names = ", ".join(repr(proto.name) for proto, _, _ in found)
        raise ChoiceError(f"{where}: {name!r} is matched by {len(found)} protos: {names}; give them names that differ")

    def unknown(self, name: str, where: str) -> UnknownNameError:
        """The error for a name that nothing makes. It takes a while, with thousands of names to compare."""
        known = [*self.procs, *self.protos]
        return UnknownNameError(
            f"{where}: there is no proc {name!r}, and no proto makes it{near(name, known)}{_listed(known)}"
        )


SHOWN = 12


def _listed(known: list[str]) -> str:
    if not known:
        return "; none has been defined"
    return f"; known: {', '.join(map(repr, known[:SHOWN]))}{', ...' if len(known) > SHOWN else ''}"
