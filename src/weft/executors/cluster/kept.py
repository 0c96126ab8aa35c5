"""Folders of executors in ``.weft``, for whoever finds them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.errors import RunInUse
from weft.executors.cluster.folder import Folder
from weft.rundir import RunFolder, home
from weft.rundir.place import check_folder

if TYPE_CHECKING:
    from weft.rundir import Driver

__all__ = ["KeptFolder", "kept_folders"]


class KeptFolder(RunFolder):
    """The folder of an executor, which belongs to the process that holds its lock."""

    def is_over(self) -> bool:
        """Whether nothing of it is in the queue, as far as that can be known without asking. Raises StorageError."""
        return Folder(self.path).is_over()

    def last_change(self) -> float:
        """When something happened in it last, in seconds since the epoch."""
        changed = 0.0
        for path in (self.path, *self.path.glob("groups/*"), *self.path.glob("groups/*/outcomes")):
            try:
                changed = max(changed, path.stat().st_mtime)
            except OSError:  # it has just been removed
                continue
        return changed

    def _in_use(self, driver: Driver | None) -> RunInUse:
        where = "another process" if driver is None else f"process {driver.pid} on {driver.host}"
        return RunInUse(
            f"the executor in {self.path} goes on: {where} attends to what was submitted there; wait for its end, or "
            "end it first",
            run=self.name,
            host=None if driver is None else driver.host,
            pid=None if driver is None else driver.pid,
        )


def kept_folders() -> list[KeptFolder]:
    """Those of executors that were not told where to have one, the oldest first. Raises StorageError."""
    folder = home() / "executors"
    if not folder.exists():
        return []
    check_folder(folder)
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [KeptFolder(path) for path in found if (path / "lock").exists()]
