"""Who may import whom: each line of the design's table may import the lines below it, never one above."""

import ast
from pathlib import Path

import pytest

import weft

SOURCE = Path(weft.__file__).parent
# From the ground up. A name that stands on its own line may import those on earlier lines, and its own.
LAYERS = [
    {"errors", "lazy"},
    {"tree", "resources", "payload", "rundir"},
    {"engine"},
    {"executors", "futures"},
    {"calls"},
    {"runners"},
    {"jobs", "procs", "templates"},
    {"display"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def place(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and target, such as ``engine``, of each import from weft, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            names = [
                f"{node.module}.{alias.name}" if node.module == "weft" else str(node.module) for alias in node.names
            ]
        found += [(node.lineno, name.split(".")[1]) for name in names if name.startswith("weft.")]
    return found


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downwards_only(path):
    here = place(path)
    for line, target in imports(path):
        assert LEVEL[target] <= LEVEL[here], f"{path}:{line}: {here} must not import {target}"
        assert LEVEL[target] < LEVEL[here] or target == here, f"{path}:{line}: {here} and {target} are of one layer"


def test_every_place_has_its_layer():
    assert {place(path) for path in FILES} <= set(LEVEL)


def test_an_upward_import_would_be_seen(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from weft.runners import SerialRunner\n    import weft.calls.task\n")
    assert imports(file) == [(2, "runners"), (3, "calls")]
