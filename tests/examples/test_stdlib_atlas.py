"""The atlas as a user runs it, on a small tree with everything that sources can have, and its parts on random input."""

import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
from itertools import pairwise, permutations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "stdlib_atlas.py"
sys.path.insert(0, str(EXAMPLES))

from atlas.imports import DAMPING, components, layers, ranks, reverse  # noqa: E402
from atlas.layout import GAP, lay_out  # noqa: E402
from atlas.survey import explore, survey  # noqa: E402
from atlas.words import count, printable  # noqa: E402

APP = """\
import core.model
import helpers
from core import tools
if __name__ == "__main__":
    import broken

def main():
    import late
    for x in []:
        if x:
            pass
        elif not x:
            pass
"""

TREE = {
    "app.py": APP,
    "core/__init__.py": "from . import model\n",
    "core/model.py": "from .tools import t\nimport helpers\nclass M:\n    def a(self): pass\n    def b(self): pass\n",
    "core/tools.py": "from core import model\nimport sys, os.path\nasync def tool():\n    return 1",
    "helpers.py": "import late\n",
    "late.py": "import helpers\nif TYPE_CHECKING:\n    import app\n",
    "broken.py": "def (:\n",
    "null.py": "x = '\0'\n",
    "not_utf8.py": b"x = '\xff'\n",
    "latin.py": b"# coding: latin-1\nx = '\xff'\n",
    "nested.py": "x = " + "(" * 300 + ")" * 300 + "\n",
    "ünï cödé \"q\" 'q'.py": "import core\n",
    "sp ace & <x>/f.py": "",
    "line\nbreak\x1b[31m.py": "pass\n",
    "readme.txt": "no source\n",
    "test/test_app.py": "import app\n",
    ".hidden/secret.py": "import app\n",
    "__pycache__/app.py": "import app\n",
}
UNPARSED = {"broken.py", "null.py", "not_utf8.py", "nested.py", "nowhere.py"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees") / "a tree"
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / "nowhere.py").symlink_to("not there")
    os.mkfifo(root / "pipe.py")
    (root / "link to pipe.py").symlink_to("pipe.py")
    return root


def run(*args, **env):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **env},
    )


@pytest.fixture(scope="module")
def serial(tree, tmp_path_factory):
    """The output of the serial runner: the directory, and what was printed."""
    output = tmp_path_factory.mktemp("serial")
    done = run(tree, "--runner", "serial", "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    return output, done.stdout


@pytest.fixture(scope="module")
def facts(serial):
    return json.loads((serial[0] / "atlas.json").read_text("utf-8"))


def test_counts_are_those_counted_by_hand(facts):
    units = {unit["name"]: unit for unit in facts["units"]}
    assert set(units) == {
        *("app", "core", "helpers", "late", "broken", "null", "not_utf8", "latin", "nested", "nowhere"),
        *("ünï cödé \"q\" 'q'", "sp ace & <x>", "line\\nbreak\\x1b[31m"),
    }
    assert (facts["files"], facts["functions"], facts["classes"]) == (15, 4, 1)
    assert facts["lines"] == 13 + (1 + 5 + 4) + 1 + 3 + 2 + 1 + 0 + 1
    assert [units["core"][key] for key in ("files", "lines", "functions", "classes")] == [3, 10, 3, 1]
    assert (units["app"]["depth"], units["app"]["depth_at"]) == (3, "app.py:11")  # elif is no deeper than its if
    assert (units["app"]["longest"], units["app"]["longest_at"]) == (7, "main in app.py")
    assert units["core"]["depth_at"] == "core/model.py:4"


def test_imports_are_those_made_when_a_module_is_imported(facts):
    units = {unit["name"]: unit for unit in facts["units"]}
    assert units["app"]["imports"] == {"core": 1, "helpers": 1}
    assert units["app"]["deferred"] == {"broken": 1, "late": 1}
    assert units["core"]["imports"] == {"helpers": 1}
    assert units["late"]["deferred"] == {"app": 1}
    assert units["helpers"]["dependents"] == 3
    assert facts["outside"] == {"os": 1, "sys": 1}


def test_cycles_and_layers_are_found(facts):
    assert facts["cycles"] == [["helpers", "late"]]
    assert facts["late_cycles"] == [["app", "core", "helpers", "late"]]
    layer = {unit["name"]: unit["layer"] for unit in facts["units"]}
    assert [layer[name] for name in ("late", "helpers", "core", "app", "broken")] == [0, 0, 1, 2, 0]
    assert facts["layers"] == 3


def test_files_that_do_not_parse_are_reported(facts, serial):
    assert set(facts["unparsed"]) == UNPARSED
    assert facts["unparsed"]["broken.py"] == "invalid syntax (line 1)"
    assert "null bytes" in facts["unparsed"]["null.py"]
    assert "5 files did not parse:" in serial[1]
    assert all(name in serial[1] for name in UNPARSED)


def test_picture_is_well_formed_and_tells_every_unit(serial, facts):
    root = ElementTree.parse(serial[0] / "atlas.svg").getroot()
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    for unit in facts["units"]:
        assert any(title.startswith(unit["name"] + "\n") for title in titles)
    assert "app imports core" in titles


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_runners_write_the_same_bytes(kind, tree, serial, tmp_path):
    done = run(tree, "--runner", kind, "--output", tmp_path / "new" / "folder", "--workers", 2)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("atlas.json", "atlas.svg"):
        assert (tmp_path / "new" / "folder" / name).read_bytes() == (serial[0] / name).read_bytes()
    assert "the same bytes" in done.stdout
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["atlas.json", "atlas.svg"]


def test_bytes_do_not_depend_on_the_hash_seed(tree, serial, tmp_path):
    run(tree, "--runner", "serial", "--output", tmp_path, PYTHONHASHSEED="1")
    assert (tmp_path / "atlas.svg").read_bytes() == (serial[0] / "atlas.svg").read_bytes()


def test_dry_run_checks_every_call_and_writes_nothing(tree, tmp_path):
    done = run(tree, "--runner", "dry", "--output", tmp_path / "out")
    assert done.returncode == 0
    assert "dry run: 30 calls checked" in done.stdout  # 15 files, 13 units, the graph, the atlas
    assert list(tmp_path.iterdir()) == []


def test_piped_output_is_plain_and_fits_80_columns(tree, serial, tmp_path):
    done = run(tree, "--output", tmp_path, "--no-compare")
    for text in (done.stdout, serial[1]):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
        lines = [line for line in text.splitlines() if "atlas.svg" not in line and "atlas.json" not in line]
        assert max(map(len, lines)) <= 80
    assert "15/15 files" in done.stdout


@pytest.mark.parametrize(("env", "live"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_progress_is_drawn_on_a_terminal_only(tree, tmp_path, env, live):
    assert ("\r[" in on_terminal(tree, "--output", tmp_path, "--no-compare", **env)) is live


def on_terminal(*args, **env):
    master, slave = pty.openpty()
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **env}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=env):
        os.close(slave)
        told = b""
        try:
            while chunk := os.read(master, 4096):
                told += chunk
        except OSError:  # how Linux says that the other end was closed
            pass
    os.close(master)
    return told.decode()


def test_names_are_told_where_letters_are_few(tree):
    done = run(tree, "--runner", "dry", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    (broken := tree.parent / "ünï").mkdir()
    (broken / "ä.py").write_text("?")
    done = run(broken, "--runner", "serial", "--output", broken, PYTHONIOENCODING="ascii")
    assert "An atlas of \\xfcn\\xef" in done.stdout
    assert "  \\xe4.py: invalid syntax" in done.stdout


def test_interrupt_ends_the_run_with_130_and_leaves_no_process(tmp_path):
    for k in range(120):
        (tmp_path / f"m{k}.py").write_text("def f(x):\n    return [x, x + 1, x + 2]\n" * 600)
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--output", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as script:
        assert script.stdout is not None
        while not script.stdout.readline().endswith(b"/120 files\n"):
            pass
        os.killpg(script.pid, signal.SIGINT)
        # The pipes end when the last process that writes to them has ended.
        _, errors = script.communicate(timeout=20)
    assert script.returncode == 130
    assert b"Traceback" not in errors
    assert errors.endswith(b"stopped\n")
    assert not (tmp_path / "atlas.json").exists()


def test_tests_are_taken_in_on_request(tree, tmp_path):
    run(tree, "--runner", "serial", "--all", "--output", tmp_path)
    facts = json.loads((tmp_path / "atlas.json").read_text("utf-8"))
    assert facts["files"] == 16
    assert "test" in {unit["name"] for unit in facts["units"]}


def test_package_is_entered_and_its_own_names_are_told_from_others(tmp_path):
    for name, text in {
        "__init__.py": "from pack.types import T\n",
        "types.py": "import types\n",
        "user.py": "from . import types, __doc__\nfrom .. import other\nfrom ....beyond import all\n",
    }.items():
        (tmp_path / "src" / "pack").mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / "pack" / name).write_text(text)
    run(tmp_path / "src", "--runner", "serial", "--output", tmp_path)
    facts = json.loads((tmp_path / "atlas.json").read_text("utf-8"))
    units = {unit["name"]: unit for unit in facts["units"]}
    assert facts["title"] == "pack"
    assert units["__init__"]["imports"] == {"types": 1}
    assert units["types"]["imports"] == {}
    assert units["user"]["imports"] == {"__init__": 1, "types": 1}
    assert facts["outside"] == {"types": 1}


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["no such place"], "no such directory: no such place"),
        ([str(SCRIPT)], "no such directory"),
        ([".", "--workers", "0"], "--workers must be at least 1"),
        ([str(EXAMPLES), "--output", f"{SCRIPT}/below"], "below: Not a directory"),
        ([str(EXAMPLES), "--output", str(SCRIPT)], "stdlib_atlas.py: File exists"),
        ([".", "--runner", "parallel"], "invalid choice"),
    ],
)
def test_bad_arguments_exit_with_2_and_a_message(args, told):
    done = run(*args)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_directory_without_sources_is_told_as_such(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "no Python sources below" in done.stderr


def test_one_file_makes_an_atlas(tmp_path):
    (tmp_path / "solo.py").write_text("")
    assert run(tmp_path, "--runner", "serial", "--output", tmp_path).returncode == 0
    ElementTree.parse(tmp_path / "atlas.svg")


def test_unlistable_folder_is_reported_as_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "open.py").write_text("")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    place = explore(tmp_path)
    assert set(place.files) == {"open.py", "shut"}
    assert survey(place.root, "shut", place.prefix).error == "Is a directory"


def test_printable_escapes_what_xml_and_terminals_cannot_take():
    assert printable("a\nb\x1b\udcff é") == "a\\nb\\x1b\\udcff é"
    assert printable("plain & <simple>") == "plain & <simple>"


def test_count_agrees_with_its_noun():
    assert [count(n, "class") for n in (0, 1, 2000)] == ["0 classes", "1 class", "2,000 classes"]


@st.composite
def graphs(draw):
    names = [f"n{k}" for k in range(draw(st.integers(0, 8)))]
    arrows = [(a, b) for a, b in permutations(names, 2)]
    chosen = draw(st.sets(st.sampled_from(arrows))) if arrows else set()
    return {name: {b for a, b in chosen if a == name} for name in names}


def reached(graph, start):
    found = {start}
    while fresh := {b for a in found for b in graph[a]} - found:
        found |= fresh
    return found


@given(graphs())
def test_components_are_the_sets_that_reach_each_other(graph):
    reach = {name: reached(graph, name) for name in graph}
    expected = {tuple(sorted(b for b in graph if b in reach[a] and a in reach[b])) for a in graph}
    found = components(graph)
    assert set(found) == expected
    assert len(found) == len(expected)
    for position, component in enumerate(found):  # imported ones first
        below = {b for a in component for b in graph[a]} - set(component)
        assert below <= {name for earlier in found[:position] for name in earlier}


@given(graphs())
def test_layers_are_the_longest_ways_down(graph):
    component = {name: c for c in components(graph) for name in c}
    below = {c: {component[b] for a in c for b in graph[a]} - {c} for c in component.values()}

    def longest(c):
        return max((1 + longest(other) for other in below[c]), default=0)

    assert layers(graph) == {name: longest(component[name]) for name in graph}


@given(graphs())
def test_ranks_are_shares_that_reproduce_themselves(graph):
    rank = ranks(graph)
    assert set(rank) == set(graph)
    if graph:
        assert sum(rank.values()) == pytest.approx(1, abs=1e-4)
    idle = sum(rank[name] for name in graph if not graph[name])
    importers = reverse(graph)
    for name in graph:
        followed = sum(rank[other] / len(graph[other]) for other in importers[name])
        expected = (1 - DAMPING + DAMPING * idle) / len(graph) + DAMPING * followed
        assert rank[name] == pytest.approx(expected, abs=1e-3)


def test_long_chain_needs_no_recursion():
    names = [f"n{k:06}" for k in range(20_000)]
    chain = {name: {after} for name, after in pairwise(names)} | {names[-1]: set()}
    assert layers(chain)[names[0]] == 19_999
    assert len(components(chain | {names[-1]: {names[0]}})) == 1


@settings(max_examples=50)
@given(graphs(), st.data())
def test_circles_never_overlap_and_lie_further_out_than_what_they_import(graph, data):
    lines = {name: data.draw(st.integers(0, 20_000)) for name in graph}
    layer = layers(graph)
    spots = lay_out(lines, layer, graph)
    assert set(spots) == set(graph)
    for name, spot in spots.items():
        assert spot.y >= spot.radius - 1e-6
        assert all(spot.distance > spots[other].distance for other in graph[name] if layer[other] < layer[name])
    for a, b in permutations(spots.values(), 2):
        assert math.dist((a.x, a.y), (b.x, b.y)) >= a.radius + b.radius + GAP - 1e-6
