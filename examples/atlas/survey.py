"""Read Python sources: which files there are, what one file holds, what a package of files adds up to.

A *unit* is what one tile of the atlas stands for: a module or package directly below the directory surveyed.
"""

import ast
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from atlas.words import printable
from weft import task

NEVER_ENTERED = frozenset({"__pycache__", "site-packages", "dist-packages", "node_modules"})
TESTS = frozenset({"test", "tests", "idle_test"})

OUTSIDE = "/"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Place:
    """A directory of sources. ``prefix`` is its dotted name when it is itself a package, else ``""``."""

    root: str
    prefix: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """One file. A file that cannot be read or parsed has an ``error`` and counts nothing else."""

    path: str
    lines: int = 0
    functions: int = 0
    classes: int = 0
    depth: int = 0
    """Blocks around the deepest statement: a method's body is 2 deep, an ``if`` in it 3."""
    depth_line: int = 0
    longest: int = 0
    """Lines of the longest function, which is ``longest_name``."""
    longest_name: str = ""
    imports: tuple[str, ...] = ()
    """What importing the file imports: absolute dotted names, no deeper than the units of the atlas lie."""
    deferred: tuple[str, ...] = ()
    """What it imports inside functions, as a script, or for type checkers: not when it is imported."""
    error: str = ""


@dataclass(frozen=True)
class Package:
    """The sum of a unit's files; of everything imported, with the number of files that do."""

    name: str
    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    depth: int = 0
    depth_at: str = ""
    longest: int = 0
    longest_at: str = ""
    imports: tuple[tuple[str, int], ...] = ()
    """Other units that are imported when this one is."""
    deferred: tuple[tuple[str, int], ...] = ()
    """Other units that are imported later."""
    outside: tuple[tuple[str, int], ...] = ()
    """What has no source in the atlas, such as modules written in C."""
    errors: tuple[tuple[str, str], ...] = ()


def explore(directory: Path, *, tests: bool = False) -> Place:
    """Find the sources below ``directory``, largest first, so that no long file is left for the end of a run.

    A directory that holds but one package is entered: the atlas of ``src`` is that of ``src/weft``.
    """
    root = _only_package(directory.resolve())
    left_out = NEVER_ENTERED if tests else NEVER_ENTERED | TESTS
    sizes = {os.path.relpath(path, root): _size(path) for path in _sources(root, left_out)}
    files = sorted(sizes, key=lambda path: (-sizes[path], path))
    return Place(str(root), _dotted_name(root), tuple(files))


def unit_of(path: str) -> str:
    """Name the unit that a file belongs to."""
    return printable(path.split(os.sep, 1)[0].removesuffix(".py"))


@task
def survey(root: str, path: str, prefix: str) -> Source:
    """Read one file. Whatever is wrong with it ends in the record's ``error``, never in an exception."""
    shown = printable(path)
    try:
        data = Path(root, path).read_bytes()
        tree = ast.parse(data)
    except (OSError, SyntaxError, ValueError) as error:  # ValueError: a null byte, before Python 3.12
        return Source(shown, error=printable(_reason(error)))
    except (RecursionError, MemoryError):  # what the parser says of code nested too deep
        return Source(shown, error="nested too deep for the parser")
    return _measure(shown, data, tree, _module_name(path, prefix), prefix.count(".") + 2 if prefix else 1)


@task
def gather(name: str, sources: list[Source], prefix: str, units: frozenset[str]) -> Package:
    """Add up the files of one unit, and sort what they import into units of the atlas and the rest."""
    at_once = [{_unit(dotted, prefix, units) for dotted in source.imports} for source in sources]
    later = [{_unit(dotted, prefix, units) for dotted in source.deferred} for source in sources]
    deepest = max(sources, key=lambda source: source.depth)
    longest = max(sources, key=lambda source: source.longest)
    return Package(
        name=name,
        files=len(sources),
        lines=sum(source.lines for source in sources),
        functions=sum(source.functions for source in sources),
        classes=sum(source.classes for source in sources),
        depth=deepest.depth,
        depth_at=f"{deepest.path}:{deepest.depth_line}" if deepest.depth else "",
        longest=longest.longest,
        longest_at=f"{longest.longest_name} in {longest.path}" if longest.longest else "",
        imports=_tally(found & units - {name} for found in at_once),
        deferred=_tally((found - early) & units - {name} for found, early in zip(later, at_once, strict=True)),
        outside=_tally(_outside(early | found) for found, early in zip(later, at_once, strict=True)),
        errors=tuple(sorted((source.path, source.error) for source in sources if source.error)),
    )


def _only_package(root: Path) -> Path:
    if (root / "__init__.py").exists() or any(root.glob("*.py")):
        return root
    packages = [path.parent for path in root.glob("*/__init__.py")]
    return packages[0] if len(packages) == 1 else root


def _dotted_name(root: Path) -> str:
    parts: list[str] = []
    while (root / "__init__.py").exists():
        parts.append(root.name)
        root = root.parent
    return ".".join(reversed(parts))


def _sources(root: Path, left_out: frozenset[str]) -> Iterator[str]:
    # A folder that cannot be listed is handed out as if it were a file: its call then reports why.
    unlisted: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unlisted.append):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith(".")]
        paths = (os.path.join(folder, name) for name in names if name.endswith(".py"))
        # Links to nowhere are handed out too, to be reported; pipes and devices never, for reading them may not end.
        yield from (path for path in paths if os.path.isfile(path) or not os.path.exists(path))
    yield from (error.filename for error in unlisted if error.filename != str(root))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _module_name(path: str, prefix: str) -> list[str]:
    # An __init__ keeps its last part: "one level up" from it is then the package, as for any of its modules.
    parts = path.removesuffix(".py").split(os.sep)
    return [*prefix.split("."), *parts] if prefix else parts


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno})" if error.lineno else str(error.msg)
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def _measure(shown: str, data: bytes, tree: ast.Module, module: list[str], parts: int) -> Source:
    functions = classes = depth = depth_line = longest = 0
    longest_name = ""
    names: dict[bool, set[str]] = {False: set(), True: set()}
    for statement, level, deferred in _statements(tree):
        if level > depth:
            depth, depth_line = level, statement.lineno
        if isinstance(statement, _FUNCTIONS):
            functions += 1
            length = (statement.end_lineno or statement.lineno) - statement.lineno + 1
            longest, longest_name = max((longest, longest_name), (length, statement.name), key=lambda x: x[0])
        elif isinstance(statement, ast.ClassDef):
            classes += 1
        else:
            found = _imported(statement, module)
            names[deferred].update(".".join(dotted.split(".")[:parts]) for dotted in found)
    return Source(
        path=shown,
        lines=data.count(b"\n") + bool(data and not data.endswith(b"\n")),
        functions=functions,
        classes=classes,
        depth=depth,
        depth_line=depth_line,
        longest=longest,
        longest_name=longest_name,
        imports=tuple(sorted(names[False])),
        deferred=tuple(sorted(names[True] - names[False])),
    )


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, int, bool]]:
    """Each statement, in order, with the blocks around it and whether importing the module leaves it out."""
    waiting = [(statement, 0, False) for statement in reversed(tree.body)]
    while waiting:
        statement, level, deferred = waiting.pop()
        yield statement, level, deferred
        inner = [
            (child, level + (not _is_elif(statement, child)), deferred or not at_import)
            for block, at_import in _blocks(statement)
            for child in block
        ]
        waiting.extend(reversed(inner))


def _blocks(statement: ast.stmt) -> Iterator[tuple[list[ast.stmt], bool]]:
    """The blocks of a compound statement, each with whether it runs when its module is imported."""
    later = isinstance(statement, _FUNCTIONS) or _skipped_by_imports(statement)
    yield getattr(statement, "body", []), not later
    yield getattr(statement, "orelse", []), True
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body, True
    yield getattr(statement, "finalbody", []), True


def _is_elif(statement: ast.stmt, child: ast.stmt) -> bool:
    # To the parser an elif is an if inside an else; only its column tells that it is no deeper.
    both = isinstance(statement, ast.If) and isinstance(child, ast.If)
    return both and statement.col_offset == child.col_offset


def _skipped_by_imports(statement: ast.stmt) -> bool:
    """Whether it is an ``if TYPE_CHECKING:`` or an ``if __name__ == "__main__":``, false in an import."""
    test = statement.test if isinstance(statement, ast.If) else None
    if isinstance(test, ast.Compare):
        return isinstance(test.left, ast.Name) and test.left.id == "__name__"
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def _imported(statement: ast.stmt, module: list[str]) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        base = module[: -statement.level] if statement.level else []
        origin = ".".join([*base, statement.module] if statement.module else base)
        if statement.level and not base:
            return  # beyond the top: Python refuses it as well
        # "from package import name" may name a module of the package; `gather` knows which do.
        yield from (f"{origin}.{alias.name}" for alias in statement.names)


def _unit(dotted: str, prefix: str, units: frozenset[str]) -> str:
    """The unit that a dotted name lies in, or where it lies outside, behind a mark that no unit's name has.

    The mark matters: a package's own ``types.py`` is not the ``types`` of the standard library.
    """
    if not prefix:
        first = dotted.partition(".")[0]
        return first if first in units else OUTSIDE + first
    if dotted != prefix and not dotted.startswith(f"{prefix}."):
        return OUTSIDE + dotted.partition(".")[0]
    inner = dotted.removeprefix(prefix).split(".")[1:2]
    return inner[0] if inner and inner[0] in units else "__init__"


def _outside(units: Set[str]) -> set[str]:
    return {unit.removeprefix(OUTSIDE) for unit in units if unit.startswith(OUTSIDE)}


def _tally(groups: Iterable[Set[str]]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(name for group in groups for name in group).items()))
