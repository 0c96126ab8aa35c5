"""What a user wrote about a proc or a proto, read and checked where it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from weft.errors import ArgumentError, ChoiceError
from weft.procs.bind import check_takes
from weft.procs.casts import annotations_of
from weft.procs.choices import choices_in
from weft.procs.conditions import Special, WhenScheduled, WhenTargetScheduled
from weft.procs.names import Pattern, check_plain, near
from weft.resources import Resources

if TYPE_CHECKING:
    from datetime import timedelta

    from weft.resources import Cause, Retry

__all__ = ["Declaration", "ProcOptions", "ProtoOptions", "Rdep", "read_proc", "read_proto"]


class ProcOptions(TypedDict, total=False):
    """The options of ``@Proc``, for type checkers; see `ProcManager.Proc`."""

    name: str | None
    deps: Iterable[str | Special | Callable[..., Any]] | None
    rdeps: Iterable[str | WhenScheduled | WhenTargetScheduled] | None
    locks: Iterable[str] | Mapping[str, int] | None
    now: bool
    args: Mapping[str, Any] | None
    timeout: float | str | timedelta | None
    wave: int | None
    retries: int | Mapping[Cause, int | Retry] | None
    executor: Executor | None
    resources: Mapping[str, Any] | None


class ProtoOptions(ProcOptions, total=False):
    """The options of ``@Proto``."""

    arg_choices: Mapping[str, Iterable[Any] | Callable[..., Iterable[Any]]] | None


class Rdep(NamedTuple):
    """One of ``rdeps``."""

    pattern: Pattern
    pulls_target: bool  #: `WhenScheduled`: the declarer schedules the target; else the target schedules the declarer.


class Declaration(NamedTuple):
    """What `Proc` and `Proto` have in common."""

    where: str  #: For messages: ``@Proto "build::[env]"``.
    pattern: Pattern
    function: Callable[..., Any]
    kinds: dict[str, Any]  #: The annotations of the function's parameters.
    deps: tuple[Any, ...]
    rdeps: tuple[Rdep, ...]
    locks: dict[str, int]
    now: bool
    args: dict[str, Any]
    wave: int
    resources: Resources  #: With the time limit and retries.
    executor: Executor | None
    choices: dict[str, Any]

    def named(self) -> list[Pattern]:
        """The patterns of names that make a proc of it.

        A declarer without placeholders takes those of its targets: ``migrate`` before ``deploy::[env]`` is
        ``migrate::[env]``, too.
        """
        if self.pattern.params:
            return [self.pattern]
        return [self.pattern, *(implied for rdep in self.rdeps if (implied := self.implied(rdep)) is not None)]

    def implied(self, rdep: Rdep) -> Pattern | None:
        """The pattern that one of its `rdeps` adds to a name without placeholders."""
        if self.pattern.params or not rdep.pattern.params:
            return None
        separator = self.pattern.separator
        text = separator.join([self.pattern.text, *(f"[{param}]" for param in rdep.pattern.params)])
        return Pattern(text, separator, self.where)


def read_proc(name: Any, function: Any, separator: str, options: Mapping[str, Any]) -> Declaration:
    """What ``@Proc(name, ...)`` above `function` says. Raises ArgumentError and ChoiceError."""
    _check_known("@Proc", options, ProcOptions.__annotations__)
    check_plain(name, "@Proc")
    declaration = _read(f'@Proc "{name}"', Pattern(name, separator, "@Proc"), function, options)
    _check_parameters(declaration)
    return declaration


def read_proto(name: Any, function: Any, separator: str, options: Mapping[str, Any]) -> Declaration:
    """What ``@Proto(name, ...)`` above `function` says. Raises ArgumentError and ChoiceError."""
    _check_known("@Proto", options, ProtoOptions.__annotations__)
    declaration = _read(f'@Proto "{name}"', Pattern(name, separator, "@Proto"), function, options)
    choices = _mapping(declaration.where, "arg_choices", options.get("arg_choices"), '{"env": ["dev", "prod"]}')
    params = {param for pattern in declaration.named() for param in pattern.params} | _named_parameters(declaration)
    for param, found in choices.items():
        if param not in params:
            raise ChoiceError(
                f"{declaration.where}: arg_choices has {param!r}, which is no parameter{near(param, params)}; "
                f"parameters: {', '.join(sorted(params)) or '(none)'}"
            )
        if not callable(found):
            choices[param] = choices_in(found, f"{declaration.where}: arg_choices[{param!r}]")
    declaration = declaration._replace(choices=choices)
    for rdep in declaration.rdeps:
        lacking = set(declaration.pattern.params) - {*rdep.pattern.params, *declaration.args}
        if lacking and not rdep.pulls_target:
            raise ChoiceError(
                f"{declaration.where}: a target {rdep.pattern.text!r} does not tell [{sorted(lacking)[0]}]; put that "
                "into the pattern, or into args={...}"
            )
        known = {*declaration.pattern.params, *declaration.args}
        unknown = [param for param in rdep.pattern.params if param not in known]
        if rdep.pulls_target and declaration.pattern.params and unknown:
            raise ChoiceError(
                f"{declaration.where}: WhenScheduled({rdep.pattern.text!r}) has [{unknown[0]}], which is no parameter"
                f"{near(unknown[0], known)}; parameters: {', '.join(sorted(known))}"
            )
    return declaration


def _read(where: str, pattern: Pattern, function: Any, options: Mapping[str, Any]) -> Declaration:
    check_takes(function, (), where)
    executor = options.get("executor")
    if executor is not None and not isinstance(executor, Executor):
        raise ArgumentError(f"{where}: executor must be a concurrent.futures.Executor, got {executor!r:.60}")
    wave = options.get("wave") or 0
    if not isinstance(wave, int) or isinstance(wave, bool):
        raise ArgumentError(f"{where}: wave must be a whole number, got {wave!r:.60}")
    args = _mapping(where, "args", options.get("args"), '{"env": "prod"}')
    for name in args:
        if not isinstance(name, str):
            raise ArgumentError(f"{where}: args must have names of parameters, got {name!r:.60}")
    return Declaration(
        where,
        pattern,
        function,
        annotations_of(function),
        _read_deps(where, options.get("deps")),
        _read_rdeps(where, pattern, options.get("rdeps")),
        _read_locks(where, options.get("locks")),
        bool(options.get("now")),
        args,
        wave,
        _read_resources(where, options),
        executor,
        {},
    )


def _read_resources(where: str, options: Mapping[str, Any]) -> Resources:
    words = _mapping(where, "resources", options.get("resources"), '{"cpus": 4, "memory": "8GB"}')
    for word in ("time", "timelimit", "retries"):
        if word in words:
            instead = "retries" if word == "retries" else "timeout"
            raise ArgumentError(f"{where}: write {instead}={words[word]!r} beside resources, not {word!r} in it")
    found = Resources.read(f"{where} resources", **words)
    timeout = options.get("timeout")
    try:
        limit = Resources.read(where, time=timeout)
    except (ArgumentError, ChoiceError) as error:
        raise type(error)(str(error).replace("(time=", "(timeout=")) from None
    return found.merged(limit).merged(Resources.read(where, retries=options.get("retries")))


def _check_known(where: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    for word in options:
        if word not in known:
            raise ArgumentError(
                f"{where} has no option {word!r}{near(word, known)}; options: {', '.join(sorted(known))}"
            )


def _mapping(where: str, word: str, found: Any, example: str) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ArgumentError(f"{where}: {word} must be a dict such as {example}, got {found!r:.60}")
    return dict(found)


def _listed(where: str, word: str, found: Any) -> tuple[Any, ...]:
    if found is None:
        return ()
    if isinstance(found, (str, bytes)) or not isinstance(found, Iterable):
        raise ArgumentError(f"{where}: {word} must be a list, got {found!r:.60}; write {word}=[{found!r:.60}]")
    return tuple(found)


def _read_deps(where: str, found: Any) -> tuple[Any, ...]:
    deps = _listed(where, "deps", found)
    for dep in deps:
        if not (isinstance(dep, (str, Special)) or callable(dep)):
            raise ArgumentError(f"{where}: deps must have names, functions, NO_FAILURES or AFTER_ALL, got {dep!r:.60}")
    return deps


def _read_rdeps(where: str, pattern: Pattern, found: Any) -> tuple[Rdep, ...]:
    rdeps: list[Rdep] = []
    for item in _listed(where, "rdeps", found):
        if not isinstance(item, (str, WhenScheduled, WhenTargetScheduled)):
            raise ArgumentError(
                f"{where}: rdeps must have names, WhenScheduled(...) or WhenTargetScheduled(...), got {item!r:.60}"
            )
        text = item if isinstance(item, str) else item.pattern
        target = Pattern(text, pattern.separator, f"{where} rdeps")
        rdeps.append(Rdep(target, isinstance(item, WhenScheduled)))
    return tuple(rdeps)


def _read_locks(where: str, found: Any) -> dict[str, int]:
    locks = dict(found) if isinstance(found, Mapping) else dict.fromkeys(_listed(where, "locks", found), 1)
    for name, count in locks.items():
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"{where}: locks must have names, got {name!r:.60}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ChoiceError(f"{where}: locks[{name!r}] must be a whole number from 1 up, got {count!r:.60}")
    return locks


def _check_parameters(declaration: Declaration) -> None:
    """That every parameter of a Proc's function has a value: at its definition, not when it is to run."""
    left = check_takes(declaration.function, declaration.args, declaration.where)
    if left:
        raise ArgumentError(
            f"{declaration.where}: its function takes {left[0]!r}, of which there is no value; give it a default, or "
            f'args={{"{left[0]}": ...}}'
        )


def _named_parameters(declaration: Declaration) -> set[str]:
    import inspect

    function = declaration.function
    try:
        return {name for name in inspect.signature(function).parameters if name != "context"}
    except (TypeError, ValueError):
        return set()
