"""The task of `slurm.py`. It imports next to nothing, for each job imports it."""

import os
import pickle
from time import sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def nap(item: int) -> int:
    """Sleep for no time at all; that it hands back its argument lets the caller check each result."""
    sleep(0)
    return item


def leave(path: str, task: "Callable[[int], object]", item: int) -> None:
    """Leave the result of a task in a file, for a contender that hands out none."""
    with open(f"{path}.new", "wb") as file:
        pickle.dump(task(item), file)
    os.replace(f"{path}.new", path)
