"""The command as a user types it."""

import os
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest

from contract.stage import eventually
from hand import PATIENCE
from weft.rundir import all_runs

PIPELINE = """
import sys, time

@job(array=3)
def estimate(i):
    print("estimate", i)
    return i

@after(estimate)
@job
def merge():
    print("merged")

@job
def broken():
    print("before")
    raise ValueError("the lamp is off")

@after(broken)
@job(name="never / reached")
def never(): ...

@after(broken, status="failure")
@job
def clean_up(): ...

if __name__ == "__main__":
    schedule(merge, never, clean_up, raise_on_failure="--loud" in sys.argv)
"""

SLOW = """
import time
from pathlib import Path

@job
def first():
    print("begun", flush=True)
    Path("begun").touch()
    time.sleep(100)

@after(first)
@job
def second(): ...

schedule(second)
"""


def start(path):
    return subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# Help


def test_help_shows_what_there_is_with_examples(weft):
    said = weft("--help")
    for word in ("weft run pipeline.py", "status", "logs", "cancel", "clean", "graph"):
        assert word in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("command", ["run", "status", "logs", "cancel", "clean", "graph"])
def test_each_command_has_help_with_an_example(weft, command):
    said = weft(command, "--help")
    assert f"weft {command}" in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("typed", "hint"), [("statsu", "did you mean 'status'"), ("x.py", "write: weft run x.py"), ("zzz", "no command")]
)
def test_a_command_that_is_not_there_is_refused_with_what_to_type(weft, typed, hint):
    assert hint in weft(typed, code=2)


def test_the_module_and_the_command_are_one(folder):
    done = subprocess.run([sys.executable, "-m", "weft", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("weft, version")


def test_help_imports_nothing_heavy():
    code = (
        "import sys, weft.cli.group as m\ntry: m._weft(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('weft.jobs.launch', 'weft.executors', 'cloudpickle') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


# Run


def test_a_script_is_run_where_the_command_line_says_with_its_own_arguments(folder, script):
    path = script(
        "import sys, os\n@job\ndef who(): return os.getpid()\nprint(schedule(who)[who] == os.getpid(), sys.argv[1:])"
    )
    for options, expected in ((["-b", "threads"], "True"), (["--backend", "serial"], "True"), ([], "False")):
        command = [sys.executable, "-m", "weft", "run", *options, path, "--", "--x", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == f"{expected} ['--x', '1']\n"


def test_a_script_that_fails_ends_the_command_as_it_ends_python(script):
    path = script("import sys; sys.exit(3)")
    assert subprocess.run([sys.executable, "-m", "weft", "run", path], check=False).returncode == 3


def test_a_dry_run_runs_nothing(folder, script):
    path = script("@job\ndef mark(): open('mark', 'w')\nschedule(mark)")
    done = subprocess.run(
        [sys.executable, "-m", "weft", "run", "--dry", path], capture_output=True, text=True, check=True
    )
    assert "mark" in done.stdout
    assert not (folder / "mark").exists()


def test_an_unknown_backend_is_refused(weft, script):
    assert "must be one of local" in weft("run", "--backend", "slurmm", script(""), code=2)


# Status


def test_where_there_are_no_runs_status_says_so(weft, folder):
    assert weft("status") == f"no runs in {folder / '.weft'}\n"


def test_status_lists_runs_and_jobs_with_what_went_wrong(weft, script):
    script.run(script(PIPELINE))
    listed = weft("status")
    assert "finished" in listed
    assert "1 failed" in listed
    said = weft("status", "-1")
    assert "5 jobs: 3 succeeded, 1 failed, 1 unreachable" in said
    rows = {line.split("  ")[0]: line for line in said.splitlines()}
    assert "3/3" in rows["estimate"]
    assert said.index("broken") < said.index("estimate")
    assert "\n    ValueError: the lamp is off\n" in said
    assert said.endswith("broken\n")
    assert "more of it: weft logs " in said
    assert max(map(len, said.splitlines()[3:])) <= 80
    assert "needs the success of 'broken', which failed" in said


def test_status_says_why_a_job_waits(weft, script, folder):
    process = start(script(SLOW))
    try:
        assert eventually((folder / "begun").exists)
        said = weft("status", "-1")
        assert "running" in said
        assert "waits for first (running)" in said
        assert f"driven by process {process.pid}" in said
    finally:
        process.kill()
        process.communicate()
    assert eventually(lambda: "cut short" in weft("status"))
    assert "run its script again, and what is done is taken over" in weft("status", "-1")


def test_a_run_that_is_not_there_is_refused_with_those_that_are(weft, script):
    script.run(script(PIPELINE))
    assert "there is no run 'nonsense'; the last ones are:" in weft("status", "nonsense", code=1)


# Logs


def test_logs_are_printed_for_a_job_an_element_and_all_elements(weft, script):
    script.run(script(PIPELINE))
    assert weft("logs", "-1", "merge") == "merged\n"
    assert weft("logs", "-1", "estimate", "2") == "estimate 2\n"
    assert weft("logs", "-1", "estimate") == (
        "==> estimate[0] <==\nestimate 0\n\n==> estimate[1] <==\nestimate 1\n\n==> estimate[2] <==\nestimate 2\n"
    )
    said = weft("logs", "-1", "broken")
    assert said.startswith("before\nTraceback (most recent call last):\n")
    assert said.endswith("ValueError: the lamp is off\n")
    assert weft("logs", "-1", "clean_up") == "clean_up has written nothing\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["mege"], "did you mean 'merge'?"),
        (["estimate", "7"], "estimate has no element '7'; its elements are: 0, 1, 2"),
        (["merge", "0"], "merge has no array"),
        (["estimate", "--follow"], "say which element to follow"),
    ],
)
def test_logs_of_what_is_not_there_are_refused_with_what_is(weft, script, arguments, hint):
    script.run(script(PIPELINE))
    assert hint in weft("logs", "-1", *arguments, code=1)


def test_a_log_is_followed_until_the_job_is_over(folder, script):
    text = SLOW.replace("time.sleep(100)", "\n    while not Path('go').exists(): time.sleep(0.01)\n    print('done')")
    process = start(script(text))
    assert eventually((folder / "begun").exists)
    command = [sys.executable, "-m", "weft", "logs", "--follow", "-1", "first"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout.readline() == "begun\n"
        (folder / "go").touch()
        assert follower.stdout.read() == "done\n"
    process.communicate()
    assert process.returncode == 0


# Cancel


def test_a_run_is_cancelled_and_nothing_of_it_is_left(weft, script, folder):
    process = start(script(SLOW))
    assert eventually((folder / "begun").exists)
    said = weft("cancel", "-1")
    assert said == f"run {all_runs()[0].name} cancelled\n"
    process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "cancelled" in weft("status")
    assert "nothing to cancel" in weft("cancel", "-1")


def test_a_driver_that_does_not_hear_is_ended_all_the_same(weft, script, folder, monkeypatch):
    monkeypatch.setattr("weft.cli.cancel.WAYS", ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3), (signal.SIGKILL, 9.0)))
    deaf = "import signal\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n"
    process = start(script(deaf + SLOW))
    assert eventually((folder / "begun").exists)
    assert "cancelled" in weft("cancel", "-1")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert "cancelled" in weft("status")


# Clean


def test_clean_lists_what_is_old_and_deletes_it_when_told_to(weft, script):
    script.run(script(PIPELINE))
    script.run(script(PIPELINE))
    new, old = all_runs()
    long_ago = time.time() - 10 * 86400
    for path in (old.journal, old.path / "run.json"):
        os.utime(path, (long_ago, long_ago))
    said = weft("clean")
    assert old.name in said
    assert new.name not in said
    assert "to delete: weft clean --older 7d --commit" in said
    assert [run.name for run in all_runs()] == [new.name, old.name]
    assert "1 run deleted" in weft("clean", "--commit")
    assert [run.name for run in all_runs()] == [new.name]
    assert "no runs that are over are older than 7d" in weft("clean")
    assert "is no time such as 7d" in weft("clean", "--older", "soon", code=2)


def test_clean_never_deletes_a_run_that_goes_on(weft, script, folder):
    process = start(script(SLOW))
    try:
        assert eventually((folder / "begun").exists)
        assert "no runs that are over" in weft("clean", "--older", "0", "--commit")
        assert len(all_runs()) == 1
    finally:
        process.kill()
        process.communicate()


# Graph


@pytest.mark.parametrize("how", ["svg", "mmd", "dot"])
def test_a_script_and_its_run_are_drawn(weft, script, folder, how):
    path = script(PIPELINE)
    weft("graph", path, "-o", f"a b.{how}")
    assert all_runs() == []
    text = (folder / f"a b.{how}").read_text()
    for word in ("estimate x 3", "merge", "never / reached", "failure"):
        assert word in text
    assert "succeeded" not in text
    script.run(path)
    weft("graph", "-1", "-o", f"b.{how}")
    assert "succeeded" in (folder / f"b.{how}").read_text()
    if how == "svg":
        ElementTree.fromstring(text)


def test_without_a_file_the_graph_is_printed_as_mermaid(weft, script):
    assert weft("graph", script(PIPELINE)).startswith("flowchart TD\n")


def test_what_cannot_be_drawn_is_refused(weft, script):
    assert "must end in .svg, .mmd, .dot" in weft("graph", script(PIPELINE), "-o", "x.png", code=2)
    assert "it has called no schedule" in weft("graph", script("x = 1"), code=1)
    assert "exit code 1" in weft("graph", script("1 / 0"), code=1)
    assert "there is no script nowhere.py" in weft("graph", "nowhere.py", code=1)
