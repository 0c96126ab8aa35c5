"""From the text in a name to the value that a parameter's annotation asks for."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

from weft.errors import ArgumentError, ChoiceError, told
from weft.payload import call_name

__all__ = ["annotations_of", "cast", "text_of"]

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_UNIONS = (typing.Union, types.UnionType)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The types that a function's parameters are annotated with; annotations that are texts are resolved."""
    found = getattr(function, "__annotations__", None)
    if not found:
        return {}
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - expressions of the user's; one by one, to name the one that is wrong
        return {name: _resolved(function, name, annotation) for name, annotation in found.items() if name != "return"}


def _resolved(function: Any, name: str, annotation: Any) -> Any:
    if not isinstance(annotation, str):
        return annotation
    cells = dict(
        zip(function.__code__.co_freevars, (cell.cell_contents for cell in function.__closure__ or ()), strict=False)
    )
    try:
        return eval(annotation, function.__globals__, cells)
    except Exception as error:  # noqa: BLE001 - an expression of the user's
        raise ArgumentError(
            f"the annotation of the parameter {name!r} of {call_name(function)}, {annotation!r}, cannot be resolved: "
            f"{told(error)}; define or import what it names at the top of the module"
        ) from None


def cast(text: str, kind: Any, where: str) -> Any:  # noqa: PLR0911 - one for each kind
    """The value that `text` stands for.

    Args:
        text: from a name, or written for a parameter.
        kind: an annotation; ``bool`` takes true, 1, yes, on, and false, 0, no, off; an Enum its values and names; any
            other callable type is called with the text.
        where: such as ``the parameter 'n' of "count::[n]"``.

    Raises ChoiceError (a ValueError) for a text that stands for no such value, ArgumentError for a kind that has none.
    """
    if kind is str or kind is Any or kind is object:
        return text
    origin = typing.get_origin(kind)
    if origin in _UNIONS:
        return _cast_any(text, typing.get_args(kind), kind, where)
    if origin is typing.Annotated:
        return cast(text, typing.get_args(kind)[0], where)
    if origin is typing.Literal:
        return _pick(text, {text_of(value): value for value in typing.get_args(kind)}, where)
    if kind is bool:
        return _pick(text.lower(), dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False), where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        by_name = {member.name: member for member in kind}
        return _pick(text, by_name | {text_of(member.value): member for member in kind}, where)
    if origin is not None or not callable(kind):
        raise ArgumentError(f"{where} is annotated {_shown(kind)}, which cannot be made of a text; write int or Path")
    try:
        return kind(text)
    except Exception as error:  # noqa: BLE001 - code of the user's
        raise ChoiceError(f"{where} must be {_shown(kind)}, got {text!r} ({told(error):.80})") from None


def _cast_any(text: str, kinds: tuple[Any, ...], union: Any, where: str) -> Any:
    others = [kind for kind in kinds if kind is not type(None)]
    if str not in others and type(None) in kinds and text.lower() in ("", "none"):
        return None
    for kind in others:
        try:
            return cast(text, kind, where)
        except ChoiceError:
            if len(others) == 1:
                raise
    raise ChoiceError(f"{where} must be {_shown(union)}, got {text!r}")


def _pick(text: str, choices: dict[str, Any], where: str) -> Any:
    if text in choices:
        return choices[text]
    raise ChoiceError(f"{where} must be one of {', '.join(map(repr, choices))}, got {text!r}")


def _shown(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and typing.get_origin(kind) is None else str(kind)


def text_of(value: Any) -> str:
    """What stands for a value in a name; `cast` makes it of that again."""
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name
    return str(value).lower() if isinstance(value, bool) else str(value)
