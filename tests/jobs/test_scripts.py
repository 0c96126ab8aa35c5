"""Whole scripts: how they end, on failure, at exit, on Ctrl-C."""

from __future__ import annotations

import os
import signal
import time

import pytest

from contract.stage import ended as process_ended
from hand import PATIENCE
from jobs.scripts import finish, run, start, write
from weft.rundir import read_journal


def test_a_script_with_a_failed_job_exits_non_zero_with_one_traceback(tmp_path):
    body = """
        @job
        def bad():
            return {}["key"]

        @after(bad)
        @job
        def never(): ...

        schedule(never)
        """
    ended = run(tmp_path, body)
    assert ended.returncode == 1
    assert ended.stderr.count('return {}["key"]') == 1
    assert ended.stderr.splitlines()[0].startswith("weft: bad failed: KeyError: 'key'")
    assert "weft.errors.WorkflowError: run " in ended.stderr
    assert "2 jobs: 1 failed, 1 unreachable (1 sub-exception)" in ended.stderr


def test_a_script_needs_no_guard_and_its_functions_and_jobs_travel(tmp_path):
    body = """
        SCALE = 3

        @job(array=3)
        def part(i):
            return SCALE * i

        @job
        def total(parts):
            return sum(parts), part(5), os.getpid()

        last = total.bind(part)
        result, again, pid = schedule(last)[last]
        print(result, again, pid != os.getpid())
        """
    ended = run(tmp_path, body)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("9 15 True\n", "", 0)


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_the_interpreter_waits_at_exit_for_a_run_in_the_background(tmp_path, backend):
    body = f"""
        @job
        def first():
            time.sleep(0.2)

        @after(first)
        @job
        def second():
            Path("second").touch()

        @after(second)
        @job
        def bad():
            return {{}}["key"]

        schedule(bad, backend={backend!r}, wait=False)
        print("script is over", flush=True)
        """
    ended = run(tmp_path, body)
    assert (ended.stdout, ended.returncode) == ("script is over\n", 0)
    assert (tmp_path / "second").exists()
    assert ended.stderr.count('return {}["key"]') == 1  # nobody waits, so it is told when it happens
    (events,) = (tmp_path / ".weft").rglob("events.jsonl")
    assert list(read_journal(events))[-1]["run"] == "finished"


SLEEPERS = """
    @job(array=2)
    def sleep(i):
        Path(f"started-{i}").write_text(str(os.getpid()))
        with open("starts", "w") as starts:
            starts.write("x")
        time.sleep(60)

    @after(sleep)
    @job
    def next_(): ...
    """


@pytest.mark.parametrize("wait", ["schedule(next_)", "schedule(next_, wait=False).wait()"])
def test_ctrl_c_ends_a_run_within_a_second_and_leaves_no_process(tmp_path, wait):
    os.mkfifo(tmp_path / "starts")
    process = start(write(tmp_path, SLEEPERS + f"\n    {wait}\n"), start_new_session=True)
    with open(tmp_path / "starts", "rb", buffering=0) as starts:
        count = 0
        while count < 2:
            count += len(starts.read(1))
    pids = [int((tmp_path / f"started-{i}").read_text()) for i in range(2)]
    before = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    ended = finish(process)
    seconds = time.monotonic() - before
    assert seconds < PATIENCE / 3
    assert all(process_ended(pid) for pid in pids)
    assert "KeyboardInterrupt" in ended.stderr
    assert "interrupted: 2 of 2 jobs cancelled, 0 were over" in ended.stderr
    assert ended.returncode != 0


def test_ctrl_c_in_a_job_of_the_calling_thread_ends_the_run(tmp_path):
    body = """
        import signal

        @job
        def first():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

        @after(first, status="any")
        @job
        def second():
            Path("second").touch()

        schedule(second, backend="serial")
        """
    ended = run(tmp_path, body)
    assert "KeyboardInterrupt" in ended.stderr
    assert "in first" in ended.stderr
    assert "interrupted: 2 of 2 jobs cancelled" in ended.stderr
    assert "failed" not in ended.stderr
    assert not (tmp_path / "second").exists()
