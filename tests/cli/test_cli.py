"""The command as a user types it."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from xml.etree import ElementTree

import pytest

from cli.conftest import PIPELINE
from contract.stage import eventually
from hand import PATIENCE
from weft.cli.words import size
from weft.executors import ClusterExecutor, FakeCluster
from weft.rundir import all_runs

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


def test_all_that_follows_two_dashes_is_for_the_script(script):
    path = script("import sys; print(sys.argv[1:])")
    for given, expected in (
        (["--", "--dry", "x"], ["--dry", "x"]),
        (["--", "--", "x"], ["--", "x"]),
        (["a b", "-x", "'"], ["a b", "-x", "'"]),
    ):
        command = [sys.executable, "-m", "weft", "run", path, *given]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{expected}\n"


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


def test_status_lists_runs_and_jobs_with_what_went_wrong(weft, ran):
    ran()
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


def test_a_job_that_was_not_needed_is_not_missing(weft, script):
    path = script(
        "from pathlib import Path\n@job\ndef a(): ...\n"
        "@after(a)\n@ensure(lambda: Path('made').exists())\n@job\ndef b(): Path('made').touch()\nschedule(b)"
    )
    for _ in range(2):
        script.run(path)
    assert "1 idle, 1 up to date" in weft("status", "-1")
    assert "/" not in weft("status")


def test_what_was_running_when_a_run_was_cut_short_is_running_no_more(weft, script, folder):
    process = start(script(SLOW))
    assert eventually((folder / "begun").exists)
    process.kill()
    process.communicate()
    said = weft("status", "-1")
    assert "2 jobs: 2 wanted" in said
    assert "was running when the run was cut short" in said
    assert "waits for" not in said


def test_a_run_that_is_damaged_does_not_hide_the_others(weft, ran):
    ran(3)
    good, no_json, no_jobs = all_runs()
    (no_json.path / "run.json").write_text("{")
    (no_jobs.path / "run.json").write_text('{"jobs": [1]}')
    with good.journal.open("a") as file:
        file.write('{"job":"merge"}\n{"t":"x","job":"merge","state":"y"}\n{"t":1,"job":[],"state":"failed"}\n[]\n')
    said = weft("status")
    assert said.count("unreadable") == 2
    assert "run.json is no JSON" in said
    assert "run.json is not what weft wrote there" in said
    assert "1 failed" in said
    assert "3 succeeded, 1 failed" in weft("status", "-1")
    assert "is not what weft wrote there" in weft("status", "-3", code=1)


def test_names_cannot_disturb_the_terminal(weft, script):
    script.run(script("@job(name='red\x1b[31m \\n' + 'x' * 100)\ndef a(): print(1)\nschedule(a)"))
    said = weft("status", "-1")
    assert "\x1b" not in said
    assert "red?[31m xxx" in said


def test_on_a_terminal_each_line_fits_it_and_has_colours_if_wanted(script, folder):
    name = "a name that is long enough to fill a line of a terminal by itself, and then some more"
    script.run(script(PIPELINE.replace("schedule(", f"schedule(name={name!r}, *[").replace("clean_up,", "clean_up],")))
    for arguments, environ, coloured in ((["status"], {}, True), (["status"], {"NO_COLOR": "1"}, False)):
        said = in_a_terminal(arguments, environ)
        assert ("\x1b[32m" in said) is coloured
        lines = re.sub(r"\x1b\[\d*m", "", said).splitlines()
        assert len(lines) == 2
        assert max(map(len, lines)) <= 80


def in_a_terminal(arguments, environ):
    """What the command prints on a terminal of 80 columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "weft", *arguments], stdout=its, stderr=its, env={**inherited, **environ}
    )
    os.close(its)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # its last process has closed it
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


def test_a_run_that_is_not_there_is_refused_with_those_that_are(weft, ran):
    ran()
    assert "there is no run 'nonsense'; the last ones are:" in weft("status", "nonsense", code=1)


# Logs


def test_logs_are_printed_for_a_job_an_element_and_all_elements(weft, ran):
    ran()
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
def test_logs_of_what_is_not_there_are_refused_with_what_is(weft, ran, arguments, hint):
    ran()
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


def test_all_tries_of_a_job_are_followed_one_after_the_other(folder, script):
    """The first try waits at a gate, the second at another; in between, what the first wrote has become the log."""
    for name in ("first", "second", "passes"):
        os.mkfifo(folder / name)
    process = start(
        script("""
from pathlib import Path

@job(retries=1)
def twice():
    name = "second" if Path("was").exists() else "first"
    Path("was").touch()
    print(name, "begins", flush=True)
    open(name).close()
    print(name * 3, flush=True)
    open("passes").close()
    if name == "first":
        raise ValueError("once more")
    print("done")

schedule(twice)
""")
    )
    (folder / "first").open("w").close()
    command = [sys.executable, "-m", "weft", "logs", "--follow", "-1", "twice"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        said = follower.stdout.readline() + follower.stdout.readline()
        assert said == "first begins\nfirstfirstfirst\n"
        (folder / "passes").open("w").close()
        (folder / "second").open("w").close()
        while "second begins\n" not in said:
            said += follower.stdout.readline()
        (folder / "passes").open("w").close()
        said += follower.stdout.read()
    process.communicate()
    (run,) = all_runs()
    assert said == (run.path / "tasks" / "twice" / "log").read_text()
    assert re.sub(r"(?s)Traceback.*: once more\n", "TRACEBACK\n", said) == (
        "first begins\nfirstfirstfirst\nTRACEBACK\nsecond begins\nsecondsecondsecond\ndone\n"
    )


def test_of_a_job_that_runs_again_all_that_it_wrote_is_printed(weft, folder, script):
    process = start(
        script("""
from pathlib import Path

@job(retries=1)
def twice():
    if not Path("was").exists():
        Path("was").touch()
        print("first")
        raise ValueError("once more")
    print("second", flush=True)
    Path("begun").touch()
    time.sleep(100)

import time
schedule(twice)
""")
    )
    try:
        assert eventually((folder / "begun").exists)
        said = weft("logs", "-1", "twice")
    finally:
        process.kill()
        process.communicate()
    assert said.startswith("first\n")
    assert said.endswith("once more\nsecond\n")


def test_logs_of_a_job_that_an_earlier_run_has_done_are_pointed_at(weft, script, folder):
    path = script(
        "from pathlib import Path\n"
        "@ensure(lambda: Path('made').exists())\n@job(name='a b')\ndef a(): Path('made').touch(); print('made')\n"
        "@job\ndef b(): ...\nschedule(a, b)"
    )
    script.run(path)
    first = all_runs()[0].name
    script.run(path)
    assert weft("logs", "-1", "a b") == f"a b is there since an earlier run: weft logs {first} 'a b'\n"
    assert weft("logs", first, "a b") == "made\n"


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


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_a_run_that_the_interpreter_waits_for_at_exit_is_cancelled(weft, script, folder, backend):
    text = SLOW.replace("time.sleep(100)", "time.sleep(100 if not Path('again').exists() else 0)")
    path = script(
        text.replace("schedule(second)", f"schedule(second, wait=False, backend={backend!r})")
        + "from weft.engine import exit\nexit.PATIENCE = 0.05\n"
    )
    process = start(path)
    assert eventually((folder / "begun").exists)
    assert process.stderr.readline().startswith("waiting at exit for")  # not before: then it would end the script
    process.send_signal(signal.SIGINT)
    if backend == "local":  # a thread cannot be stopped
        process.communicate(timeout=PATIENCE)
        assert "interrupted" in weft("status")
        assert "2 jobs: 2 cancelled" in weft("status", "-1")
        (folder / "again").touch()
        assert "taking over" in script.run(path).stderr
    else:
        assert eventually(lambda: "interrupted" in weft("status"))
        process.kill()
        process.communicate()


def test_a_driver_that_does_not_hear_is_ended_all_the_same(weft, script, folder, monkeypatch):
    monkeypatch.setattr("weft.jobs.stop.WAYS", ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3), (signal.SIGKILL, 9.0)))
    deaf = "import signal\nfor n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, lambda *_: None)\n"
    process = start(script(deaf + SLOW))
    assert eventually((folder / "begun").exists)
    assert "cancelled" in weft("cancel", "-1")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert "2 jobs: 2 cancelled" in weft("status", "-1")
    assert weft("logs", "-1", "first") == "begun\n"


def test_a_driver_that_ignores_a_signal_is_told_by_the_next_at_once(weft, script, folder, monkeypatch):
    monkeypatch.setattr("weft.jobs.stop.WAYS", ((signal.SIGINT, 1e9), (signal.SIGTERM, 30.0)))
    process = start(script("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + SLOW))
    assert eventually((folder / "begun").exists)
    assert "cancelled" in weft("cancel", "-1")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGTERM


def test_a_notebook_is_interrupted_and_not_killed(weft, folder, monkeypatch):
    monkeypatch.setattr("weft.jobs.stop.WAYS", ((signal.SIGINT, 0.3), (signal.SIGTERM, 9.0)))
    text = "from weft import *\nimport signal\nsignal.signal(signal.SIGINT, lambda *_: None)\n" + SLOW
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert eventually((folder / "begun").exists)
        said = weft("cancel", "-1", code=1)
        assert f"process {process.pid} does not listen; end that, with all that it does: kill {process.pid}" in said
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_a_run_that_was_cut_short_is_cancelled_so_that_nobody_takes_it_over(weft, script, folder):
    path = script(SLOW.replace("time.sleep(100)", "time.sleep(0 if Path('again').exists() else 100)"))
    process = start(path)
    assert eventually((folder / "begun").exists)
    process.kill()
    process.communicate()
    assert "cancelled" in weft("cancel", "-1")
    assert "nothing to cancel" in weft("cancel", "-1")
    (folder / "again").touch()
    assert "taking over" not in script.run(path).stderr
    assert len(all_runs()) == 2


def test_a_driver_on_another_host_is_left_alone(weft, script, folder):
    process = start(script(SLOW))
    try:
        assert eventually((folder / "begun").exists)
        (run,) = all_runs()
        (run.path / "lock").write_text(f'["elsewhere",{process.pid},1]')
        assert f"is driven by process {process.pid} on elsewhere; cancel it there" in weft("cancel", "-1", code=1)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_a_process_that_has_the_pid_of_a_driver_by_chance_is_left_alone(weft, script, folder, monkeypatch):
    monkeypatch.setattr("weft.jobs.stop.WAYS", ((signal.SIGKILL, 0.1),))
    process = start(script(SLOW))
    try:
        assert eventually((folder / "begun").exists)
        (run,) = all_runs()
        driver = run.driver()
        (run.path / "lock").write_text(f'["{driver.host}",{process.pid},{driver.started - 1}]')
        assert "does not end: something holds" in weft("cancel", "-1", code=1)
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


# Clean


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (999_950, "1.0 MB"), (2.5e9, "2.5 GB"), (5e12, "5,000.0 GB")],
)
def test_sizes_are_for_people(count, text):
    assert size(count) == text


def test_clean_lists_what_is_old_and_deletes_it_when_told_to(weft, ran):
    ran(2)
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


def test_clean_leaves_alone_what_is_not_the_users(weft, ran):
    ran(2)
    new, old = all_runs()
    old.path.chmod(0o777)
    said = weft("clean", "--older", "0", "--commit")
    assert f"{old.name} stays: others may write to" in said
    assert "1 run deleted" in said
    assert [run.name for run in all_runs()] == [old.name]
    assert not new.path.exists()


def test_clean_never_deletes_a_run_that_goes_on(weft, script, folder):
    process = start(script(SLOW))
    try:
        assert eventually((folder / "begun").exists)
        assert "no runs that are over" in weft("clean", "--older", "0", "--commit")
        assert len(all_runs()) == 1
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def executors():
    """A cluster, and the folders of two executors on it: one over, one whose process has left a job in the queue."""
    with FakeCluster() as cluster:
        done, left = ClusterExecutor(cluster), ClusterExecutor(cluster, on_exit="leave")
        assert done.submit(abs, -1).result(PATIENCE) == 1
        done.shutdown()
        cluster.partition_down("debug")
        future = left.submit(abs, -2)
        assert eventually(lambda: future.job_id is not None)
        left._core.interrupt()
        left.shutdown()
        yield cluster, done.directory, left.directory


def test_clean_takes_what_executors_have_kept_but_what_may_be_in_the_queue(weft, executors):
    cluster, done, left = executors
    assert "no runs that are over are older than 7d" in weft("clean")
    said = weft("clean", "--older", "0")
    assert f"executors/{done.name}  " in said
    assert f"executors/{left.name} stays: not all of its calls have an outcome" in said
    assert re.search(r"^1 executor, .* to delete: weft clean --older 0 --commit$", said, re.MULTILINE)
    assert done.exists()
    assert "1 executor deleted" in weft("clean", "--older", "0", "--commit")
    assert not done.exists()
    assert left.exists()
    (taken,) = ClusterExecutor.attach(left, cluster, poll_interval=0.05).values()
    assert "no runs that are over" in weft("clean", "--older", "0", "--commit")  # it is in use
    cluster.partition_up("debug")
    assert taken.result(PATIENCE) == 2
    assert eventually(lambda: (left / "over").exists())
    assert eventually(lambda: "1 executor deleted" in weft("clean", "--older", "0", "--commit"))


def test_clean_goes_by_what_happened_last_to_an_executor(weft, executors, ran):
    _, done, left = executors
    long_ago = time.time() - 10 * 86400
    for path in (done, *done.rglob("*")):
        os.utime(path, (long_ago, long_ago))
    os.utime(left / "groups" / "0" / "outcomes", (long_ago, long_ago))
    said = weft("clean", "--older", "5d")
    assert left.name not in said
    assert re.search(rf"executors/{done.name} .* 10d00h ago", said)
    os.utime(done / "groups" / "0" / "outcomes")
    assert "no runs that are over" in weft("clean", "--older", "5d")


def test_clean_leaves_alone_executors_that_are_not_the_users_and_what_is_none(weft, executors, folder):
    _, done, _ = executors
    done.chmod(0o777)
    (folder / ".weft" / "executors" / "notes").mkdir()
    (folder / ".weft" / "executors" / ".half-deleted").mkdir()
    said = weft("clean", "--older", "0", "--commit")
    assert f"executors/{done.name} stays: others may write to" in said
    assert done.exists()
    assert sorted(path.name for path in (folder / ".weft" / "executors").iterdir())[-1] == "notes"
    assert not (folder / ".weft" / "executors" / ".half-deleted").exists()


# Graph


def test_a_script_and_its_run_are_drawn(weft, script, ran, folder):
    path = script(PIPELINE)
    weft("graph", path, "-o", "a b.svg")
    assert all_runs() == []
    text = (folder / "a b.svg").read_text()
    for word in ("estimate x 3", "merge", "never / reached", "failure"):
        assert word in text
    assert "succeeded" not in text
    ElementTree.fromstring(text)
    ran()
    for how in ("svg", "mmd", "dot"):
        weft("graph", "-1", "-o", f"b.{how}")
        text = (folder / f"b.{how}").read_text()
        for word in ("estimate x 3", "succeeded", "never / reached", "failure"):
            assert word in text


def test_without_a_file_the_graph_is_printed_as_mermaid(weft, script):
    assert weft("graph", script(PIPELINE)).startswith("flowchart TD\n")


def test_what_cannot_be_drawn_is_refused(weft, script):
    assert "must end in .svg, .mmd, .dot" in weft("graph", script(PIPELINE), "-o", "x.png", code=2)
    assert "it has called no schedule" in weft("graph", script("x = 1"), code=1)
    assert "exit code 1" in weft("graph", script("1 / 0"), code=1)
    assert "there is no script nowhere.py" in weft("graph", "nowhere.py", code=1)
