"""Well-behaved functions, and a few that are not, in a module that every worker can import."""

from __future__ import annotations

import contextvars
import faulthandler
import os
import signal
import sys
import threading
import time

from contract.stage import Gate, Ledger

colour = contextvars.ContextVar("colour", default="none")
initialized: list[object] = []


def add(a, b=1):
    return a + b


def give(*args, **kwargs):
    return args, kwargs


def same(x):
    return x


def whoami() -> tuple[int, int]:
    return os.getpid(), threading.get_native_id()


def wait_at(gate: Gate, result=None):
    gate.wait()
    return result


def wait_at_and_tell(gate: Gate, ledger: Ledger, result=None):
    ledger.note("in")
    gate.wait()
    ledger.note("out")
    return result


def wait_if(condition: bool, gate: Gate, result=None):
    if condition:
        gate.wait()
    return result


def note(ledger: Ledger, text=""):
    ledger.note(text)
    return text


def enter_and_leave(ledger: Ledger, number):
    ledger.note(f"+{number}")
    ledger.note(f"-{number}")
    return number


def act(number, gate, ledger):
    """The one before the first fails, the first is done, the second waits, all others take note."""
    if number < 0:
        raise ValueError(number)
    if number == 1:
        gate.wait()
    elif number > 1:
        ledger.note(number)
    return number


class Odd(Exception):
    def __init__(self, *args):
        super().__init__(*args)
        self.extra = ["kept"]


def complain(*args):
    raise Odd(*args)


def complain_with_notes():
    error = ValueError("with notes")
    error.add_note("first")
    error.add_note("second")
    raise error


def complain_because():
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("because") from error


def complain_about(n, bad):
    if n == bad:
        raise ValueError(f"no {n}")
    return n


def raise_(error):
    raise error


def initialize(*args):
    initialized.append(args)


def get_initialized(gate: Gate):
    gate.wait()
    return initialized


def initialize_badly(*args):
    raise ValueError("no such luck")


def initialize_badly_behind(gate: Gate):
    gate.wait()
    raise ValueError("no such luck")


class Thing:
    """Something that can be watched as it goes."""

    def method(self):
        return 7


def thing(x=None):
    return Thing()


class Dying:
    """Notes in which process it goes."""

    def __init__(self, ledger):
        self.ledger = ledger

    def __del__(self):
        self.ledger.note(os.getpid())


def take(x) -> int:
    return os.getpid()


# Rough ones


def die(number: int = signal.SIGKILL):
    faulthandler.disable()  # a forked worker has pytest's
    os.kill(os.getpid(), number)
    signal.pause()


def leave(code: int):
    os._exit(code)


def exit_with(code=None):
    sys.exit(code)


def die_once(ledger: Ledger, times: int = 1):
    ledger.note()
    if len(ledger.lines()) <= times:
        os._exit(3)
    return len(ledger.lines())


def fail_once(ledger: Ledger, times: int = 1):
    ledger.note()
    if len(ledger.lines()) <= times:
        raise ValueError(len(ledger.lines()))
    return len(ledger.lines())


def hang_with_child(ledger: Ledger, gate: Gate):
    """Note the pid of a child that sleeps for long, and wait."""
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    ledger.note(child.pid)
    gate.wait()
    child.kill()
    child.wait()


def hang():
    while True:
        time.sleep(1000)


class NotThere:
    """Packs well; does not unpack."""

    def __reduce__(self):
        return not_there, ()


def not_there():
    raise LookupError("it is not there")


def make_not_there():
    return NotThere()


def lock():
    return threading.Lock()


# What the worker knows


def get_colour():
    before = colour.get()
    colour.set("of the task")
    return before


def get_directory():
    return os.getcwd()


def change_directory(to, gate: Gate):
    gate.wait()
    os.chdir(to)


def import_(name):
    return __import__(name).answer


def speak():
    import subprocess

    print("one", flush=True)
    print("two", file=sys.stderr, flush=True)
    os.write(1, b"three\n")
    subprocess.run(["echo", "four"], check=True)
    print("five")
    return "done"


def pid_and_wait(gate: Gate, ledger: Ledger):
    ledger.note(os.getpid())
    gate.wait()


def leave_at(gate: Gate):
    gate.wait()
    os._exit(3)


class Large:
    """Ends its worker while it is packed, after much that has been packed before it."""

    def __reduce__(self):
        os._exit(3)


def leave_with_a_large_result():
    return [bytes(10_000_000), Large()]
