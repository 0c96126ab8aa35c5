"""The examples of docs/clusters.md, on a real Slurm."""

import re
import subprocess
import sys
from pathlib import Path

from hand import PATIENCE

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"
# What the page leaves to its reader.
PRELUDE = """
names = ["a", "b"]

def simulate(seed):
    return seed * seed

def prepare(name):
    return name.upper()

def merge(parts):
    return "".join(parts)

class State:
    def __init__(self, seed):
        self.seed = seed
"""
END = """
print(whole.result(), results[7], sorted(futures), [future.result() for future in futures.values()])
"""


def test_the_examples_of_the_page_run(slurm, tmp_path):
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    script = PRELUDE
    for block in blocks:
        block = re.sub(r"def simulate\(seed\):\n    \.\.\.\n", "", block)
        # Few tasks will do, on nodes of this cluster; and the folder has the name that clock and chance gave it.
        block = block.replace("cpus=16", "cpus=8").replace("64GB", "8GB")
        block = block.replace("range(1000)", "range(10)").replace("print(result)", "results.append(result)")
        block = re.sub(r'"\.weft/executors/[^"]+"', "directory", block)
        script += block
        script += "directory = ex.directory\n" if "ex.using" in block else ""
    script = script.replace("with SlurmExecutor(cpus=4", "results = []\nwith SlurmExecutor(cpus=4")
    file = tmp_path / "page.py"
    file.write_text(script + END)
    ended = subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout.splitlines()[-1] == "AB 49 ['0', '1', '2'] ['A', 'B', 'AB']"
