"""The examples in README and docs run, and print what the page says that they print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hand import PATIENCE

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def script_and_output(page: Path) -> tuple[str, str]:
    """All Python blocks of a page as one script, and all plain blocks that follow one as its output."""
    script, output, after_python = "", "", False
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            script += text + "\n"
        elif not language and after_python:
            output += text
        after_python = language == "python"
    return script, output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_print_what_it_says(page, tmp_path):
    script, output = script_and_output(page)
    if not script:
        pytest.skip("no Python on this page")
    file = tmp_path / "page.py"
    file.write_text(script)
    ended = subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=tmp_path,
        env={**os.environ, "WEFT_KEY_FILE": str(tmp_path / "key")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    told = ended.stderr if "WorkflowError" in script else ""  # of jobs that fail on the page
    assert (ended.stdout, ended.stderr, ended.returncode) == (output, told, 0)
    assert "Warning" not in ended.stderr


def test_a_block_is_found_with_its_output(tmp_path):
    page = tmp_path / "x.md"
    page.write_text("```\nno\n```\n\n```python\nprint(1)\n```\n\n```\n1\n```\n\n```sh\nls\n```\n")
    assert script_and_output(page) == ("print(1)\n\n", "1\n")
