"""What a function says about itself: its signature, and the types of its parameters and its result."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from weft.errors import ArgumentError
from weft.payload import call_name

if TYPE_CHECKING:
    from inspect import Parameter, Signature

__all__ = ["Facts", "call_name", "facts_of"]


def facts_of(function: Callable[..., Any]) -> Facts:
    """What a function says about itself. Of the same function the same object, as long as it is not long ago."""
    return _known(function) if type(function) is FunctionType else Facts(function)


class Facts:
    """The signature and annotations of a function, read when they are first needed and kept.

    Raises ArgumentError, at once, for what cannot be called as a function can.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        import inspect

        self._function = function
        self._parameters: dict[str, Any] | None = None
        self._hints: dict[str, Any] = {}
        try:
            self.signature: Signature = inspect.signature(function)
        except ValueError:
            raise ArgumentError(
                f"{call_name(function)} does not tell its parameters; write a function with annotations around it"
            ) from None

    def parameters(self) -> dict[str, Any]:
        """The type of each parameter: its annotation, else the type of its default.

        ``*args: int`` is ``tuple[int, ...]`` and ``**kwargs: int`` is ``dict[str, int]``, as the function sees them.
        A default of None makes None acceptable whatever the annotation. The parameters of a lambda, which cannot be
        annotated, are Any.

        Raises ArgumentError naming a parameter without both, or one whose annotation cannot be resolved.
        """
        if self._parameters is None:
            self._parameters = {name: self._type_of(par) for name, par in self.signature.parameters.items()}
        return self._parameters

    def result(self) -> Any:
        """The return annotation, Any without one. Raises ArgumentError where it cannot be resolved."""
        annotation = self.signature.return_annotation
        return Any if annotation is self.signature.empty else self._resolved("return", annotation)

    def _type_of(self, parameter: Parameter) -> Any:
        annotation = parameter.annotation
        if annotation is parameter.empty:
            annotation = self._type_of_default(parameter)
        else:
            annotation = self._resolved(parameter.name, annotation)
            if parameter.default is None:
                annotation = typing.Optional[annotation]  # noqa: UP045 - `|` does not take every annotation
        if parameter.kind is parameter.VAR_POSITIONAL:
            return tuple[Any, ...] if _is_unpacked(annotation) else tuple.__class_getitem__((annotation, ...))
        if parameter.kind is parameter.VAR_KEYWORD:
            # **kwargs: Unpack[Options] says by itself which keys there are.
            return (
                typing.get_args(annotation)[0]
                if _is_unpacked(annotation)
                else dict.__class_getitem__((str, annotation))
            )
        return annotation

    def _type_of_default(self, parameter: Parameter) -> Any:
        default = parameter.default
        if default is None or call_name(self._function) == "<lambda>":
            return Any
        if default is not parameter.empty:
            return Callable if callable(default) and not isinstance(default, type) else type(default)
        name = parameter.name
        shown = f"*{name}" if parameter.kind is parameter.VAR_POSITIONAL else name
        shown = f"**{name}" if parameter.kind is parameter.VAR_KEYWORD else shown
        raise ArgumentError(
            f"the parameter {name!r} of {call_name(self._function)} has no annotation and no default to tell its "
            f"type; write '{shown}: int', or '{shown}: Any' for whatever may come"
        )

    def _resolved(self, name: str, annotation: Any) -> Any:
        """The annotation without strings in it."""
        if not self._hints:
            self._hints = _hints_of(self._function)
        return self._hints.get(name, annotation)


def _is_unpacked(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Unpack


def _hints_of(function: Any) -> dict[str, Any]:
    target = _innermost(function)
    annotations = getattr(target, "__annotations__", {})
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:
        for name, annotation in annotations.items():
            _resolve(function, target, name, annotation)
        raise


def _resolve(function: Any, target: Any, name: str, annotation: Any) -> None:
    import types

    alone: Any = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        typing.get_type_hints(alone, getattr(target, "__globals__", {}), include_extras=True)
    except Exception as error:  # noqa: BLE001 - an annotation is an expression of the user's
        what = "return annotation" if name == "return" else f"annotation of the parameter {name!r}"
        shown = getattr(annotation, "__forward_arg__", annotation)
        raise ArgumentError(
            f"the {what} of {call_name(function)}, {shown!r}, cannot be resolved: {error}; define or import what it "
            "names at the top of its module, not inside a function or under TYPE_CHECKING"
        ) from None


def _innermost(function: Any) -> Any:
    """The function that carries the annotations."""
    import inspect

    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif not inspect.isroutine(function) and not isinstance(function, type):
            function = type(function).__call__
        else:
            return function


# Many jobs and calls have one function, and reading its signature takes longer than all else about them.
_known = functools.lru_cache(maxsize=256)(Facts)
