"""What crosses a process border arrives as it was, and what cannot cross says which part of it cannot."""

import collections
import contextvars
import decimal
import functools
import pickle
import subprocess
import sys
import threading
import traceback
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hand import named
from runners.zoo import OddEscape, Picky, Unpackable, Unspeakable
from weft import task
from weft.calls import Closure
from weft.errors import ArgumentError, RemoteError, RemoteTraceback, TaskExited
from weft.payload import culprit, pack, pack_apart, pack_failure, unpack, unpack_failure, unpackable_arguments
from weft.payload.failures import OURS
from weft.payload.shorten import LONGEST, shorten

HELD = contextvars.ContextVar("HELD", default=0)
LOCK = threading.Lock()
GOOD = [1]


class Thing:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def elsewhere(script, *inputs):
    """Run a script in another process, with the bytes that it gets; what it prints."""
    code = "import sys, pickle\ninputs = pickle.load(sys.stdin.buffer)\nfrom weft.payload import *\n" + script
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input=pickle.dumps(inputs), capture_output=True, check=False
    )
    assert (ended.stderr.decode(), ended.returncode) == ("", 0)
    return ended.stdout.decode()


def run_script(tmp_path, text):
    script = tmp_path / "script.py"
    script.write_text(text)
    ended = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=False)
    assert (ended.stderr, ended.returncode) == ("", 0)
    return ended.stdout


# Values


@pytest.mark.parametrize(
    "value", [(3,), None, "text", [1, {"a": {2.5}}], b"x" * 100_000, Thing, Thing.__init__], ids=type
)
def test_what_plain_pickle_can_do_is_done_by_plain_pickle(value):
    assert pack(value) == pickle.dumps(value, 5)
    assert unpack(pack(value)) == value


def test_lambdas_closures_and_local_classes_travel():
    factor = 3

    class Local:
        def times(self, x):
            return factor * x

    assert elsewhere("print(unpack(inputs[0])(4))", pack(lambda x: factor * x)) == "12\n"
    assert elsewhere("print(unpack(inputs[0]).times(4))", pack(Local())) == "12\n"


def test_what_the_main_script_defines_travels_by_value(tmp_path):
    out = run_script(
        tmp_path,
        """if True:
        import subprocess, sys
        from weft.payload import pack, pack_apart

        class Point:
            def __init__(self, x): self.x = x

        def move(p): return Point(p.x + by)

        by = 1
        code = "import sys; from weft.payload import unpack; f, p = unpack(sys.stdin.buffer.read()); print(f(p).x)"
        for data in (pack((move, Point(1))), b"".join(pack_apart((move, Point(1)), 1000)[0])):
            print(subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True).stdout)
        """,
    )
    assert out == "b'2\\n'\nb'2\\n'\n"


def test_modules_that_cloudpickle_was_told_to_pack_by_value_are():
    module = types.ModuleType("made_here")
    exec("def f(x): return x + 1", module.__dict__)
    sys.modules["made_here"] = module
    try:
        by_reference = pack(module.f)
        cloudpickle.register_pickle_by_value(module)
        by_value, (chunk, *_) = pack(module.f), pack_apart(module.f, 1000)[0]
        cloudpickle.unregister_pickle_by_value(module)
    finally:
        del sys.modules["made_here"]
    assert elsewhere("print(unpack(inputs[0])(1), unpack(inputs[1])(1))", by_value, bytes(chunk)) == "2 2\n"
    with pytest.raises(ModuleNotFoundError):
        unpack(by_reference)


def test_a_text_that_merely_says_main_is_no_obstacle():
    assert unpack(pack(["__main__", b"__main__"])) == ["__main__", b"__main__"]


def test_what_a_reduce_raises_is_raised():
    with pytest.raises(ValueError, match="no"):
        pack(Unspeakable())
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object"):
        pack([LOCK])


def test_an_open_file_is_refused_and_not_read(tmp_path):
    with open(__file__, encoding="utf-8") as file, pytest.raises(TypeError, match="cannot pickle"):
        pack([file, lambda: 1])


def test_standard_output_is_the_one_of_the_other_process():
    assert elsewhere("print('hello', file=unpack(inputs[0]))", pack_stdout()) == "hello\n"


def pack_stdout():
    code = "import sys; from weft.payload import pack; sys.stdout.buffer.write(pack(sys.stdout))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


def test_a_task_by_value_shares_what_the_rest_of_the_value_has():
    shared = [1]

    @task
    def nested() -> Any:
        return shared

    for data in (pack((nested, shared)), b"".join(pack_apart((nested, shared), 1000)[0])):
        again, part = unpack(data)
        assert again() is part
    assert unpack(pickle.dumps(nested))() == [1]


def test_packing_in_one_thread_is_no_business_of_another():
    met = []

    @task
    def nested() -> int:
        return 1

    class Slow:
        """While it is packed, another thread pickles a task plainly."""

        def __reduce__(self):
            helper = threading.Thread(target=lambda: met.append(pickle.dumps(nested)))
            helper.start()
            helper.join()
            return int, (1,)

    assert unpack(pack([nested, Slow()]))[0]() == 1
    assert {pickle.loads(data)() for data in met} == {1}


def test_importing_it_imports_nothing_heavy():
    heavy = {"cloudpickle", "traceback", "inspect", "logging", "concurrent", "dataclasses", "weft.errors"}
    code = f"import sys, weft.payload; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


# Large values


def test_large_buffers_go_beside_the_stream_and_are_not_copied():
    array, small, text = np.arange(100_000.0), np.arange(3.0), bytes(200_000)
    chunks, buffers = pack_apart({"a": array, "s": small, "t": text}, 1000)
    assert [memoryview(buffer).nbytes for buffer in buffers] == [800_000]
    assert np.shares_memory(np.frombuffer(buffers[0]), array)
    assert any(chunk is text for chunk in chunks)
    again = unpack(b"".join(chunks), buffers)
    assert np.shares_memory(again["a"], array)
    assert (again["s"].tolist(), again["t"]) == ([0, 1, 2], text)


def test_buffers_of_what_only_cloudpickle_can_pack_are_there_once():
    array = np.arange(1000.0)
    chunks, buffers = pack_apart((array, lambda: array.sum()), 1000)
    assert len(buffers) == 1
    again, total = unpack(b"".join(chunks), buffers)
    assert np.shares_memory(again, array)
    assert total() == array.sum()


@pytest.mark.parametrize(
    "value", [bytearray(300_000), pickle.PickleBuffer(bytearray(300_000)), np.ones((99, 99)).T[::2]]
)
def test_large_data_may_stay_in_the_stream(value):
    chunks, buffers = pack_apart((value, 1), 10**6)
    assert buffers == []
    assert {type(chunk) for chunk in chunks} <= {bytes, memoryview}
    assert bytes(memoryview(unpack(b"".join(chunks))[0]).tobytes()) == memoryview(value).tobytes()


@pytest.mark.parametrize("value", [1, None, True, 2.5, (1, "a"), "x" * 100])
def test_a_small_value_is_one_chunk(value):
    ((chunk,), buffers) = pack_apart(value, 1000)
    assert (unpack(chunk), buffers) == (value, [])


# Context variables


def test_a_variable_that_a_module_holds_is_the_one_of_that_module(tmp_path, monkeypatch):
    (tmp_path / "holder.py").write_text(
        "import contextvars\nA = contextvars.ContextVar('A')\nB = contextvars.ContextVar('C')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import holder

    script = f"""
sys.path.insert(0, {str(tmp_path)!r})
import holder
a, b, f = unpack(inputs[0])
print(a is holder.A, b is holder.B, f() is holder.B)
"""
    assert elsewhere(script, pack((holder.A, holder.B, lambda: holder.B))) == "True True True\n"
    assert unpack(pack(holder.A)) is holder.A


def test_whole_contexts_travel():
    def make():
        HELD.set(3)
        decimal.getcontext()  # its variable is nobody's attribute
        return contextvars.copy_context()

    # In a context of its own: with what is set here, every worker of a later test would have to import this module.
    pairs = dict(contextvars.Context().run(make).items())
    assert {variable.name for variable in pairs} >= {"HELD", "decimal_context"}
    assert unpack(pack([(HELD, 3)])) == [(HELD, 3)]
    assert set(unpack(pack(list(pairs)))) == set(pairs)


def test_a_variable_of_nobody_is_one_and_the_same_at_the_other_end_and_keeps_its_default():
    mine, twin = contextvars.ContextVar("mine", default=5), contextvars.ContextVar("mine")
    function, (pair_variable, value), other = unpack(pack((lambda: mine, (mine, 3), twin)))
    assert function() is pair_variable is mine
    assert value == 3
    assert other is twin
    script = (
        "f, (v, x) = unpack(inputs[0]); again = unpack(inputs[1]); twin = unpack(inputs[2])\n"
        "print(f() is v is again, v.name, v.get(), twin is v, twin.get(None))"
    )
    assert elsewhere(script, pack((lambda: mine, (mine, 3))), pack(mine), pack(twin)) == "True mine 5 False None\n"


# Blame


class State:
    def __getstate__(self):
        return {"made": [threading.Lock()]}


class HalfWay:
    def __init__(self, part):
        self.part = part

    def __reduce__(self):
        def parts():
            yield from [self.part] * 3
            raise ValueError("half way")

        return list, (), None, parts()


class Leaving(Exception):
    def __reduce__(self):
        raise SystemExit(1)


class Slotted:
    __slots__ = ("empty", "lock")

    def __init__(self):
        self.lock = LOCK


@dataclass
class Point:
    x: Any
    y: Any = 0


Pair = collections.namedtuple("Pair", "left right")


def closure():
    lock = LOCK

    def f():
        return lock

    return f


def of_main(source, **values):
    """A function as the main script has it."""
    values["__name__"] = "__main__"
    exec(source, values)
    return values["f"]


LOCKED = "cannot pickle '_thread.lock' object"
FILE = "cannot pickle '_io.TextIOWrapper' object"


def cyclic():
    ring: list[Any] = []
    ring += [ring, {"ring": ring}, LOCK]
    return ring


def chain(depth, end):
    for _ in range(depth):
        end = [end]
    return end


def with_local_class():
    class Local:
        held = LOCK

    return Local()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, f": {LOCKED}"),
        (Thing(lock=LOCK), f", attribute .lock: {LOCKED}"),
        ({"a": [1, 2, 3, Thing(lock=LOCK)]}, f", at ['a'][3], attribute .lock: {LOCKED}"),
        (Point(1, (LOCK,)), f", attribute .y, at [0]: {LOCKED}"),
        (Pair(1, LOCK), f", attribute .right: {LOCKED}"),
        (Slotted(), f", attribute .lock: {LOCKED}"),
        (Thing(a=Thing(b=LOCK)), f", attribute .a.b: {LOCKED}"),
        (frozenset([1, LOCK]), f", an element of the set: {LOCKED}"),
        (collections.deque([LOCK]), f", at [0]: {LOCKED}"),
        (closure(), f", variable 'lock' that it closes over: {LOCKED}"),
        ([closure()], f", at [0], variable 'lock' that it closes over: {LOCKED}"),
        (of_main("def f(): return handle", handle=LOCK), f", global 'handle': {LOCKED}"),
        (of_main("def f(): return lambda: handle", handle=LOCK), f", global 'handle': {LOCKED}"),
        (of_main("def g(): return h\ndef f(): return g()", h=LOCK), f", global 'g', global 'h': {LOCKED}"),
        (of_main("def f(a, x=[lock]): return x", lock=LOCK), f", the default of 'x', at [0]: {LOCKED}"),
        (of_main("def f(a, *, x=lock): return x", lock=LOCK), f", the default of 'x': {LOCKED}"),
        (of_main("def f(a: lock): return a", lock=LOCK), f", the annotation of 'a': {LOCKED}"),
        (functools.partial(closure()), f", attribute .func, variable 'lock' that it closes over: {LOCKED}"),
        (functools.partial(print, 1, LOCK), f", attribute .args[1]: {LOCKED}"),
        (functools.partial(print, end=LOCK), f", attribute .keywords['end']: {LOCKED}"),
        (Thing(lock=LOCK).__init__, f", the object that the method belongs to, attribute .lock: {LOCKED}"),
        (ValueError(LOCK), f", attribute .args, at [0]: {LOCKED}"),
        (task(closure()), f", attribute .function, variable 'lock' that it closes over: {LOCKED}"),
        (with_local_class(), f", its class Local, attribute .held: {LOCKED}"),
        (State(), f": {LOCKED}"),
        (Thing(before=[1], inner=[State()]), f", attribute .inner, at [0]: {LOCKED}"),
        ([1, Unspeakable()], ", at [1]: ValueError: no"),
        ([1, Leaving("x")], ", at [1]: SystemExit: 1"),
        ([GOOD, HalfWay(GOOD)], ", at [1]: ValueError: half way"),
        (cyclic(), f", at [2]: {LOCKED}"),
        (chain(20, LOCK), f", at [0][0][0][0], and 12 steps on, at [0][0][0][0]: {LOCKED}"),
        (chain(10_000, LOCK), ": it is nested too deeply to be pickled"),
        ([*range(300_000), LOCK], f", at [300000]: {LOCKED}"),
        (np.array([1, LOCK], dtype=object), f": {LOCKED}"),
    ],
)
def test_the_path_to_what_cannot_travel_is_told(value, path):
    assert culprit(value, "argument 2") == f"argument 2{path}"


def test_a_key_that_cannot_travel_is_told():
    assert culprit({LOCK: 1}, "it").startswith("it, the key <unlocked _thread.lock object")


def test_what_travels_after_all_is_said_to():
    assert culprit(3, "it") == "it: packs now, and did not before"


def test_objects_that_raise_when_they_are_looked_at_do_no_harm():
    class Touchy:
        lock = LOCK

        def __getattribute__(self, name):
            if name == "__dict__":
                raise RuntimeError("do not touch")
            return super().__getattribute__(name)

        def __reduce__(self):
            raise ValueError("stay here")

    assert culprit([Touchy()], "it") == "it, at [0]: ValueError: stay here"


def test_the_error_for_a_call_names_function_argument_and_remedy(tmp_path):
    with open(__file__, encoding="utf-8") as file:
        thing = Thing(handle=file)
        calls = [
            (((1, thing), {"a": 1}), None, f"argument 2, attribute .handle: {FILE}"),
            (((1,), {"xs": [file]}), None, f"argument 'xs', at [0]: {FILE}"),
            (((LOCK,), {}), closure(), f"the function fit, variable 'lock' that it closes over: {LOCKED}"),
            (((1,), {}), None, "odd"),
        ]
        errors = [unpackable_arguments("fit", *call, TypeError("odd"), function) for call, function, _ in calls]
    assert {type(error) for error in errors} == {ArgumentError}
    assert [str(error) for error in errors] == [
        f'fit cannot be sent to another process: {what}; make or open it inside the function, or use start="fork"'
        for _, _, what in calls
    ]


# Failures


class Garbled(Exception):
    """Pickles, and unpickles with another text, since its constructor makes one."""

    def __init__(self, code):
        super().__init__(f"code {code}")
        self.code = code


class Quiet(Exception):
    """Leaves out its notes when it is packed."""

    def __reduce__(self):
        return Quiet, self.args


class Another(Exception):
    def __reduce__(self):
        return str, ("no exception",)


class Unhelpful(Exception):
    def __getattr__(self, name):
        raise ZeroDivisionError


class LateBloomer(Exception):
    """Cannot be unpacked where the flag is up."""

    refuse = False

    def __init__(self, x):
        if self.refuse:
            raise OddEscape(1, 2)
        super().__init__(x)


def failure(function, **options):
    try:
        function()
    except BaseException as error:
        return unpack_failure(pack_failure(error, **options))
    raise AssertionError("it did not raise")


def raiser(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    "error",
    [ValueError("no", 1), KeyError("k"), OSError(2, "gone", "f"), KeyboardInterrupt(), GeneratorExit(), Garbled(3)],
    ids=repr,
)
def test_an_exception_arrives_with_its_type_text_and_notes(error):
    error.add_note("a note")
    again = failure(raiser(error))
    assert (type(again), str(again), again.args, again.__notes__) == (type(error), str(error), error.args, ["a note"])
    assert type(again.__cause__) is RemoteTraceback
    assert f"{type(error).__name__}" in str(again.__cause__)
    assert "a note" in str(again.__cause__)


def test_notes_that_an_exception_does_not_pack_arrive_too():
    error = Quiet("q")
    error.add_note("n")
    assert failure(raiser(error)).__notes__ == ["n"]


def test_attributes_of_an_exception_arrive():
    assert failure(raiser(Garbled(3))).code == 3


@pytest.mark.parametrize(
    ("error", "name", "text", "obstacle"),
    [
        (Picky(1, 2), "runners.zoo.Picky", "1 and 2", "missing 1 required positional argument: 'b'"),
        (OddEscape(1, 2), "runners.zoo.OddEscape", "odd", "missing 1 required positional argument"),
        (Unspeakable(), "runners.zoo.Unspeakable", "", "ValueError: no"),
        (ValueError(LOCK), "ValueError", str(LOCK), LOCKED),
        (ValueError(Unpackable()), "ValueError", None, "SystemExit: 1"),
        (Another("x"), f"{__name__}.Another", "x", "it becomes a str, which is no exception"),
        (Leaving("x"), f"{__name__}.Leaving", "x", "SystemExit: 1"),
        (ExceptionGroup("g", [Picky(1, 2)]), "ExceptionGroup", "g (1 sub-exception)", "missing 1 required"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_that_does_not_travel_is_stood_in_for(error, name, text, obstacle):
    again = failure(raiser(error))
    assert type(again) is RemoteError
    assert again.type_name == name
    assert text is None or again.text == text
    assert obstacle in str(again)
    assert "cannot be sent back as it is" in str(again)
    assert "in work" in again.traceback
    assert str(again.__cause__) == f"\n{again.traceback}"
    assert type(pickle.loads(pickle.dumps(again))) is RemoteError


def test_an_exception_that_cannot_be_unpacked_where_it_arrives_is_stood_in_for(monkeypatch):
    data = pack_failure(LateBloomer("x"))
    monkeypatch.setattr(LateBloomer, "refuse", True)
    again = unpack_failure(data)
    assert type(again) is RemoteError
    assert (again.type_name, again.text) == (f"{__name__}.LateBloomer", "x")
    assert "OddEscape" in str(again)


@pytest.mark.parametrize("data", [b"", b"nonsense", pack(3), pack((1, 2, 3, 4, 5)), pack((b"x", "", "a", "b", "c"))])
def test_bytes_that_mean_nothing_become_an_exception_and_raise_none(data):
    assert type(unpack_failure(data)) is RemoteError


@pytest.mark.parametrize("code", [None, 0, 3, "bye", LOCK], ids=named)
def test_system_exit_becomes_an_ordinary_exception(code):
    again = failure(lambda: sys.exit(code))
    assert type(again) is TaskExited
    assert again.code == (code if code is not LOCK else repr(LOCK))
    assert "sys.exit(" in str(again)
    assert "SystemExit" in str(again.__cause__)


def test_an_exception_that_raises_at_every_look_is_told_by_its_type():
    again = failure(raiser(Unhelpful("x")))
    assert type(again) in (Unhelpful, RemoteError)
    assert "Unhelpful" in str(again.__cause__)


# Tracebacks


def test_the_traceback_reads_as_it_would_have_there():
    def work():
        try:
            {}["a"]
        except KeyError as error:
            raise ValueError("no") from error

    try:
        work()
    except ValueError as error:
        expected = traceback.format_exc().rstrip()
        again = unpack_failure(pack_failure(error))
    assert str(again.__cause__) == f"\n{expected}"


def test_contexts_groups_and_members_are_in_the_traceback():
    def work():
        try:
            1 / 0
        except ZeroDivisionError:
            raise ExceptionGroup("both", [ValueError("one"), TypeError("two")])  # noqa: B904

    text = str(failure(work).__cause__)
    for part in ("division by zero", "During handling of the above", "both (2 sub-exceptions)", "one", "two"):
        assert part in text


@task
def fails() -> int:
    raise ValueError("no")


@task
def breaks_its_promise() -> int:
    return "x"  # type: ignore[return-value]


def traceback_in_a_worker(function):
    """Of a call whose outermost frames are weft's, as in a worker."""
    try:
        Closure(function).validated_call()
    except Exception as error:
        error.__traceback__ = error.__traceback__.tb_next  # this frame here
        return str(unpack_failure(pack_failure(error)).__cause__)


def test_the_frames_of_weft_above_the_function_are_left_out():
    text = traceback_in_a_worker(fails)
    assert text.startswith(f'\nTraceback (most recent call last):\n  File "{__file__}", line ')
    assert text.endswith("ValueError: no")


def test_the_frames_of_weft_below_the_function_are_shown():
    assert "in __call__" in traceback_in_a_worker(task(lambda: fails()))


def test_an_error_of_wefts_own_needs_no_frames_of_weft():
    assert traceback_in_a_worker(breaks_its_promise).startswith(
        "\nweft.errors.ResultError: result of breaks_its_promise"
    )


def test_a_mistake_of_wefts_own_shows_its_frames():
    error = failure(lambda: unpack(3), skip=(str(Path(__file__).parent), OURS))
    assert "packing.py" in str(error.__cause__)


def test_variables_are_shown_on_request_only(monkeypatch):
    def work():
        apples = 17
        raise ValueError(apples)

    def shown(**options):
        return "    apples = 17\n" in str(failure(work, **options).__cause__)

    monkeypatch.delenv("WEFT_TRACEBACK_LOCALS", raising=False)
    assert not shown()
    assert shown(show_locals=True)
    monkeypatch.setenv("WEFT_TRACEBACK_LOCALS", "1")
    assert shown()
    assert not shown(show_locals=False)
    monkeypatch.setenv("WEFT_TRACEBACK_LOCALS", "0")
    assert not shown()


def test_variables_of_all_sizes_and_manners_do_no_harm():
    def work():
        large, rude, boaster = np.zeros((2000, 3000)), Rude(), Boaster()
        raise ValueError(large.size, id(rude), id(boaster))

    text = str(failure(work, show_locals=True).__cause__)
    assert "large = <ndarray of float64, shape (2000, 3000)>" in text
    assert "rude = <Rude object, whose repr() fails>" in text


def test_a_very_long_traceback_keeps_its_beginning_and_its_end():
    text = str(failure(raiser(ValueError("x" * 10**6 + "end"))).__cause__)
    assert len(text) < 300_000
    assert "Traceback (most" in text
    assert "characters are left out" in text
    assert text.endswith("end")


def test_a_function_of_the_main_script_shows_its_lines_in_the_other_process(tmp_path):
    out = run_script(
        tmp_path,
        """if True:
        import subprocess, sys
        from weft.payload import pack, unpack_failure

        def f():
            raise ValueError("no")  # this very line

        code = '''
import sys
from weft.payload import pack_failure, unpack
try:
    unpack(sys.stdin.buffer.read())()
except ValueError as error:
    sys.stdout.buffer.write(pack_failure(error))
'''
        ended = subprocess.run([sys.executable, "-c", code], input=pack(f), capture_output=True, check=True, cwd="/")
        print(unpack_failure(ended.stdout).__cause__)
        """,
    )
    assert 'script.py", line 6, in f' in out
    assert 'raise ValueError("no")  # this very line' in out


# Short texts


class Rude:
    def __repr__(self):
        raise SystemExit


class Boaster:
    def __init__(self):
        self.all = list(range(1_000_000))

    def __repr__(self):
        raise AssertionError("this would take long")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("a'b", '"a\'b"'),
        ([1, [2, [3, [4]]]], "[1, [2, [3, [...]]]]"),
        ((1,), "(1,)"),
        (set(), "set()"),
        (frozenset({1}), "frozenset({1})"),
        (collections.Counter("aa"), "Counter({'a': 2})"),
        (Pair(1, [2]), "Pair(left=1, right=[2])"),
        (Point(1, "a"), "Point(x=1, y='a')"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, ... (1,000,000 in all)]"),
        (dict.fromkeys(range(10**6)), None),
        (set(range(10**6)), None),
        ("x" * 10**6, f"'{'x' * 100}'... (1,000,000 in all)"),
        (bytes(10**8), None),
        (1 << 10**7, "<int of 10,000,001 bits>"),
        (np.zeros((2000, 3000)), "<ndarray of float64, shape (2000, 3000)>"),
        (np.arange(3), "array([0, 1, 2])"),
        (Rude(), "<Rude object, whose repr() fails>"),
        ([Rude()], "<list object, whose repr() fails>"),
        (Boaster(), "<Boaster object>"),
        (ValueError("x" * 10**6), None),
        (Thing, f"<class '{__name__}.Thing'>"),
        (cyclic(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_in_short_whatever_it_is(value, text):
    assert text is None or shorten(value) == text
    assert len(shorten(value)) <= LONGEST


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.binary(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_anything_small_is_shown_as_it_is_and_anything_else_is_short(value):
    text = shorten(value)
    assert len(text) <= LONGEST
    assert text == repr(value) or "..." in text
