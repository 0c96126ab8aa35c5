"""The page about the command says what the command says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from test_docs import BLOCK, script_and_output

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def usual(text: str) -> str:
    """The same without what differs each time: names of runs, times, folders, hosts; and the width of columns."""
    text = re.sub(r"\d{8}T\d{6}\.\d{3}Z-(\w+)-[0-9a-f]{4}", r"RUN-\1", text)
    text = re.sub(r"\d+\.\ds|\d+s", "TIME", text)
    text = re.sub(r"script \S*pipeline.py, backend (\w+), on \S+", r"script pipeline.py, backend \1", text)
    return re.sub(r" +", " ", text)


def test_the_sessions_on_the_page_are_real(folder):
    (folder / "pipeline.py").write_text(script_and_output(PAGE)[0])
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    sessions = [text for language, text in BLOCK.findall(PAGE.read_text()) if language == "console"]
    for session in sessions:
        said = ""
        for command in re.findall(r"^\$ (.*)$", session, re.MULTILINE):
            done = subprocess.run(
                command.replace("weft", f"'{sys.executable}' -m weft", 1),
                shell=True,
                cwd=folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            said += f"$ {command}\n{done.stdout}"
        assert usual(said) == usual(session)
    assert (folder / "graph.svg").exists()
