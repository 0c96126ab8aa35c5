"""Tasks that crash, exit, hang, fork, and leave a mess: all that users' code does to a worker sooner or later.

Hundreds of workers import this: what only one task needs is imported in it.
"""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import signal
import sys
import threading
import time

from contract.stage import Gate, Ledger


def note(ledger: Ledger, number: int) -> int:
    ledger.note(number)
    return number


def same(x):
    return x


def kind_of(x) -> str:
    return type(x).__name__


def pid() -> int:
    return os.getpid()


# Crash


def segfault():
    import ctypes

    faulthandler.disable()  # a forked worker has pytest's
    ctypes.string_at(0)


def abort():
    faulthandler.disable()
    os.abort()


def leave(code: int):
    os._exit(code)


def leave_at(gate: Gate, code: int):
    gate.wait()
    os._exit(code)


def kill_self(number: int):
    os.kill(os.getpid(), number)
    while True:
        signal.pause()


class Nested:
    """Its repr goes through C again and again."""

    def __repr__(self):
        return repr(self)


def overflow_stack():
    faulthandler.disable()
    sys.setrecursionlimit(10**8)
    repr(Nested())


def close_pipes(first: int, last: int):
    os.closerange(first, last)
    return "closed"


def say_last_words():
    print("a word on stdout")
    print("first words\nlast words", file=sys.stderr)
    os._exit(3)


def crash_in_thread():
    import ctypes

    faulthandler.disable()
    thread = threading.Thread(target=ctypes.string_at, args=(0,))
    thread.start()
    thread.join()


def be_oom_killed():
    """As the system does it: SIGKILL to the process, in the middle of its work."""
    held = bytearray(1_000_000)
    os.kill(os.getpid(), signal.SIGKILL)
    return len(held)


def die_with_child_that_holds_the_pipes(ledger: Ledger, gate: Gate):
    """The child has copies of all open files, so that nobody sees the end of them."""
    if os.fork() == 0:
        ledger.note(os.getpid())
        gate.wait()
        os._exit(0)
    os._exit(3)


# Exit


def exit_with(code):
    sys.exit(code)


def exit_in_thread():
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()
    return "went on"


def exit_at_exit(ledger: Ledger):
    """What a task has registered runs when its worker leaves in order."""
    import atexit

    atexit.register(ledger.note, "left")


# Hang


def hang():
    while True:
        time.sleep(1000)


def hang_stubbornly(gate: Gate):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gate.tell()
    hang()


def hang_and_swallow(gate: Gate):
    """Nothing that is raised in it ends it."""
    gate.tell()
    while True:
        try:
            hang()
        except BaseException:
            pass


def hang_in_c(gate: Gate):
    """Holds the GIL, in C code that looks for no signals."""
    gate.tell()
    sum(range(10**15))


def hang_in_regex(gate: Gate):
    gate.tell()
    re.match(r"(a+)+$", "a" * 60 + "b")


def hang_stopped(gate: Gate):
    gate.tell()
    os.kill(os.getpid(), signal.SIGSTOP)


FAMILY = """
import os, signal, sys, time
stubborn, ledger = sys.argv[1] == "stubborn", sys.argv[2]
if stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
with open(ledger, "a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    time.sleep(1000)
"""


def hang_with_family(ledger: Ledger, stubborn: bool):
    """A child and its child, which note their pids; they may be deaf to SIGTERM."""
    import subprocess

    family = subprocess.Popen([sys.executable, "-c", FAMILY, "stubborn" if stubborn else "obedient", ledger.path])
    family.wait()


def clean_up_and_hang(ledger: Ledger, gate: Gate):
    try:
        gate.tell()
        hang()
    finally:
        ledger.note("cleaned up")


# Fork


def fork_and_both_return() -> int:
    os.fork()
    return os.getpid()


def fork_and_both_raise():
    os.fork()
    raise ValueError(os.getpid())


def fork_and_child_exits(code: int) -> int:
    if os.fork() == 0:
        sys.exit(code)
    os.wait()
    return os.getpid()


def fork_and_child_stays(ledger: Ledger, gate: Gate) -> int:
    if os.fork() == 0:
        ledger.note(os.getpid())
        gate.wait()
        os._exit(0)
    return os.getpid()


def leave_child(ledger: Ledger) -> int:
    """A program that goes on after its task, with the worker's stdout and stderr in its hands."""
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    child.returncode = 0  # nobody waits for it, and that is meant
    ledger.note(child.pid)
    return os.getpid()


# What does not travel


def generate():
    yield 1


def make(kind: str):
    return {
        "lock": threading.Lock,
        "generator": generate,
        "file": lambda: open(os.devnull),
        "frame": sys._getframe,
        "exits when it is packed": ExitsWhenPacked,
        "exits when it is unpacked": lambda: WhenUnpacked(sys.exit, 3),
        "interrupts when it is unpacked": lambda: WhenUnpacked(interrupt),
        "fails when it is unpacked": lambda: WhenUnpacked(fail),
        "deep": deep,
    }[kind]()


def deep(depth: int = 100_000):
    nested = []
    for _ in range(depth):
        nested = [nested]
    return nested


class ExitsWhenPacked:
    def __reduce__(self):
        sys.exit(3)


class WhenUnpacked:
    """Calls something when it is unpacked."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def interrupt():
    raise KeyboardInterrupt


def fail():
    raise LookupError("not here")


# Exceptions


class Picky(Exception):
    """It pickles, and does not unpickle."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class KeywordOnly(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


class Holder(Exception):
    """Cannot be pickled."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class Unspeakable(Exception):
    """Cannot be packed, and its text cannot be made."""

    def __reduce__(self):
        raise ValueError("no")

    def __str__(self):
        raise Escape("from __str__")


class Escape(BaseException):
    """Is no Exception."""


class Deep(Exception):
    pass


def raise_(kind: str):
    if kind == "picky":
        raise Picky(1, 2)
    if kind == "keyword":
        raise KeywordOnly(code=7)
    if kind == "holder":
        raise Holder("it holds a lock")
    if kind == "unspeakable":
        raise Unspeakable("?")
    if kind == "escape":
        raise Escape("it is no Exception")
    if kind == "huge":
        raise ValueError("x" * 10_000_000)
    if kind == "local":

        class Local(Exception):
            pass

        raise Local("of a local class")
    if kind == "chained":
        error = None
        for number in range(2000):
            try:
                raise Deep(number) from error
            except Deep as caught:
                error = caught
        raise error
    if kind == "circular":
        first, second = Deep(1), Deep(2)
        first.__cause__, second.__cause__ = second, first
        raise first
    if kind == "holds itself":
        error = Deep("itself")
        error.me = error
        raise error
    if kind == "group":
        raise ExceptionGroup("both", [ValueError(1), Picky(1, 2)])
    raise AssertionError(kind)


def raise_keyboard_interrupt():
    raise KeyboardInterrupt


def recur(n: int = 0):
    return recur(n + 1)


def want_more_memory_than_there_is():
    return bytes(2**62)


def want_more_memory_than_allowed():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, limits[1]))
    try:
        return [bytearray(10_000_000) for _ in range(100)]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# A mess


class Mute:
    """A stdout without anything that a stdout has."""


def mess_up(what: str):
    match what:
        case "close sys.stdout":
            sys.stdout.close()
        case "close sys.stdout and sys.stderr":
            sys.stdout.close()
            sys.stderr.close()
        case "close fd 1":
            os.close(1)
        case "close fds 0 to 2":
            for fd in range(3):
                try:
                    os.close(fd)
                except OSError:
                    pass  # an earlier task has closed it
        case "replace sys.stdout":
            sys.stdout = Mute()
        case "no sys.stdout":
            sys.stdout = sys.stderr = None
        case "delete sys.stdout":
            del sys.stdout
        case "close sys.stdin":
            sys.stdin.close()
        case "redirect fd 1":
            fd = os.open(os.devnull, os.O_WRONLY)
            os.dup2(fd, 1)
            os.close(fd)
        case "delete the working directory":
            import tempfile

            folder = tempfile.mkdtemp()
            os.chdir(folder)
            os.rmdir(folder)
        case "umask":
            os.umask(0o777)
        case "signal handlers":
            for number in signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGUSR1:
                signal.signal(number, signal.SIG_IGN)
        case "reap all children":
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass
        case "sys.path":
            sys.path.clear()
        case "sys.modules":
            for name in [name for name in sys.modules if name.startswith(("weft", "pickle", "cloudpickle"))]:
                del sys.modules[name]
        case "environment":
            os.environ.clear()
        case "an alarm":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        case "a trace function":
            sys.settrace(lambda *args: None)
        case "recursion limit":
            sys.setrecursionlimit(sys.getrecursionlimit() + 100)
        case "process group":
            os.setpgid(0, 0)
        case "excepthook":
            sys.excepthook = threading.excepthook = sys.unraisablehook = None
        case "random seeds":
            import random

            random.seed(0)
        case "gc off":
            import gc

            gc.disable()
        case "wakeup fd":
            read, write = os.pipe()
            os.set_blocking(write, False)
            signal.set_wakeup_fd(write)
            os.close(read)
        case _:
            raise AssertionError(what)
    return what


def where() -> str:
    return os.getcwd()


def arguments_of_the_script() -> list[str]:
    return sys.argv


# Threads and processes of its own


def start_thread(gate: Gate, daemon: bool):
    threading.Thread(target=gate.wait, daemon=daemon).start()
    return "started"


def start_endless_thread(daemon: bool):
    threading.Thread(target=hang, daemon=daemon).start()
    return "started"


def use_pool(method: str):
    import multiprocessing

    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(abs, [-1, -2])


def use_process(method: str):
    import multiprocessing

    process = multiprocessing.get_context(method).Process(target=abs, args=(-1,))
    process.start()
    process.join()
    return process.exitcode


def use_process_pool(method: str):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        return list(pool.map(abs, [-1, -2]))


def use_local_executor(start: str):
    from weft.executors import LocalExecutor

    with LocalExecutor(1, start=start) as executor:
        return list(executor.map(abs, [-1, -2]))


def use_shell():
    import subprocess

    return subprocess.run("echo $((1 + 1)); exit 3", shell=True, capture_output=True, text=True)


# Batches


def wait_at_some(number: int, at: set[int], gate: Gate) -> int:
    if number in at:
        gate.wait()
    return number


def hang_in_c_at(number: int, at: int, gate: Gate) -> int:
    if number == at:
        hang_in_c(gate)
    return number


def note_and_wait_at(number: int, at: int, gate: Gate, ledger: Ledger) -> int:
    ledger.note(number)
    if number == at:
        gate.wait()
    return number


def spend(seconds: float, ledger: Ledger, number: int) -> int:
    ledger.note(number)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return number
