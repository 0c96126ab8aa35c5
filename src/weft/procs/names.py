"""Names with placeholders: ``deploy::[env]`` stands for ``deploy::prod`` and all its like."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from weft.errors import ArgumentError, ChoiceError

__all__ = ["Pattern", "check_plain", "check_text", "is_glob", "near", "placeholders"]

_PLACEHOLDER = re.compile(r"\[([^\[\]]*)\]")
NEAR = 3  # names that a message suggests, at most


class Pattern:
    """A name with placeholders, read once.

    A placeholder stands for one or more characters without the separator. One that ends the pattern takes all the rest,
    separators included, and that may be nothing.

    Args:
        text: such as ``deploy::[env]::[host]``.
        separator: between a placeholder and the text after it.
        where: what the user wrote, for messages.

    Raises ArgumentError and ChoiceError (a ValueError).
    """

    def __init__(self, text: str, separator: str, where: str) -> None:
        check_text(text, where)
        self.text = text
        self.separator = separator
        self.params: tuple[str, ...] = tuple(_PLACEHOLDER.findall(text))
        _check_params(self.params, text, where)
        self._literals = _PLACEHOLDER.split(text)[::2]
        for after in self._literals[1:-1] + ([self._literals[-1]] if self._literals[-1] else []):
            if self.params and not after.startswith(separator):
                raise ChoiceError(
                    f"{where}: what follows a placeholder must begin with {separator!r}, not {after!r}, in {text!r}; "
                    f"write {_mended(text, separator)!r}"
                )
        self._regex: re.Pattern[str] | None = None

    def match(self, name: str) -> dict[str, str] | None:
        """The texts that the placeholders stand for in `name`; None where it is none of this pattern."""
        if not self.params:
            return {} if name == self.text else None
        if not name.startswith(self._literals[0]):  # as nearly always, and much quicker
            return None
        if self._regex is None:
            self._regex = self._compiled()
        match = self._regex.fullmatch(name)
        return None if match is None else match.groupdict()

    def fill(self, texts: Mapping[str, str]) -> str:
        """The name with these texts in place of the placeholders.

        Raises ChoiceError for a text that a placeholder cannot stand for.
        """
        name = self._literals[0]
        for param, literal in zip(self.params, self._literals[1:], strict=True):
            name += texts[param] + literal
        if self.match(name) != {param: texts[param] for param in self.params}:
            wrong = next((p for p in self.params if not texts[p] or self.separator in texts[p]), self.params[0])
            raise ChoiceError(
                f"{wrong}={texts[wrong]!r} cannot stand in {self.text!r}: it must be one or more characters without "
                f"{self.separator!r}"
            )
        return name

    def _compiled(self) -> re.Pattern[str]:
        inner = f"(?:(?!{re.escape(self.separator)}).)+"
        regex = re.escape(self._literals[0])
        for param, literal in zip(self.params, self._literals[1:], strict=True):
            is_last = param == self.params[-1] and not literal
            regex += f"(?P<{param}>{'.*' if is_last else inner})" + re.escape(literal)
        return re.compile(regex, re.DOTALL)

    def __repr__(self) -> str:
        return f"<Pattern {self.text!r}>"


def _check_params(params: tuple[str, ...], text: str, where: str) -> None:
    for param in params:
        if not param.isidentifier():
            raise ChoiceError(
                f"{where}: [{param}] in {text!r} must be the name of a parameter, such as [env] or [host_1]"
            )
        if params.count(param) > 1:
            raise ChoiceError(f"{where}: [{param}] is twice in {text!r}; give each placeholder a name of its own")


def _mended(text: str, separator: str) -> str:
    return re.sub(r"\](?!$)(?!" + re.escape(separator) + ")", "]" + separator.replace("\\", r"\\"), text)


def placeholders(text: str) -> list[str]:
    """The names in square brackets."""
    return _PLACEHOLDER.findall(text)


def check_text(name: Any, where: str) -> str:
    """`name`, where it is a text that is not empty."""
    if not isinstance(name, str):
        raise ArgumentError(f"{where}: a name must be a text, got {name!r:.60}")
    if not name:
        raise ChoiceError(f"{where}: a name must not be empty")
    return name


def check_plain(name: str, where: str) -> str:
    """`name`, where it has no placeholders."""
    check_text(name, where)
    if found := placeholders(name):
        raise ChoiceError(
            f"{where}: the name {name!r} has a placeholder, [{found[0]}]; a Proc is one process; "
            f"write @Proto(name={name!r})"
        )
    return name


def is_glob(text: str) -> bool:
    """Whether a text stands for several choices."""
    return "*" in text or "?" in text


def _head(name: str) -> str:
    return (re.match(r"\W*\w+", name) or [name])[0]


def near(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'a' or 'b'?``, or nothing."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=NEAR, cutoff=0.6)
    if not close:  # what comes before the parameters may tell
        heads = {_head(other): other for other in reversed(names)}
        close = [heads[head] for head in difflib.get_close_matches(_head(name), list(heads), n=NEAR, cutoff=0.6)]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
