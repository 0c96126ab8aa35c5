"""What becomes of a script that forgets its scheduler: real interpreters that end in real ways."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from contract.scripts import without_noise
from hand import PATIENCE

PREAMBLE = """
import threading, sys, os
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from weft.futures import Scheduler
"""
IMPATIENT = f"""{PREAMBLE}
import weft.engine.exit
weft.engine.exit.PATIENCE = 0.2
"""

# In 3.12, and in it alone, no thread can be started once the main thread has ended; a pool of the standard library that
# would need one more for a task refuses it then.
needs_threads_at_exit = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="Python 3.12 starts no threads at interpreter exit"
)


def run(script, preamble=PREAMBLE):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", preamble + textwrap.dedent(script)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@needs_threads_at_exit
@pytest.mark.parametrize("pool", ["ThreadPoolExecutor()", "ProcessPoolExecutor(1)"])
def test_what_was_scheduled_still_runs_and_the_script_exits(pool):
    ended = run(
        f"""
        pool = {pool}
        scheduler = Scheduler(pool.submit)
        task = scheduler.submit([abs, -1])
        for _ in range(20):
            task = scheduler.submit([abs, -1], dependencies=[task])
        scheduler.submit([print, "last", flush=True] if False else [print, "last"], dependencies=[task])
    """.replace('[print, "last", flush=True] if False else ', "")
    )
    assert (ended.stdout, without_noise(ended.stderr), ended.returncode) == ("last\n", "", 0)


@needs_threads_at_exit
def test_the_done_callbacks_of_the_last_tasks_are_called():
    ended = run("""
        pool = ThreadPoolExecutor()
        scheduler = Scheduler(pool.submit)
        first = scheduler.submit([abs, -1])
        scheduler.submit([abs, -2], dependencies=[first]).add_done_callback(lambda f: print("result", f.result()))
    """)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("result 2\n", "", 0)


@needs_threads_at_exit
def test_a_script_that_dies_with_an_exception_exits_with_it():
    ended = run("""
        pool = ThreadPoolExecutor()
        scheduler = Scheduler(pool.submit)
        scheduler.submit([print, "ran"])
        raise ValueError("died")
    """)
    assert ended.stdout == "ran\n"
    assert ended.stderr.rstrip().endswith("ValueError: died")
    assert ended.returncode == 1


@needs_threads_at_exit
def test_a_task_that_waits_for_a_future_of_a_pool_still_runs():
    ended = run("""
        pool = ThreadPoolExecutor()
        go = threading.Event()
        foreign = pool.submit(go.wait)
        scheduler = Scheduler(pool.submit)
        scheduler.submit([print, "after"], dependencies=[foreign])
        threading.Timer(0.05, go.set).start()
    """)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("after\n", "", 0)


def test_tasks_that_nobody_can_ever_release_are_dropped_with_a_word():
    ended = run("""
        scheduler = Scheduler(lambda: None)
        forgotten = Future()
        scheduler.submit(dependencies=[forgotten], name="orphan")
    """)
    assert ended.returncode == 0
    assert "1 task (orphan) dropped at exit" in ended.stderr


@needs_threads_at_exit
def test_a_process_pool_that_is_imported_after_the_scheduler_was_made_still_works():
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent("""
            from weft.futures import Scheduler
            first = Scheduler(lambda: None)
            from concurrent.futures import ProcessPoolExecutor
            pool = ProcessPoolExecutor(1)
            scheduler = Scheduler(pool.submit)
            task = scheduler.submit([abs, -1])
            scheduler.submit([print, "ran"], dependencies=[task])
        """)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (ended.stdout, without_noise(ended.stderr), ended.returncode) == ("ran\n", "", 0)


def test_an_orphan_is_dropped_although_idle_pools_are_there():
    ended = run(
        """
        pool, processes = ThreadPoolExecutor(), ProcessPoolExecutor(1)
        processes.submit(int).result()
        scheduler = Scheduler(pool.submit)
        scheduler.submit([int]).result()
        scheduler.submit([int], dependencies=[Future()], name="orphan")
        """,
        IMPATIENT,
    )
    assert "1 task (orphan) dropped at exit" in ended.stderr
    assert ended.returncode == 0


def test_a_submit_function_that_takes_its_time_loses_nothing():
    ended = run("""
        import time, weft.engine.exit
        weft.engine.exit.PATIENCE = 0.05

        def submit(n):
            time.sleep(0.3)
            future = Future()
            future.set_result(print("submitted", n))
            return future

        scheduler = Scheduler(submit)
        first = scheduler.submit([1])
        scheduler.submit([2], dependencies=[first])
    """)
    assert ended.stdout == "submitted 1\nsubmitted 2\n"
    assert ended.returncode == 0


def test_ctrl_c_while_the_scheduler_waits_at_the_end_of_its_block_stops_what_has_not_started():
    script = PREAMBLE + textwrap.dedent("""
        pool = ThreadPoolExecutor(1)
        go = threading.Event()
        with Scheduler(pool.submit) as scheduler:
            last = scheduler.submit([go.wait])
            threading.Timer(0.3, os.kill, (os.getpid(), 2)).start()
            threading.Timer(0.6, go.set).start()
            for n in range(50):
                last = scheduler.submit([print, n], dependencies=[last])
    """)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.stdout == ""
    assert "interrupted: 50 tasks of" in ended.stderr
    assert "KeyboardInterrupt" in ended.stderr


def test_an_idle_scheduler_keeps_no_process():
    ended = run("""
        scheduler = Scheduler(lambda: None)
        scheduler.submit().exception()
        print("end")
    """)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("end\n", "", 0)


def test_ctrl_c_while_waiting_at_exit_drops_what_waits():
    script = IMPATIENT + textwrap.dedent("""
        scheduler = Scheduler(lambda: None)
        keep = threading.Thread(target=threading.Event().wait, daemon=True)
        keep.start()   # somebody who might complete the future, as far as anyone can tell
        scheduler.submit(dependencies=[Future()], name="orphan")
        print("end", flush=True)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "end\n"
    # It says that it waits; then it is certainly in the hook.
    assert "waiting at exit for 1 task (orphan)" in process.stderr.readline()
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - interrupted < PATIENCE / 2
    assert "interrupted at exit: 1 task (orphan) cancelled" in err
    assert process.returncode == 0


def test_a_forked_child_exits_and_is_told_to_make_its_own_scheduler():
    ended = run("""
        import warnings
        warnings.simplefilter("ignore")  # 3.12 warns of forks in a process with threads
        pool = ThreadPoolExecutor()
        scheduler = Scheduler(pool.submit)
        go = threading.Event()
        task = scheduler.submit([go.wait])
        waiting = scheduler.submit([abs, -1], dependencies=[task])
        pid = os.fork()
        if pid == 0:
            try:
                scheduler.submit([abs, -1])
            except RuntimeError as error:
                print("child:", error)
            scheduler.shutdown()
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        go.set()
        print("parent:", waiting.result())
    """)
    assert "child: this scheduler belongs to the process that was forked" in ended.stdout
    assert ended.stdout.endswith("parent: 1\n")
    assert ended.returncode == 0, ended.stderr
