"""What becomes of procs when the program is interrupted, ended, killed, or simply at its end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hand import PATIENCE
from weft.procs import ProcManager

HEAD = """
import os, signal, subprocess, sys, time
from pathlib import Path
import weft.procs as pp

here = Path(sys.argv[1])
pp.set_options(mode=sys.argv[2], log_directory=here / "logs", report=False)
"""


def start(tmp_path, body, mode="mp"):
    script = tmp_path / "script.py"
    script.write_text(HEAD + body)
    return subprocess.Popen(
        [sys.executable, "-W", "error", script, tmp_path, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def finish(process):
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, out, err


def appears(path, process):
    deadline = time.monotonic() + PATIENCE
    while not (path.exists() and path.read_text().endswith("\n")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path.read_text()


def is_gone(pid):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


ENDLESS = """
def before(number, frame):
    raise AssertionError("not for it")

signal.signal(signal.SIGTERM, before)

@pp.Proc(now=True, locks=["x"])
def endless():
    child = subprocess.Popen(["sleep", "1000"])
    (here / "pids").write_text(f"{os.getpid()} {child.pid}\\n")
    time.sleep(1000)

@pp.Proc(now=True, deps=["endless"])
def after():
    pass

pp.wait_for_all()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_and_says_what_was_stopped(tmp_path, number):
    process = start(tmp_path, ENDLESS)
    worker, child = map(int, appears(tmp_path / "pids", process).split())
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, out, err) == (128 + number, "", "stopped endless\n")
    assert is_gone(worker)
    assert is_gone(child)


def test_a_signal_ends_a_slow_function_in_deps(tmp_path):
    body = """
@pp.Proc(deps=[lambda context: (here / "began").write_text("\\n") and time.sleep(1000)])
def x():
    pass

try:
    pp.start("x")
finally:
    print(pp.get_procs())
"""
    process = start(tmp_path, body)
    appears(tmp_path / "began", process)
    process.send_signal(signal.SIGINT)
    _, out, err = finish(process)
    assert out == "{'x': <Proc 'x' idle>}\n"
    assert err.endswith("KeyboardInterrupt\n")


def test_a_signal_ends_what_runs_in_this_process(tmp_path):
    body = """
@pp.Proc(now=True)
def endless():
    (here / "began").write_text("\\n")
    while True:
        time.sleep(0.01)

pp.wait_for_all()
"""
    process = start(tmp_path, body, "single")
    appears(tmp_path / "began", process)
    process.send_signal(signal.SIGINT)
    assert finish(process) == (130, "", "stopped endless\n")


def test_a_killed_program_leaves_no_process(tmp_path):
    process = start(tmp_path, ENDLESS)
    worker, child = map(int, appears(tmp_path / "pids", process).split())
    process.kill()
    finish(process)
    assert is_gone(worker)
    assert is_gone(child)


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="there a program at its end may start nothing more")
@pytest.mark.parametrize("mode", ["mp", "single"])
def test_what_was_started_still_runs_at_the_end_of_the_program(tmp_path, mode):
    body = """
@pp.Proc(now=True)
def first():
    (here / "first").write_text("x")

@pp.Proc(now=True, deps=["first"])
def second():
    (here / "second").write_text("x")

@pp.Proc(now=True, deps=["never defined"])
def third():
    pass
"""
    assert finish(start(tmp_path, body, mode)) == (0, "", "")
    assert (tmp_path / "second").exists()


def test_a_failure_that_nobody_catches_ends_the_program_with_names_and_logs(tmp_path):
    body = """
@pp.Proc(now=True)
def bad():
    raise ValueError("no")

pp.wait_for_all()
"""
    code, out, err = finish(start(tmp_path, body))
    assert (code, out) == (1, "")
    assert "1 proc failed:" in err
    assert f"bad: ValueError: no (log: {tmp_path / 'logs' / 'bad.log'})" in err


def test_classes_of_the_script_come_back_as_what_they_are(tmp_path):
    body = """
import enum

class Point:
    def __init__(self, x):
        self.x = x

class Env(enum.Enum):
    DEV = 1

class Boom(Exception):
    pass

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(a)

@pp.Proc(now=True)
def value():
    local = lambda: 3
    return Point(bytearray(b"x") * 100_000), Env.DEV, Point, local

@pp.Proc(now=True)
def failure():
    raise Boom("oh")

@pp.Proc(now=True)
def odd():
    raise Odd(1, 2)

pp.wait_for_all(exception_on_failure=False)
point, env, kind, local = pp.results()["value"]
print(type(point) is Point, len(point.x), env is Env.DEV, kind is Point, local())
for name in ("failure", "odd"):
    try:
        pp.wait(name)
    except pp.ProcessError as error:
        (cause,) = error.exceptions
        print(type(cause).__name__, isinstance(cause, Boom), 'raise Boom("oh")' in str(cause.__cause__))
        print(pp.get_procs()[name].reason)
"""
    code, out, err = finish(start(tmp_path, body))
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == ["True 100000 True True 3", "Boom True True", "Boom: oh"]
    assert "Odd" in out.splitlines()[4]


def test_handlers_are_there_only_while_something_runs():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    manager = ProcManager()
    manager.set_options(mode="single", report=False)
    during = []
    manager.Proc("x", lambda: during.append(signal.getsignal(signal.SIGTERM)) and None)
    manager.start("x")
    manager.wait_for_all()
    assert during[0] not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    manager.start("x")
    manager.clear()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_open_files_do_not_grow_with_procs(tmp_path):
    body = """
import gc

def nothing(): pass

def files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

counts = []
for round in range(3):
    for n in range(20):
        pp.Proc(f"{round}-{n}", nothing, now=True)
    pp.wait_for_all()
    deadline = time.monotonic() + 10
    while len(counts) > 1 and files() > counts[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    counts.append(files())
print(counts[2] <= counts[1], counts)
"""
    code, out, err = finish(start(tmp_path, body))
    assert (code, out[:4], err) == (0, "True", ""), out
