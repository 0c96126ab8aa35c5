"""Mock results: example data in the shape of a result, whose leaves' types are the result's types."""

from __future__ import annotations

import typing
from typing import Any

from weft.calls.unknown import is_unknown, why_unknown
from weft.errors import ArgumentError, UnknownValueError
from weft.tree import transform_tree, walk

__all__ = ["api_from_mock"]


def api_from_mock(mock: Any, name: str) -> Any:
    """The result API that a mock stands for: the same tree with the type of each leaf.

    Args:
        mock: example data.
        name: whose mock it is, for messages.

    Raises:
        ArgumentError: a leaf is a type, where an example of that type is wanted.
        UnknownValueError: a leaf or a key is a value that is not known yet.
    """
    for item in walk([mock]):
        if issubclass(type(item), dict):
            _refuse_unknown_keys(item)

    def leaf_type(path: tuple[Any, ...], leaf: Any) -> Any:
        if is_unknown(leaf):
            raise UnknownValueError(why_unknown(leaf))
        if isinstance(leaf, type) or typing.get_origin(leaf) is not None:
            where = f" at {''.join(f'[{step!r}]' for step in path)}" if path else ""
            shown = leaf.__name__ if isinstance(leaf, type) else repr(leaf)
            raise ArgumentError(
                f"the mock of {name}{where} is the type {shown}; a mock is example data, such as "
                f"{_EXAMPLES.get(leaf, '0.0')} for {shown if leaf in _EXAMPLES else 'float'}"
            )
        return type(leaf)

    return transform_tree(leaf_type, mock)


_EXAMPLES: dict[Any, str] = {int: "0", float: "0.0", str: "'text'", bool: "False", list: "[0.0]", dict: "{'a': 0.0}"}


def _refuse_unknown_keys(item: dict[Any, Any]) -> None:
    for key in item:
        if is_unknown(key):
            raise UnknownValueError(why_unknown(key))
