"""Nested data: trees of lists and dicts, and the futures in arguments.

A *tree* is nested lists and dicts; everything else is a leaf, a tuple too. Where futures are looked for, and where
arguments are copied, tuples, sets and dataclass instances are walked as well.

Nothing here is recursive: nesting is limited by memory alone.
"""

from __future__ import annotations

import copy
import functools
import itertools
import operator
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Literal, TypeAlias, TypeVar, cast

from weft.errors import ArgumentError, CycleError

__all__ = [
    "Path",
    "find_futures",
    "form_of",
    "get_tree",
    "iterate_tree",
    "kinds",
    "rebuild",
    "remember",
    "replace_futures",
    "transform_tree",
    "walk",
]

Path: TypeAlias = tuple[Any, ...]  # indices and keys from the root down
Event: TypeAlias = Literal["open", "leaf", "close"]
F = TypeVar("F", bound=Callable[[Any], Any])


def remember(function: F) -> F:
    """Keep what a function says about a type, for the types asked about last: the answer is needed per item."""
    return cast("F", functools.lru_cache(maxsize=1024)(function))


def get_tree(tree: Any, path: Iterable[Any]) -> Any:
    """What lies at `path`: indices and keys, one for each level; ``()`` is the tree itself.

    Raises KeyError, IndexError or TypeError as indexing does.
    """
    for step in path:
        tree = tree[step]
    return tree


def iterate_tree(*trees: Any) -> Iterator[tuple[Path, Any]]:
    """Yield ``(path, leaf)`` for one tree, ``(path, (leaf, leaf, ...))`` for several that are walked together.

    The walk goes down while all are lists of one length, or dicts with one set of keys, and of one type; where they
    differ, the whole sub-trees are one leaf. Dicts are walked in the order of the first. An empty list or dict has no
    leaves.

    Raises CycleError for a tree that contains itself.
    """
    for event, path, nodes in _descend(trees):
        if event == "leaf":
            yield tuple(path), nodes[0] if len(nodes) == 1 else nodes


def transform_tree(function: Callable[..., Any], *trees: Any) -> Any:
    """Build the same shape from ``function(path, *leaves)``; `iterate_tree` says what a leaf is.

    The lists and dicts of the result are new, and plain ones whatever subclass the first tree is made of.

    Raises CycleError for a tree that contains itself.
    """
    branches: list[Any] = [[None]]
    for event, path, nodes in _descend(trees):
        if event == "close":
            branches.pop()
            continue
        step = path[-1] if path else 0
        if event == "leaf":
            branches[-1][step] = function(tuple(path), *nodes)
        else:
            branch: Any = {} if isinstance(nodes[0], dict) else [None] * len(nodes[0])
            branches[-1][step] = branch
            branches.append(branch)
    return branches[0][0]


def _descend(trees: tuple[Any, ...]) -> Iterator[tuple[Event, list[Any], tuple[Any, ...]]]:
    """The walk itself. The path is one list that changes as the walk goes on."""
    if not trees:
        raise ArgumentError("at least one tree is needed")
    path: list[Any] = []
    levels: list[Iterator[tuple[Any, tuple[Any, ...]]]] = [iter([(None, trees)])]
    open_now: list[tuple[int, ...]] = []
    on_the_way: set[tuple[int, ...]] = set()
    while levels:
        for step, nodes in levels[-1]:
            if path:
                path[-1] = step
            if not _alike(nodes):
                yield "leaf", path, nodes
                continue
            identity = tuple(map(id, nodes))
            if identity in on_the_way:
                raise CycleError(f"the tree contains itself at {_shown(path)}")
            yield "open", path, nodes
            on_the_way.add(identity)
            open_now.append(identity)
            path.append(None)
            levels.append(_children(nodes))
            break
        else:
            levels.pop()
            if levels:
                path.pop()
                on_the_way.discard(open_now.pop())
                yield "close", path, ()


def _alike(nodes: tuple[Any, ...]) -> bool:
    first = nodes[0]
    kind = type(first)  # and not isinstance(), which asks a leaf for its __class__
    if issubclass(kind, list):
        return all(type(node) is kind and len(node) == len(first) for node in nodes[1:])
    if issubclass(kind, dict):
        return all(type(node) is kind and node.keys() == first.keys() for node in nodes[1:])
    return False


def _children(nodes: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    first = nodes[0]
    if isinstance(first, list):
        return enumerate(zip(*nodes, strict=True))
    return ((key, tuple(node[key] for node in nodes)) for key in first)


def _shown(path: list[Any]) -> str:
    text = "".join(f"[{step!r}]" for step in path[:5])
    return text + "..." if len(path) > 5 else text


def kinds(items: Collection[Any]) -> Collection[type]:
    """The exact types of `items`, each once, found at the speed of C: about 11 ns an item where all are of one type."""
    # groupby compares by identity first, which makes it the cheapest loop there is that looks at every type.
    groups = itertools.groupby(items, type)
    first = next(groups, None)
    if first is None:
        return ()
    if next(groups, None) is None:
        return (first[0],)
    return set(map(type, items))


def find_futures(*data: Any) -> list[Future[Any]]:
    """The futures in `data`, each once, in the order in which they are met.

    Lists, dicts (values, not keys), tuples, sets and dataclass instances are walked, and subclasses of these.
    """
    found = {id(item): item for item in walk(data, _holds_no_future) if issubclass(type(item), Future)}
    return list(found.values())


def replace_futures(data: Any, function: Callable[[Future[Any]], Any]) -> Any:
    """`data` with ``function(future)`` in the place of each future; the same object where nothing in it changed.

    What is walked is what `find_futures` walks. Nothing is changed in place.
    """
    if not find_futures(data):
        return data

    def leaf(item: Any) -> Any:
        return function(item) if issubclass(type(item), Future) else item

    return rebuild(data, leaf, _holds_no_future, {}, fresh=False)


def walk(data: Iterable[Any], skip: Callable[[type], bool] | None = None) -> Iterator[Any]:
    """Yield all that is in `data`, containers before what they hold, each container once.

    With `skip`, what a container holds is passed over where ``skip(kind)`` is true for all of its exact types.
    """
    seen: set[int] = set()
    levels = [iter(data)]
    while levels:
        for item in levels[-1]:
            yield item
            form = form_of(type(item))
            if form is None or id(item) in seen:
                continue
            seen.add(id(item))
            parts = form.parts(item)
            if skip is None or not all(map(skip, kinds(parts))):
                levels.append(iter(parts))
                break
        else:
            levels.pop()


def rebuild(
    data: Any, leaf: Callable[[Any], Any], plain: Callable[[type], bool], memo: dict[int, Any], *, fresh: bool
) -> Any:
    """`data` with ``leaf(item)`` in the place of whatever is no container.

    Args:
        leaf: called for each item that is no container, unless its exact type is plain.
        plain: whether items of this exact type are taken over as they are. Must be false for containers.
        memo: from the id of an object to what stands for it, looked up first and added to. What is the same object
            twice in `data` is the same object twice in the result, cycles included.
        fresh: copy every container that can be changed; otherwise only those in which something changed.
    """
    levels = [_Level(None, None, [data])]
    while True:
        level = levels[-1]
        for item in level.todo:
            kind = type(item)
            if plain(kind):
                level.done.append(item)
            elif id(item) in memo:
                level.done.append(memo[id(item)])
            elif (entered := _enter(item, memo, plain)) is None:
                level.done.append(leaf(item))
            else:
                levels.append(entered)
                break
        else:
            levels.pop()
            if not levels:
                return level.done[0]
            levels[-1].done.append(level.finish(memo, fresh))


def _enter(item: Any, memo: dict[int, Any], plain: Callable[[type], bool]) -> _Level | None:
    form = form_of(type(item))
    if form is None:
        return None
    try:
        level = _Level(item, form, form.parts(item))
    except Exception:  # noqa: BLE001 - somebody's __copy__ or __reduce__: then it is no container for us
        return None
    if level.shell is not None:
        memo[id(item)] = level.shell  # before its parts are looked at: they may lead back here
    if all(map(plain, kinds(level.parts))):
        level.done, level.todo = level.parts, iter(())
    return level


class _Level:
    """A container that is being rebuilt, and how far that has come."""

    __slots__ = ("done", "form", "parts", "shell", "source", "todo")

    def __init__(self, source: Any, form: Form | None, parts: Any) -> None:
        self.source = source
        self.form = form
        self.parts = parts
        self.todo = iter(parts)
        self.done: Any = []
        self.shell = None if form is None else form.shell(source)

    def finish(self, memo: dict[int, Any], fresh: bool) -> Any:
        assert self.form is not None
        same = self.done is self.parts or all(map(operator.is_, self.done, self.parts))
        if self.shell is None:
            # A tuple that is part of a cycle has been finished meanwhile, further down.
            result = memo.get(id(self.source), self.source)
            if result is self.source and not same:
                result = self.form.build(self.source, self.done)
        elif same and not fresh:
            result = self.source
        else:
            result = self.shell
            if not same:
                self.form.fill(result, self.source, self.done)
        memo[id(self.source)] = result
        return result


class Form:
    """What can be done with one kind of container; this one: a list."""

    def parts(self, source: Any) -> Collection[Any]:
        """What it holds, in order."""
        extra = _attributes(source)
        return [*source, *extra.values()] if extra else source

    def shell(self, source: Any) -> Any:
        """A shallow copy, to be filled later; None for what cannot be changed later."""
        return copy.copy(source)

    def fill(self, shell: Any, source: Any, parts: list[Any]) -> None:
        """Put other parts, as many as there were, into the shell."""
        list.__setitem__(shell, slice(None), parts[: len(source)])
        _set_attributes(shell, source, parts[len(source) :])

    def build(self, source: Any, parts: list[Any]) -> Any:
        """The same with other parts, for what has no shell."""
        raise NotImplementedError


class _Dict(Form):
    def parts(self, source: Any) -> Collection[Any]:
        return [*dict.values(source), *_attributes(source).values()]

    def fill(self, shell: Any, source: Any, parts: list[Any]) -> None:
        # Without the methods of a subclass, which may count, check or convert.
        for key, part in zip(dict.keys(source), parts, strict=False):
            dict.__setitem__(shell, key, part)
        _set_attributes(shell, source, parts[len(source) :])


class _Set(Form):
    def fill(self, shell: Any, source: Any, parts: list[Any]) -> None:
        set.clear(shell)
        set.update(shell, parts[: len(source)])
        _set_attributes(shell, source, parts[len(source) :])


class _Tuple(Form):
    def parts(self, source: Any) -> Collection[Any]:
        return source  # type: ignore[no-any-return]

    def shell(self, source: Any) -> Any:
        return None

    def build(self, source: Any, parts: list[Any]) -> Any:
        return tuple.__new__(type(source), parts)  # named tuples, too


class _FrozenSet(_Tuple):
    def build(self, source: Any, parts: list[Any]) -> Any:
        return frozenset.__new__(type(source), parts)


class _Instance(Form):
    def parts(self, source: Any) -> Collection[Any]:
        return _attributes(source).values()

    def fill(self, shell: Any, source: Any, parts: list[Any]) -> None:
        _set_attributes(shell, source, parts)


def _attributes(source: Any) -> dict[str, Any]:
    """The attributes of an instance: its ``__dict__``, and the fields of a dataclass that lie in slots."""
    found = dict(getattr(source, "__dict__", ()))
    kind = type(source)
    for name in getattr(kind, "__dataclass_fields__", ()):
        # Class variables are listed as fields, too; only what lies in a slot has such a descriptor.
        if isinstance(getattr(kind, name, None), types.MemberDescriptorType) and hasattr(source, name):
            found[name] = getattr(source, name)
    return found


def _set_attributes(shell: Any, source: Any, values: Iterable[Any]) -> None:
    for name, value in zip(_attributes(source), values, strict=True):
        object.__setattr__(shell, name, value)  # frozen dataclasses, too


_FORMS: tuple[tuple[type, Form], ...] = (
    (list, Form()),
    (dict, _Dict()),
    (tuple, _Tuple()),
    (set, _Set()),
    (frozenset, _FrozenSet()),
)
_INSTANCE = _Instance()


@remember
def form_of(kind: type) -> Form | None:
    """How to walk instances of `kind`; None for a leaf.

    A class that says by ``__deepcopy__`` how it is to be copied is a leaf.
    """
    if hasattr(kind, "__deepcopy__"):
        return None
    for base, form in _FORMS:
        if issubclass(kind, base):
            return form
    return _INSTANCE if hasattr(kind, "__dataclass_fields__") and not issubclass(kind, type) else None


@remember
def _holds_no_future(kind: type) -> bool:
    return form_of(kind) is None and not issubclass(kind, Future)
