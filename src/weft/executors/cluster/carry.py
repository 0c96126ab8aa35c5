"""What an executor lays down for its jobs: the program that scripts start, and weft itself if it has to be carried."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.executors.cluster.folder import Folder

__all__ = ["files_for"]

NEEDED = ("cloudpickle", "typeguard", "typing_extensions")  # beside weft itself
NEVER_CHANGED = (1980, 1, 1, 0, 0, 0)  # so that an archive is the same each time


def files_for(folder: Folder) -> dict[str, bytes]:
    """The files by name."""
    if not folder.carried:
        return {"worker.py": _launcher(folder.path).encode(errors="surrogateescape")}
    assert folder.key is not None
    return {
        "worker.py": _CARRIED.format(argv=sys.argv).encode(errors="surrogateescape"),
        "weft.zip": _archive(),
        "key": folder.key,
    }


def _launcher(path: Path) -> str:
    """It finds weft, and what tasks import, where this process does."""
    here = os.getcwd()
    entries = [os.path.join(here, entry) for entry in sys.path]
    root = str(Path(__file__).parents[3])
    if root not in entries:
        entries.append(root)
    return (
        f"{_ABOUT}import sys\n\n"
        f"sys.path[:] = {entries!r}\n"
        "from weft.executors.cluster.work import main\n\n"
        "group, place = sys.argv[1:3]\n"
        f"sys.argv[:] = {sys.argv!r}\n"
        f"main({str(path)!r}, group, place)\n"
    )


_ABOUT = """\
# Started by the scripts beside it, with the number of a submission and of an element of its array:
# makes the calls of that element, and writes down what became of them.
"""
_CARRIED = (
    _ABOUT
    + """\
# It goes by what is beside it, wherever that has been carried to.
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:1] = [os.path.join(here, "weft.zip"), os.path.dirname(here)]
os.environ["WEFT_KEY_FILE"] = os.path.join(here, "key")
os.chmod(os.environ["WEFT_KEY_FILE"], 0o600)
from weft.executors.cluster.work import main

group, place = sys.argv[1:3]
sys.argv[:] = {argv!r}
main(here, group, place)
"""
)


@cache
def _archive() -> bytes:
    """weft, and what it needs, for Python to import from."""
    import zipfile

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in _sources():
            archive.writestr(zipfile.ZipInfo(name, NEVER_CHANGED), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return data.getvalue()


def _sources() -> Iterator[tuple[str, Path]]:
    from importlib.util import find_spec

    for package in ("weft", *NEEDED):
        spec = find_spec(package)
        if spec is None or spec.origin is None:  # not installed: then nobody here has used it
            continue
        origin = Path(spec.origin)
        files = origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]
        for path in sorted(files):
            yield str(path.relative_to(origin.parents[spec.submodule_search_locations is not None])), path
