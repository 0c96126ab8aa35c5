"""Type checks: a check, never a conversion.

Collections and records are walked here, because a message shall say where in them the fault lies, and because a list
of a million floats is checked by looking at its set of types. What is left, such as protocols, callables and type
variables, is typeguard's, imported when it is first needed.
"""

from __future__ import annotations

import collections
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

from weft.calls.typenames import got, key_name, type_name
from weft.calls.unknown import Unknown, is_unknown
from weft.errors import ArgumentError
from weft.tree import iterate_tree, kinds, remember

__all__ = ["Fault", "check", "find_fault"]


class Fault(NamedTuple):
    """What is wrong, and where."""

    path: str  # such as [2]['a'].x; empty for the value itself
    text: str  # such as: expected float, got str 'a'

    def under(self, step: str) -> Fault:
        """The same fault seen from one level above."""
        return Fault(step + self.path, self.text)


def check(value: Any, api: Any, where: str) -> None:
    """Raise ArgumentError (a TypeError) unless `value` is what `api` says.

    Args:
        value: futures in it are passed over, and so is what a dry run could not know.
        api: a type or anything of `typing`, or a tree (lists and dicts) of such, which `value` must have the shape of.
        where: what is being checked, for the message: ``argument 'xs'`` gives
            ``argument 'xs' at [3]: expected float, got str 'a'``.

    True is an int, and an int is accepted for a float, either for a complex.
    """
    fault = find_fault(value, api)
    if fault is not None:
        raise ArgumentError(f"{where}{' at ' + fault.path.strip() if fault.path else ''}: {fault.text}")


def find_fault(value: Any, api: Any) -> Fault | None:
    """The first place where `value` is not what `api` says, None if there is no such place."""
    return _find_in_tree(value, api, frozenset())


def _find_in_tree(value: Any, api: Any, seen: Seen) -> Fault | None:
    for path, (item, leaf_api) in iterate_tree(value, api):
        fault = _find(item, leaf_api, seen)
        if fault is not None:
            return fault.under("".join(f"[{key_name(step)}]" for step in path))
    return None


Seen = frozenset[int]  # ids of the records on the way down: one that contains itself is not looked at twice
Checker = Callable[[Any, Any, Seen], Fault | None]


def _find(value: Any, api: Any, seen: Seen) -> Fault | None:
    if is_unknown(value) or isinstance(value, Future):
        return None
    plain = plain_types(api)
    if plain is not None:
        return None if issubclass(type(value), plain) or isinstance(value, plain) else _wrong(value, api)
    if isinstance(api, (list, dict)):
        return _shape(value, api, seen)
    origin = typing.get_origin(api) or api
    return _checker_for(origin)(value, api, seen)


def _wrong(value: Any, api: Any) -> Fault:
    return Fault("", f"expected {type_name(api)}, got {got(value)}")


def _shape(value: Any, api: list[Any] | dict[Any, Any], seen: Seen) -> Fault | None:
    """For a value that is not of the very class of its mock, such as an OrderedDict: the shape is what counts."""
    if isinstance(api, list) and isinstance(value, list) and len(value) == len(api):
        return _find_in_tree(list(value), list(api), seen)
    if isinstance(api, dict) and isinstance(value, dict) and value.keys() == api.keys():
        return _find_in_tree(dict(value), dict(api), seen)

    def shape(tree: Any) -> str:
        if isinstance(tree, list):
            return f"a list of {len(tree)}"
        return f"a dict with the keys {', '.join(map(key_name, tree)) or 'none'}" if isinstance(tree, dict) else ""

    return Fault("", f"expected {shape(api)}, got {shape(value) or got(value)}")


def plain_types(api: Any) -> tuple[type, ...] | None:
    """The classes that `isinstance` needs to check all there is to `api`; None if that is not enough."""
    try:
        return _plain_types(api)
    except TypeError:  # what cannot be hashed is not plain
        return None


@remember
def _plain_types(api: Any) -> tuple[type, ...] | None:
    if api is Any:
        return (object,)
    if api is None:
        return (type(None),)
    if typing.get_origin(api) in _UNIONS:
        found = [_plain_types(member) for member in typing.get_args(api)]
        return None if None in found else tuple(kind for group in found for kind in group or ())
    if not isinstance(api, type) or typing.get_origin(api) is not None:
        return None
    if api in _NUMBERS:
        return _NUMBERS[api]
    special = getattr(api, "_is_protocol", False) or typing.is_typeddict(api)
    return None if special or hasattr(api, "__dataclass_fields__") or _is_named_tuple(api) else (api,)


_NUMBERS: dict[type, tuple[type, ...]] = {float: (float, int), complex: (complex, float, int)}
_UNIONS = (typing.Union, types.UnionType)


def _is_named_tuple(api: Any) -> bool:
    return issubclass(api, tuple) and hasattr(api, "_fields") and "__annotations__" in vars(api)


# Each checker below gets a value, an api that is more than a plain class, and `seen`.


def _items(value: Any, api: Any, seen: Seen) -> Fault | None:
    if not isinstance(value, typing.get_origin(api) or api):
        return _wrong(value, api)
    args = typing.get_args(api)
    if not isinstance(value, _HOLDS_ITEMS):  # an iterator is not used up by a check
        return None
    if not args or isinstance(value, str):  # the characters of a str are str
        return None if not args or args[0] in (str, Any, object) else _wrong(value, api)
    if _all_plain(value, args[0]):
        return None
    unordered = isinstance(value, abc.Set)
    steps: Iterable[tuple[Any, Any]] = ((item, item) for item in value) if unordered else enumerate(value)
    parts = ((f"{{{key_name(s)}}}" if unordered else f"[{s}]", item, args[0]) for s, item in steps)
    return _first(parts, seen)


def _tuple(value: Any, api: Any, seen: Seen) -> Fault | None:
    if not isinstance(value, tuple):
        return _wrong(value, api)
    args = typing.get_args(api)
    if api is typing.Tuple:  # noqa: UP006 - bare, as opposed to tuple[()]
        return None
    if len(args) == 2 and args[1] is Ellipsis:
        if _all_plain(value, args[0]):
            return None
        args = (args[0],) * len(value)
    elif any(typing.get_origin(arg) is typing.Unpack or isinstance(arg, typing.TypeVarTuple) for arg in args):
        return _others(value, api, seen)
    elif len(value) != len(args):
        return _wrong(value, api)
    parts = ((f"[{i}]", item, arg) for i, (item, arg) in enumerate(zip(value, args, strict=True)))
    return _first(parts, seen)


def _mapping(value: Any, api: Any, seen: Seen) -> Fault | None:
    if not isinstance(value, typing.get_origin(api) or api):
        return _wrong(value, api)
    args = typing.get_args(api)
    if len(args) != 2:
        return None
    key_api, item_api = args
    if not _all_plain(value, key_api):
        fault = _first(((f" key {key_name(key)}", key, key_api) for key in value), seen)
        if fault is not None:
            return fault
    if _all_plain(value.values(), item_api):
        return None
    return _first(((f"[{key_name(key)}]", item, item_api) for key, item in value.items()), seen)


def _union(value: Any, api: Any, seen: Seen) -> Fault | None:
    inner = []
    for member in typing.get_args(api):
        fault = _find(value, member, seen)
        if fault is None:
            return None
        if fault.path:
            inner.append(fault)
    # With one member that has the right outside, the fault inside it is the one that helps.
    return inner[0] if len(inner) == 1 else _wrong(value, api)


def _first_argument(value: Any, api: Any, seen: Seen) -> Fault | None:
    args = typing.get_args(api)
    return _find(value, args[0], seen) if args else None


def _named_tuple(value: Any, api: Any, seen: Seen) -> Fault | None:
    if not isinstance(value, typing.get_origin(api) or api):
        return _wrong(value, api)
    parts = ((f".{name}", getattr(value, name), hint) for name, hint in _hints(type(value)).items())
    return _first(parts, seen)


def _dataclass(value: Any, api: Any, seen: Seen) -> Fault | None:
    if not isinstance(value, typing.get_origin(api) or api):
        return _wrong(value, api)
    if id(value) in seen:
        return None
    return _first(_fields(value), seen | {id(value)})


def _fields(value: Any) -> Iterator[tuple[str, Any, Any]]:
    import dataclasses

    hints = _hints(type(value))
    for field in dataclasses.fields(value):
        item = getattr(value, field.name, None)
        # `x: int = None` is not what one should write; yet None is what the author meant.
        if field.name in hints and not (item is None and field.default is None):
            yield f".{field.name}", item, hints[field.name]


def _typed_dict(value: Any, api: Any, seen: Seen) -> Fault | None:
    api = typing.get_origin(api) or api
    if not isinstance(value, dict):
        return _wrong(value, api)
    hints = _hints(api)
    missing = [key for key in required_keys(api, hints) if key not in value]
    if missing:
        return Fault("", f"{type_name(api)} needs the key {missing[0]!r}, got {got(value)}")
    strange = [key for key in value if key not in hints]
    if strange:
        return Fault("", f"{type_name(api)} has no key {key_name(strange[0])}; keys: {', '.join(map(repr, hints))}")
    return _first(((f"[{key!r}]", value[key], hint) for key, hint in hints.items() if key in value), seen)


def _others(value: Any, api: Any, _seen: Seen) -> Fault | None:
    """Whatever the rest of `typing` says."""
    import typeguard

    try:
        typeguard.check_type(
            value,
            api,
            forward_ref_policy=typeguard.ForwardRefPolicy.ERROR,
            collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS,
        )
    except typeguard.TypeCheckError:
        return _wrong(value, api)
    except Exception as error:  # noqa: BLE001 - names that cannot be resolved, annotations that are none
        return Fault("", f"cannot be checked against {type_name(api)}: {error}")
    return None


def _first(parts: Iterable[tuple[str, Any, Any]], seen: Seen) -> Fault | None:
    """The first fault among (step, value, api)."""
    for step, item, api in parts:
        fault = _find(item, api, seen)
        if fault is not None:
            return fault.under(step)
    return None


def _all_plain(items: Any, api: Any) -> bool:
    """Whether a look at the set of types says that all items are right. False: they have to be looked at."""
    plain = plain_types(api)
    if plain is None:
        return False
    accepted = (*plain, Future, Unknown)
    return all(issubclass(kind, accepted) for kind in kinds(items))


def required_keys(record: Any, hints: dict[str, Any]) -> list[str]:
    """Of a TypedDict, given its resolved hints with their extras.

    Where annotations are strings, as with ``from __future__ import annotations``, `__required_keys__` is made before
    anybody knows of the `Required` and `NotRequired` in them.
    """
    required = set(record.__required_keys__)
    for key, hint in hints.items():
        while typing.get_origin(hint) is typing.Annotated:
            hint = hint.__origin__  # noqa: PLW2901
        if typing.get_origin(hint) is typing.NotRequired:
            required.discard(key)
        elif typing.get_origin(hint) is typing.Required:
            required.add(key)
    return sorted(required)


@remember
def _hints(record: type) -> dict[str, Any]:
    """The types of the fields of a record; none where one cannot be resolved, which is not the caller's fault."""
    try:
        return typing.get_type_hints(record, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is an expression of the user's: it can raise anything
        return {}


_HOLDS_ITEMS = (abc.Sequence, abc.Set)
_WALKED = (
    *(list, set, frozenset, collections.deque),
    *(abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet),
    *(abc.Collection, abc.Iterable, abc.Reversible, abc.Container),
)
_CHECKERS: dict[Any, Checker] = {
    **dict.fromkeys(_WALKED, _items),
    **dict.fromkeys(
        (dict, collections.OrderedDict, collections.defaultdict, abc.Mapping, abc.MutableMapping), _mapping
    ),
    **dict.fromkeys(_UNIONS, _union),
    **dict.fromkeys((typing.Annotated, typing.Required, typing.NotRequired, typing.Final), _first_argument),
    tuple: _tuple,
}


def _checker_for(origin: Any) -> Checker:
    if isinstance(origin, typing.NewType):
        return lambda value, _api, seen: _find(value, origin.__supertype__, seen)
    if type(origin).__name__ == "TypeAliasType":
        return lambda value, _api, seen: _find(value, origin.__value__, seen)
    if isinstance(origin, type):
        if typing.is_typeddict(origin):
            return _typed_dict
        if _is_named_tuple(origin):
            return _named_tuple
        if hasattr(origin, "__dataclass_fields__"):
            return _dataclass
    return _CHECKERS.get(origin, _others)
