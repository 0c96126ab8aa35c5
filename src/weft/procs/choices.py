"""Which values a parameter of a Proto may have, and what ``*`` and ``?`` stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from weft.errors import ArgumentError, ChoiceError
from weft.procs.casts import cast, text_of
from weft.procs.names import is_glob

__all__ = ["choices_in", "expand"]

SHOWN = 20  # choices that a message lists, at most


def choices_in(found: Any, where: str) -> list[Any]:
    """The choices that a user gave, or that a function of theirs returned, as a list."""
    if isinstance(found, (str, bytes)) or not isinstance(found, Iterable):
        hint = f"; write [{found!r}]" if isinstance(found, str) else ""
        raise ArgumentError(
            f"{where} must be a list of choices, or a function that returns one, got {found!r:.60}{hint}"
        )
    return list(found)


def expand(text: str, kind: Any, choices: Callable[[], list[Any]] | None, where: str) -> list[tuple[str, Any]]:
    """What a text in a name stands for: pairs of a text and its value, several only for a glob.

    Args:
        text: literal, or with ``*`` or ``?``.
        kind: the annotation of the parameter.
        choices: asked for them; None: the parameter has none.
        where: the parameter, for messages.

    Raises ChoiceError (a ValueError).
    """
    if choices is None:
        if is_glob(text):
            raise ChoiceError(f"{where} has no choices that {text!r} could stand for; give it arg_choices")
        return [(text, cast(text, kind, where))]
    known = {text_of(choice): choice for choice in choices()}
    if text in known:
        return [(text, _value(known[text], kind, where))]
    if is_glob(text):
        regex = re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
        found = [(name, _value(choice, kind, where)) for name, choice in known.items() if regex.fullmatch(name)]
        if found:
            return found
        raise ChoiceError(f"{where}: none of its choices is a {text!r}; choices: {_listed(known)}")
    value = cast(text, kind, where)
    if value in known.values():  # another text for the same, such as 01 for 1
        return [(text, value)]
    raise ChoiceError(f"{where} must be one of {_listed(known)}, got {text!r}")


def _value(choice: Any, kind: Any, where: str) -> Any:
    return cast(choice, kind, where) if isinstance(choice, str) else choice


def _listed(known: Iterable[str]) -> str:
    names = list(known)
    return ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "") if names else "(none)"
