"""What a function of the user's is called with, by the names of its parameters.

A parameter that bears the name of a value gets that; the first of the others gets the context, unless it has a
default and is not called ``context``. A function may take less than there is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Any

from weft.errors import ArgumentError
from weft.payload import call_name

__all__ = ["arguments_for", "check_takes", "parameters_of"]


def parameters_of(function: Callable[..., Any], where: str) -> list[Parameter]:
    """The parameters. Raises ArgumentError for what cannot be called, or does not tell."""
    if not callable(function):
        raise ArgumentError(f"{where} must be a function, got {function!r:.60}")
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [Parameter("args", Parameter.VAR_POSITIONAL)]


def check_takes(function: Callable[..., Any], names: Iterable[str], where: str) -> list[str]:
    """The parameters that have no value yet, given values of these names and the context."""
    known = set(names)
    left: list[str] = []
    context = True
    for parameter in parameters_of(function, where):
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) or parameter.name in known:
            continue
        if context and _takes_context(parameter):
            context = False
        elif parameter.default is Parameter.empty:
            left.append(parameter.name)
    return left


def arguments_for(
    function: Callable[..., Any], context: Any, values: Mapping[str, Any], where: str
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments. Raises ArgumentError where a parameter gets none."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    left = dict(values)
    context_left = True
    for parameter in parameters_of(function, where):
        if parameter.kind is Parameter.VAR_KEYWORD:
            kwargs |= left
            continue
        if parameter.kind is Parameter.VAR_POSITIONAL:
            continue
        if parameter.name in left:
            value = left.pop(parameter.name)
        elif context_left and _takes_context(parameter):
            context_left = False
            value = context
        elif parameter.default is not Parameter.empty:
            continue
        else:
            raise ArgumentError(f"{where}: {call_name(function)} takes {parameter.name!r}, of which there is no value")
        _give(parameter, value, args, kwargs)
    return args, kwargs


def _takes_context(parameter: Parameter) -> bool:
    if parameter.kind is Parameter.KEYWORD_ONLY:
        return parameter.name == "context"
    return parameter.default is Parameter.empty or parameter.name == "context"


def _give(parameter: Parameter, value: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    if parameter.kind is Parameter.POSITIONAL_ONLY:
        args.append(value)
    else:
        kwargs[parameter.name] = value
