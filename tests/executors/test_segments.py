"""Large parts of values: what arrives, who can disturb whom, and that nothing is left behind."""

import array
import gc
import mmap
import os
import pickle
import random
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

from hand import PATIENCE
from weft.executors import segments as module
from weft.executors.segments import Parcel, Segment, adopt, live, unwrap, wrap

LARGE = 2 * 1024 * 1024
PAGE = module._PAGE
linux = pytest.mark.skipif(sys.platform != "linux", reason="passing on needs /proc/self/pagemap")


def pack(value, smallest=1024):
    chunks, buffers = [], []

    class Sink:
        def write(self, chunk):
            chunks.append(chunk if isinstance(chunk, bytes) else bytes(chunk))

    def inband(buffer):
        if buffer.raw().nbytes < smallest:
            return True
        return buffers.append(buffer)

    pickle.Pickler(Sink(), 5, buffer_callback=inband).dump(value)
    return chunks, buffers


def send(value, smallest=1024):
    return wrap(*pack(value, smallest))


def receive(parcel, segments):
    """As another process would: a copy of the message, descriptors of its own."""
    return unwrap(pickle.loads(pickle.dumps(parcel)), [adopt(os.dup(segment.fd)) for segment in segments])


def travel(value, smallest=1024):
    return receive(*send(value, smallest))


def passed_on(value):
    """Whether packing this value copied nothing."""
    before = live()
    parcel, segments = send(value)
    assert parcel.buffers
    return live() == before and bool(segments)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    gc.collect()
    module._kernel_tells()
    before, files = live(), len(os.listdir("/dev/fd"))
    yield
    gc.collect()
    assert live() == before
    assert len(os.listdir("/dev/fd")) == files


class Framed:
    """Something of a user's that hands out its bytes by reference."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Framed, (pickle.PickleBuffer(self.data),)


# --- What arrives -----------------------------------------------------------------------------------------------------

STRUCTURED = np.zeros(5000, dtype=[("x", "f8"), ("y", "i4")])
STRUCTURED["x"] = np.arange(5000)
ARRAYS = {
    "C order": np.arange(300_000.0).reshape(300, 1000),
    "F order": np.asfortranarray(np.arange(300_000.0).reshape(300, 1000)),
    "with gaps": np.arange(300_000)[::3],
    "transposed": np.arange(300_000).reshape(300, 1000).T,
    "structured": STRUCTURED,
    "of objects": np.array([{"a": 1}, None, "text"] * 1000, dtype=object),
    "of no elements": np.zeros((0, 7)),
    "of no dimensions": np.array(3.5),
    "of dates": np.arange("2000-01", "2600-01", dtype="M8[M]"),
    "big-endian": np.arange(10_000, dtype=">i4"),
    "one page": np.zeros(PAGE, np.uint8),
    "one byte more than a page": np.ones(PAGE + 1, np.uint8),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_equal_and_writable(name):
    sent = ARRAYS[name]
    got = travel(sent)
    assert got.dtype == sent.dtype
    assert got.flags.f_contiguous == sent.flags.f_contiguous or not sent.flags.contiguous
    np.testing.assert_array_equal(got, sent)
    assert got.flags.writeable


def test_a_read_only_array_arrives_read_only():
    sent = np.arange(10_000)
    sent.flags.writeable = False
    got = travel([sent, np.arange(10_000)])
    assert [part.flags.writeable for part in got] == [False, True]
    assert not travel(got[0]).flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        bytes(range(256)) * 10_000,
        bytearray(b"abc" * 1_000_000),
        array.array("d", range(100_000)),
        "text" * 1_000_000,
        {"a": [b"x" * LARGE, None], "b": np.float64(3)},
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_buffers_arrives_equal(value):
    parcel, segments = send(value)
    assert len(segments) == isinstance(parcel.stream, tuple)
    assert receive(parcel, segments) == value


def test_a_small_value_needs_no_segment():
    parcel, segments = send([1, 2, 3])
    assert not segments
    assert unwrap(parcel, []) == [1, 2, 3]


def test_a_large_pickle_is_freed_once_it_is_read():
    before = live()
    parcel, segments = send([b"x" * LARGE, np.zeros(LARGE)])
    assert len(segments) == 2
    got = unwrap(parcel, segments)
    del segments
    assert live() == before + 1
    assert got[0] == b"x" * LARGE


def test_buffers_of_all_sizes_arrive_aligned():
    values = [np.full(size, size % 251, np.uint8) for size in [1024, 1025, 5000, LARGE + 1, 4095, LARGE, 4097, 1 << 20]]
    parcel, segments = send(values)
    assert len(segments) == 1 + 3  # the small ones share one
    got = receive(parcel, segments)
    for one, other in zip(got, values, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.ctypes.data % 64 == 0


def test_more_buffers_than_one_write_takes():
    values = [np.full(1024 + n % 7, n, np.int16) for n in range(3000)]
    got = travel(values)
    assert all((one == other).all() for one, other in zip(got, values, strict=True))


def test_a_write_in_parts_is_continued(monkeypatch):
    rng = random.Random(1)
    monkeypatch.setattr(module.os, "writev", lambda fd, pieces: os.write(fd, pieces[0][: rng.randrange(1, 70_000)]))
    values = [np.arange(size) for size in (200, 50_000, 1001)]
    for one, other in zip(travel(values), values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_bytes_than_one_write_takes(monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 100_000)
    monkeypatch.setattr(module, "LIMIT", 0)
    values = [np.arange(50_000), np.arange(3000), np.arange(200_000)]
    for one, other in zip(travel(values), values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_class_that_hands_out_its_bytes():
    got = travel(Framed(bytearray(b"abc" * 10_000)))
    assert bytes(got.data) == b"abc" * 10_000
    got.data[0] = 0
    empty = module.unwrap(*wrap(*pack(Framed(bytearray()), smallest=0)))
    assert bytes(empty.data) == b""


def test_an_arrow_table_arrives_without_a_copy():
    pa = pytest.importorskip("pyarrow")
    sent = pa.table({"x": np.arange(200_000), "y": [str(n) for n in range(200_000)]})
    got = travel(sent)
    assert got.equals(sent)
    if sys.platform == "linux":
        assert passed_on(got)
    assert travel(got).equals(sent)


def test_parts_that_are_the_same_array_stay_the_same():
    one = np.arange(LARGE)
    got = travel([one, one])
    assert got[0] is got[1]


# --- Who can disturb whom ---------------------------------------------------------------------------------------------


def test_a_change_stays_with_the_one_who_makes_it():
    sent = np.zeros(LARGE, np.uint8)
    parcel, segments = send(sent)
    one, other = receive(parcel, segments), receive(parcel, segments)
    one += 1
    sent += 2
    assert (one == 1).all()
    assert (other == 0).all()
    assert (receive(parcel, segments) == 0).all()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="temporary files cannot be sealed")
def test_a_segment_cannot_be_changed_by_anybody():
    _, [segment] = send(np.zeros(LARGE))
    for change in (lambda: os.pwrite(segment.fd, b"x", 0), lambda: os.ftruncate(segment.fd, 0)):
        with pytest.raises(PermissionError):
            change()


def test_unchanged_it_is_passed_on():
    got = travel(np.arange(LARGE))
    if sys.platform == "linux":
        assert passed_on(got)
    parcel, segments = send(got)
    again = receive(parcel, segments)
    np.testing.assert_array_equal(again, np.arange(LARGE))
    again += 1
    np.testing.assert_array_equal(got, np.arange(LARGE))


@linux
@pytest.mark.parametrize("read", [False, True], ids=["untouched", "read"])
@pytest.mark.parametrize("index", [0, 1, PAGE - 1, PAGE, LARGE // 2, LARGE - 1], ids=str)
def test_one_changed_byte_is_never_lost(index, read):
    got = travel(np.zeros(LARGE, np.uint8))
    if read:
        assert not got.any()
    assert passed_on(got)
    got[index] = 7
    assert not passed_on(got)
    again = travel(got)
    assert again[index] == 7
    assert again.sum() == 7


@linux
def test_a_change_through_another_view_is_never_lost():
    got = travel(np.zeros(LARGE))
    got.view(np.uint8)[::-1].reshape(2, -1)[0, 5] = 1
    assert travel(got).view(np.uint8)[-6] == 1
    got = travel(np.zeros(LARGE))
    with open("/dev/zero", "rb") as zero:
        zero.readinto(memoryview(got)[100:200])  # written by the kernel
    assert not passed_on(got)
    assert not passed_on(got[:1000_000])
    assert passed_on(got[-1000_000:])


@linux
def test_a_change_that_is_undone_does_no_harm():
    got = travel(np.zeros(LARGE))
    got[3] = 1
    got[3] = 0
    assert (travel(got) == 0).all()


@linux
def test_neighbours_on_one_page_do_not_take_each_others_changes():
    sent = [np.full(1100, n, np.uint8) for n in range(20)]
    for changed in range(20):
        got = travel(sent)
        got[changed][:] = 99
        for n, part in enumerate(travel(got)):
            assert (part == (99 if n == changed else n)).all()


@linux
def test_part_of_an_array_is_passed_on_and_a_sliver_is_copied():
    got = travel(np.arange(10 * LARGE, dtype=np.uint32))
    part = got[LARGE + 3 : 2 * LARGE]
    assert passed_on(part)
    np.testing.assert_array_equal(travel(part), part)
    assert not passed_on(got[:1000])


@linux
def test_arrays_over_the_same_bytes_become_independent():
    got = travel(np.zeros(LARGE, np.uint8))
    one, other, third = travel([got[:-5], got[5:], got.reshape(2, -1).T])
    one += 1
    assert (other == 0).all()
    other += 2
    assert (one == 1).all()
    assert (third == 0).all()


@linux
def test_two_that_came_from_one_segment_become_independent():
    parcel, segments = send(np.zeros(LARGE, np.uint8))
    pair = [unwrap(parcel, segments), unwrap(parcel, segments)]
    one, other = travel(pair)
    one += 1
    assert (other == 0).all()


@linux
def test_another_mapped_file_is_no_segment(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"f" * 2 * LARGE)
    files, got = [], []
    for n in range(4):  # in turns: above and below each other in memory
        got.append(travel(np.full(LARGE, n, np.uint8)))
        with path.open("rb") as file:
            files.append(np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8))
        assert files[-1][0] == ord("f")
    for part in files:
        assert not passed_on(part)
    for n, part in enumerate(got):
        assert passed_on(part)
        assert (travel(part) == n).all()


@linux
def test_what_was_passed_on_outlives_the_value():
    got = travel(np.arange(LARGE))
    parcel, segments = send(got)
    del got
    np.testing.assert_array_equal(receive(parcel, segments), np.arange(LARGE))


@linux
def test_a_changed_value_is_not_passed_on_by_a_forked_child():
    got = travel(np.zeros(LARGE, np.uint8))
    changed = travel(np.zeros(LARGE, np.uint8))
    changed[0] = 1
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        answer = b"raised"
        try:
            first = passed_on(got), passed_on(changed), int(travel(changed).sum())
            got[5] = 9
            answer = repr((*first, passed_on(got), int(travel(got).sum()))).encode()
        finally:
            os.write(writer, answer)
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1000) == b"(True, False, 1, False, 9)"
    os.close(reader)
    os.close(writer)
    assert passed_on(got)


@linux
@pytest.mark.parametrize("entries", [b"", bytes(8), b"\xff" * 8], ids=["none", "of zeros", "of ones"])
def test_a_pagemap_that_does_not_tell_means_copies(entries, monkeypatch):
    real = os.pread
    monkeypatch.setattr(module.os, "pread", lambda fd, size, at: (real(fd, size, at) and entries * (size // 8))[:size])
    module._kernel_tells.cache_clear()
    try:
        got = travel(np.zeros(LARGE))
        got[1] = 1
        assert not passed_on(got)
        assert travel(got).sum() == 1
    finally:
        module._kernel_tells.cache_clear()


@linux
def test_no_pagemap_means_copies(monkeypatch):
    real = os.open

    def refused(path, *args):
        if "pagemap" in str(path):
            raise PermissionError(path)
        return real(path, *args)

    got = travel(np.zeros(LARGE))
    monkeypatch.setattr(module.os, "open", refused)
    assert not passed_on(got)


def test_without_numpy_nothing_is_passed_on(monkeypatch):
    got = travel(Framed(bytearray(LARGE)))
    monkeypatch.delitem(sys.modules, "numpy")
    assert not passed_on(got)
    assert bytes(travel(got).data) == bytes(LARGE)


@linux
def test_random_changes_and_hops():
    rng = random.Random(7)
    here = [np.arange(size, dtype=np.int64) for size in (200, 1000, 70_000, 300_000)]
    model = [part.copy() for part in here]
    for _ in range(150):
        match rng.randrange(4):
            case 0:
                which = rng.randrange(4)
                at = rng.randrange(len(here[which]))
                here[which][at] = model[which][at] = rng.randrange(1000)
            case 1:
                which = rng.randrange(4)
                here[which] = travel(here[which])
            case 2:
                here = travel(here)
            case 3:
                hidden = travel(here)
                for part in hidden:
                    part[rng.randrange(len(part))] = -1
        for one, other in zip(here, model, strict=True):
            np.testing.assert_array_equal(one, other)


# --- Nothing is left behind, nothing breaks ---------------------------------------------------------------------------


def test_the_last_view_frees_the_memory():
    before = live()
    parcel, segments = send(np.arange(LARGE))
    [segment] = segments
    gone = weakref.ref(segment)
    view = unwrap(parcel, segments)[5:10]
    del segments, segment
    assert live() == before + 1
    assert view.tolist() == [5, 6, 7, 8, 9]
    del view
    assert gone() is None
    assert live() == before


def test_one_of_several_large_arrays_does_not_keep_the_others():
    before = live()
    values = travel([np.zeros(LARGE), np.ones(LARGE), np.zeros(1000)])
    one = values[1]
    del values
    assert live() == before + 1
    assert one.all()


def test_close_again_is_fine():
    _, [segment] = send(np.arange(LARGE))
    fd = segment.fd
    segment.close()
    segment.close()
    assert segment.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_closed_segment_is_refused_and_not_passed_on():
    parcel, [segment] = send(np.arange(LARGE))
    got = unwrap(parcel, [segment])
    segment.close()
    with pytest.raises(ValueError, match="is closed"):
        unwrap(parcel, [segment])
    assert not passed_on(got)
    np.testing.assert_array_equal(got, np.arange(LARGE))


def test_beyond_the_limit_values_are_copied_out(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", len(module._mapped) + 3)
    before = live()
    values = [travel(np.full(LARGE, n)) for n in range(6)]
    assert live() == before + 3
    for n, value in enumerate(values):
        assert (value == n).all()
        value += 1
        assert (travel(value) == n + 1).all()


def test_without_descriptors_values_are_copied_out():
    parcel, segments = send(np.arange(LARGE))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        got = unwrap(parcel, segments)
        with pytest.raises(OSError, match="no room for 8,000 bytes of a value"):
            send(np.zeros(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(got, np.arange(LARGE))


def test_no_room_is_a_clear_error():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match="no room for 16,777,216 bytes of a value on their way to another process"):
            send(np.arange(LARGE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "place", [(1, 0, 8), (-1, 0, 8), (0, -8, 8), (0, 0, 8001), (0, 8000, 1), (0, 1 << 62, 8), (0, 10, -5)], ids=str
)
def test_a_place_outside_of_its_segment_is_refused(place):
    parcel, segments = send(np.zeros(1000))
    with pytest.raises(ValueError, match="a parcel speaks of"):
        unwrap(parcel._replace(buffers=(place,)), segments)
    with pytest.raises(ValueError, match="a parcel speaks of"):
        unwrap(Parcel(place, ()), segments)


def test_only_files_are_adopted():
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="is no segment"):
        adopt(reader)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        adopt(reader)


def test_an_adopted_descriptor_is_not_inherited():
    _, [segment] = send(np.zeros(1000))
    assert not os.get_inheritable(segment.fd)
    fd = os.dup(segment.fd)
    os.set_inheritable(fd, True)
    assert not os.get_inheritable(adopt(fd).fd)


def test_without_memfd_a_temporary_file_does(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SEALS", False)
    monkeypatch.setattr("weft.executors.memory.SEALS", False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    got = travel(np.arange(LARGE))
    assert not list(tmp_path.iterdir())
    again = travel(got)
    again[0] = 5
    assert travel(again)[0] == 5
    assert got[0] == 0


def test_a_failing_unpickle_keeps_nothing():
    class Failing(Framed):
        def __reduce_ex__(self, protocol):
            return bytes.fromhex, (pickle.PickleBuffer(self.data),)

    with pytest.raises(TypeError):
        travel(Failing(bytearray(LARGE)))


def test_many_gathered_values_need_few_segments():
    values = [travel(np.full(200, n)) for n in range(300)]
    parcel, segments = send(values)
    assert len(segments) < 253
    for n, value in enumerate(receive(parcel, segments)):
        assert (value == n).all()


def test_through_a_socket_to_another_process_and_back():
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            ours.close()
            message, fds, _, _ = socket.recv_fds(theirs, 1 << 16, 10)
            value = unwrap(pickle.loads(message), [adopt(fd) for fd in fds])
            value[0] += 41
            parcel, segments = send(value)
            socket.send_fds(theirs, [pickle.dumps(parcel)], [segment.fd for segment in segments])
            theirs.recv(1)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    theirs.close()
    sent = np.ones(LARGE)
    parcel, segments = send(sent)
    socket.send_fds(ours, [pickle.dumps(parcel)], [segment.fd for segment in segments])
    message, fds, _, _ = socket.recv_fds(ours, 1 << 16, 10)
    got = unwrap(pickle.loads(message), [adopt(fd) for fd in fds])
    ours.close()
    os.waitpid(child, 0)
    assert (got[0], got[1], sent[0]) == (42, 1, 1)


def test_threads_pack_and_drop_at_once():
    failures = []
    shared = [travel(np.full(40_000, n)) for n in range(4)]

    def work(seed):
        rng = random.Random(seed)
        try:
            mine = list(shared)
            for _ in range(150):
                which = rng.randrange(4)
                value = mine[which] = travel([mine[which]])[0]
                if rng.random() < 0.3:
                    value += 4
                assert value[0] % 4 == which
                assert (value == value[0]).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures
    assert [int(value[0]) for value in shared] == [0, 1, 2, 3]


def test_values_in_cycles_are_collected():
    gc.disable()
    try:
        for n in range(20):
            value = [travel(np.full(1000, n))]
            value.append(value)
        before = live()
        del value
        gc.collect()
        assert live() < before
    finally:
        gc.enable()


@pytest.mark.parametrize("keep", ["value", "parcel, segments", "value, parcel, segments"])
def test_the_interpreter_ends_quietly(keep):
    script = f"""
        import pickle, sys
        import numpy as np
        from weft.executors.segments import wrap, unwrap
        buffers = []
        stream = pickle.dumps(np.zeros(100_000), 5, buffer_callback=buffers.append)
        parcel, segments = wrap([stream], buffers)
        value = unwrap(parcel, segments)
        kept = sys.modules["sys"].kept = {keep}
        loop = [kept]; loop.append(loop)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_segment_says_what_it_is():
    assert repr(Segment(os.open(os.devnull, os.O_RDONLY), 12345)).endswith("size=12,345>")
