"""The examples of docs/clusters.md, on a real Slurm and a real HTCondor."""

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
    blocks = blocks_of(PAGE.read_text().partition("## On HTCondor")[0])
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
    assert output_of(script + END, tmp_path).splitlines()[-1] == "AB 49 ['0', '1', '2'] ['A', 'B', 'AB']"


def test_the_examples_for_htcondor_run(condor, tmp_path):
    blocks = blocks_of(PAGE.read_text().partition("## On HTCondor")[2])
    assert len(blocks) == 2
    data = tmp_path / "data.csv"
    data.write_text("7\n")
    (tmp_path / "mymodule.py").write_text("def read():\n    return open('data.csv').read()\n")
    with_files, carried = blocks[0].replace("range(1000)", "range(3)"), blocks[1]
    carried = carried.replace("/usr/bin/python3.11", sys.executable).replace("/home/ada", str(tmp_path))
    end = "print(ex.submit(lambda: __import__('mymodule').read()).result())\nex.shutdown()\n"
    assert output_of(PRELUDE + with_files + carried + end, tmp_path) == "0\n1\n4\n7\n\n"


def blocks_of(text):
    return re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def output_of(script, folder):
    file = folder / "page.py"
    file.write_text(script)
    ended = subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    return ended.stdout
