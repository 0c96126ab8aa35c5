"""Procs that are about to be made: kept apart until it is certain that all that was asked for can be done."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from weft.errors import ArgumentError, ChoiceError
from weft.procs.bind import arguments_for, check_takes, parameters_of
from weft.procs.casts import cast, text_of
from weft.procs.choices import choices_in, expand
from weft.procs.declare import Declaration
from weft.procs.names import Pattern, check_text, near, placeholders
from weft.procs.proc import Proc, Proto
from weft.procs.registry import Registry

__all__ = ["Draft", "NameContext", "filled"]


class NameContext(NamedTuple):
    """What a function in ``deps`` or ``arg_choices`` gets as its context."""

    proc_name: str  #: The proc that it is asked for.
    params: dict[str, Any]  #: Of `set_params`.
    args: dict[str, Any]  #: The values of the proc's parameters, as far as they are known.


class Draft:
    """New procs beside those of a registry.

    Args:
        registry: where they are to go.
        params: of `set_params`, for functions of the user's.
    """

    def __init__(self, registry: Registry, params: dict[str, Any]) -> None:
        self._registry = registry
        self._params = params
        self.new: dict[str, Proc] = {}

    def get(self, name: str) -> Proc | None:
        """The proc of this name."""
        return self._registry.procs.get(name) or self.new.get(name)

    def make(self, name: str, given: Mapping[str, Any], where: str, proc_name: str | None = None) -> list[Proc]:
        """The procs of a name, which are made where they are not there yet.

        Args:
            name: of a proc; or one that a proto matches, or its pattern, perhaps with globs.
            given: values of parameters.
            where: for messages.
            proc_name: the new proc's name, instead of what follows from the pattern.

        Raises UnknownNameError, ArgumentError and ChoiceError.
        """
        found = self.find(name, given, where, proc_name)
        if not found:
            raise self._registry.unknown(filled(name, given), where)
        return found

    def find(self, name: str, given: Mapping[str, Any], where: str, proc_name: str | None = None) -> list[Proc]:
        """The same; none where there is no such proc, and nothing that makes it. Raises ArgumentError, ChoiceError."""
        check_text(name, where)
        known = self.get(name)
        if known is None and name not in self._registry.protos:
            known = self.get(filled(name, given))
            given = {param: value for param, value in given.items() if f"[{param}]" not in name} if known else given
        if known is not None:
            _check_same(known, given, where)
            return [known]
        matched = self._matched(name, given, where)
        if matched is None:
            return []
        proto, pattern, texts, left = matched
        declaration = proto._declaration
        extra = self._extra(declaration, name, left, where)
        # One parameter after the other, since the choices of one may depend on the values of those before it.
        combinations: list[tuple[dict[str, str], dict[str, Any]]] = [({}, extra)]
        for param in pattern.params:
            combinations = [
                ({**said, param: text}, {**args, param: value})
                for said, args in combinations
                for text, value in self._expanded(declaration, param, texts[param], given.get(param), name, args)
            ]
        made = [_made(declaration, pattern, said, args, where) for said, args in combinations]
        if proc_name is not None:
            made = [_renamed(made, proc_name, where)]
            self._registry.refuse_known(proc_name, where)
        return [self._keep(proc) for proc in made]

    def ask(self, function: Callable[..., Any], proc_name: str, args: Mapping[str, Any], where: str) -> Any:
        """Call a function of the user's in ``deps`` or ``arg_choices``."""
        context = NameContext(proc_name, dict(self._params), dict(args))
        positional, named = arguments_for(function, context, args, where)
        return function(*positional, **named)

    def _keep(self, proc: Proc) -> Proc:
        known = self.get(proc.name)
        if known is None:
            self.new[proc.name] = known = proc
        return known

    def _matched(
        self, name: str, given: Mapping[str, Any], where: str
    ) -> tuple[Proto, Pattern, dict[str, str], dict[str, Any]] | None:
        """The proto, its pattern, the texts of its parameters, and what of `given` is for others."""
        left = dict(given)
        if name in self._registry.protos and (params := placeholders(name)):
            proto = self._registry.protos[name]
            values = {**proto._declaration.args, **given}
            for param in params:
                left.pop(param, None)
                if param not in values:
                    raise ChoiceError(f"{where}: [{param}] of {name!r} has no value; write {param}=...")
            return proto, proto._patterns[0], {param: text_of(values[param]) for param in params}, left
        for param in placeholders(name):
            if param not in given:
                raise ChoiceError(f"{where}: [{param}] of {name!r} has no value; write {param}=...")
            left.pop(param, None)
        found = self._registry.proto_for(filled(name, given), where)
        if found is None:
            return None
        proto, pattern, texts = found
        for param, text in texts.items():
            if param in left and text_of(left.pop(param)) != text:
                raise ChoiceError(f"{where}: {param}={given[param]!r}, but the name {name!r} says {text!r}")
        return proto, pattern, texts, left

    def _expanded(
        self, declaration: Declaration, param: str, text: str, given: Any, name: str, args: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        where = f"the parameter {param!r} of {declaration.pattern.text!r}"
        choices = declaration.choices.get(param)
        ask: Callable[[], list[Any]] | None = None
        if callable(choices):
            ask = lambda: choices_in(self.ask(choices, name, args, where), f"{where}: what arg_choices returned")  # noqa: E731
        elif choices is not None:
            ask = lambda: list(choices)  # noqa: E731
        default = declaration.args.get(param)
        for value in (given, default):
            if ask is None and value is not None and not isinstance(value, str) and text_of(value) == text:
                return [(text, value)]  # as it is, and not made of its text again
        return expand(text, declaration.kinds.get(param, str), ask, where)

    def _extra(self, declaration: Declaration, name: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Values of parameters that are not in the name, over their defaults."""
        parameters = parameters_of(declaration.function, where)
        known = {parameter.name for parameter in parameters if parameter.name != "context"}
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        extra = dict(declaration.args)
        for param, value in given.items():
            if param not in known and param not in declaration.args and not anything:
                raise ArgumentError(
                    f"{where}: {declaration.pattern.text!r} has no parameter {param!r}{near(param, known)}; "
                    f"parameters: {', '.join(sorted(known)) or '(none)'}"
                )
            extra[param] = value
        for param, value in extra.items():
            if param in declaration.choices and param not in declaration.pattern.params:
                found = self._expanded(declaration, param, text_of(value), None, name, extra)
                if len(found) > 1:
                    raise ChoiceError(f"{where}: {param}={value!r} stands for several values, and is not in the name")
                extra[param] = found[0][1]
            elif isinstance(value, str):
                kind = declaration.kinds.get(param, str)
                extra[param] = cast(value, kind, f"the parameter {param!r} of {declaration.pattern.text!r}")
        return extra


def filled(name: str, given: Mapping[str, Any]) -> str:
    """A name with values in place of its placeholders, as far as there are any."""
    if "[" not in name:
        return name
    return re.sub(r"\[([^\[\]]*)\]", lambda match: text_of(given[match[1]]) if match[1] in given else match[0], name)


def _made(declaration: Declaration, pattern: Pattern, texts: dict[str, str], args: dict[str, Any], where: str) -> Proc:
    name = pattern.fill(texts)
    if left := check_takes(declaration.function, args, declaration.where):
        raise ChoiceError(f"{where}: {name!r} has no value for the parameter {left[0]!r}; write {left[0]}=...")
    return Proc(name, declaration, args, texts)


def _renamed(made: list[Proc], proc_name: str, where: str) -> Proc:
    check_text(proc_name, where)
    if len(made) > 1:
        names = ", ".join(repr(proc.name) for proc in made[:3])
        raise ChoiceError(f"{where}: proc_name={proc_name!r} is one name for {len(made)} procs: {names}; leave it out")
    (proc,) = made
    return Proc(proc_name, proc._declaration, proc.args, proc._texts)


def _check_same(proc: Proc, given: Mapping[str, Any], where: str) -> None:
    for param, value in given.items():
        if param not in proc.args or text_of(proc.args[param]) != text_of(value):
            raise ChoiceError(
                f"{where}: there is a proc {proc.name!r} already, with {param}={proc.args.get(param)!r}, not {value!r}"
            )
