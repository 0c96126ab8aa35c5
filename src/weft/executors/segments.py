"""Large parts of values between processes: written once, read where they lie, passed on without a copy.

    value --pickle--> stream + buffers --wrap--> Parcel + Segments ==message, fds==> Parcel + Segments --unwrap--> value

A *segment* is a file in memory without a name: the kernel frees it with its last fd and mapping, whoever was killed in
between, and /dev/shm (64 MB in many containers) does not bound it. It is written by the one who packs and never changes
afterwards. Whoever unpacks maps it *privately*: reading copies nothing, writing copies the page written to, so a value
arrives writable and nobody can disturb anybody else.

A value keeps its segments alive: array -> memoryview -> mapping -> Segment -> fd. When it is packed again and nobody
has written to it, its segments travel again instead of a copy.

Rejected: `multiprocessing.shared_memory` (names to clean up, /dev/shm, page faults to fill it); shared mappings (one
process's ``a += 1`` would change everybody's `a`); MADV_POPULATE_READ (10 MB, mapped and read once: 0.87 ms with it,
0.72 ms without: the kernel maps 16 pages per fault anyway).
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import functools
import heapq
import itertools
import mmap
import os
import pickle
import resource
import stat
import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from weft.executors.memory import SEALS, unnamed_file

__all__ = ["LIMIT", "SMALLEST", "Parcel", "Segment", "adopt", "live", "unwrap", "wrap"]

# Bytes from which on a part of a value gets a segment. In time that pays from 256 KB on (making, sending, mapping and
# freeing one costs 0.1 ms); but what goes through the socket must never fill it, or the sender would have to wait for a
# worker that is busy.
SMALLEST = 64 * 1024

Place: TypeAlias = tuple[int, int, int]  # number of the segment among those of the message, offset, length


def _limit() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if soft == resource.RLIM_INFINITY else min(256, soft // 8)


LIMIT = _limit()  # mapped segments in one process; each costs two fds (one from Python 3.13 on)
_MOST = 128  # segments that one parcel passes on: a message carries at most 253 fds, and the receiver has its LIMIT
_ALONE = 1024 * 1024  # from this size on a buffer gets a segment of its own, so that it can be freed on its own
_MOST_ALONE = 16
_ALIGNED = 64  # a cache line, and what Arrow asks for
_PADDING = bytes(_ALIGNED)
_AT_ONCE = 2**30  # bytes in one writev(); macOS refuses 2 GB
_PIECES = os.sysconf("SC_IOV_MAX")
_PAGE = mmap.PAGESIZE

_open: dict[int, int] = {}  # the fd of each open segment, by its key. `pop` on a dict is atomic: no lock
_keys = itertools.count()


class Segment:
    """Memory behind a file descriptor. It owns the descriptor and closes it when collected.

    Do not `close` one that went through `wrap` or `unwrap`, drop it: a value may hold it, to pass it on.
    """

    __slots__ = ("__weakref__", "_key", "fd", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._key = next(_keys)
        _open[self._key] = fd

    def close(self) -> None:
        """Close the descriptor; again and from any thread is fine. Values built on the memory keep it."""
        self.__del__()

    # The defaults outlive this module's globals: a segment may be collected while the interpreter shuts down.
    def __del__(self, _open: dict[int, int] = _open, _close: Any = os.close) -> None:
        fd = _open.pop(self._key, None)
        if fd is not None:
            self.fd = -1
            _close(fd)

    def __repr__(self) -> str:
        return f"<Segment fd={self.fd} size={self.size:,}>"


class Parcel(NamedTuple):
    """What a message says about a value with large parts. Plain data."""

    stream: bytes | Place  # the pickle, or where it lies when it is large itself
    buffers: tuple[Place, ...]  # where its out-of-band buffers lie, in their order


def live() -> int:
    """How many segments this process holds open."""
    return len(_open)


def adopt(fd: int) -> Segment:
    """The segment behind a descriptor that arrived. The descriptor belongs to the segment from here on."""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"fd {fd} is no segment: expected a file, got mode {status.st_mode:o}")
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise
    return Segment(fd, status.st_size)


# --- Packing ----------------------------------------------------------------------------------------------------------


def wrap(chunks: list[bytes | memoryview], buffers: list[pickle.PickleBuffer]) -> tuple[Parcel, list[Segment]]:
    """A parcel from a pickle in chunks and its out-of-band buffers, and the segments that must travel with it.

    A buffer that lies unchanged in a segment this process has mapped is passed on, the others are copied into new
    segments. Keep the list until the message is sent. Raises OSError when there is no room.
    """
    segments: list[Segment] = []
    stream: bytes | Place
    size = sum(memoryview(chunk).nbytes for chunk in chunks)
    if size < SMALLEST:
        stream = b"".join(chunks)
    else:
        # Apart from the buffers: this one can go as soon as it is unpickled.
        segments.append(_store([memoryview(chunk).cast("B") for chunk in chunks], aligned=1)[0])
        stream = (0, 0, size)
    views = [buffer.raw() for buffer in buffers]
    places = _pass_on(views, segments)
    for group in _groups([number for number, view in enumerate(views) if number not in places and view.nbytes], views):
        segment, offsets = _store([views[number] for number in group], aligned=_ALIGNED)
        for number, offset in zip(group, offsets, strict=True):
            places[number] = (len(segments), offset, views[number].nbytes)
        segments.append(segment)
    return Parcel(stream, tuple(places.get(number, (0, 0, 0)) for number in range(len(views)))), segments


def _groups(numbers: list[int], views: list[memoryview]) -> list[list[int]]:
    """Which buffers share a segment: the small ones, and of the large ones those that are too many."""
    large = [number for number in numbers if views[number].nbytes >= _ALONE]
    alone = set(heapq.nlargest(_MOST_ALONE, large, key=lambda number: views[number].nbytes))
    together = [number for number in numbers if number not in alone]
    return [[number] for number in sorted(alone)] + [together] * bool(together)


def _store(views: list[memoryview], aligned: int) -> tuple[Segment, list[int]]:
    """A new segment that holds these, and where in it."""
    offsets, pieces, size = [], [], 0
    for view in views:
        if padding := -size % aligned:
            pieces.append(memoryview(_PADDING)[:padding])
        offsets.append(size + padding)
        pieces.append(view)
        size += padding + view.nbytes
    try:
        segment = Segment(unnamed_file("weft-segment"), size)
        _write(segment.fd, pieces)
    except OSError as error:
        text = f"no room for {size:,} bytes of a value on their way to another process: {error.strerror}"
        raise OSError(error.errno, text) from error
    if SEALS:
        with contextlib.suppress(OSError):  # refused for a temporary file
            fcntl.fcntl(segment.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return segment, offsets


def _write(fd: int, pieces: list[memoryview]) -> None:
    # Not through a mapping: write() fills fresh pages without zeroing them first and without page faults.
    done = 0
    while done < len(pieces):
        batch = pieces[done : done + _PIECES]
        if sum(piece.nbytes for piece in batch) > _AT_ONCE:
            batch = [batch[0][:_AT_ONCE]]
        written = os.writev(fd, batch)
        while done < len(pieces) and written >= pieces[done].nbytes:
            written -= pieces[done].nbytes
            done += 1
        if written:
            pieces[done] = pieces[done][written:]


# --- Passing on -------------------------------------------------------------------------------------------------------


class _Mapping(mmap.mmap):
    """A private mapping of a whole segment; what values hold on to."""

    segment: Segment
    start: int | None = None  # its address, once asked for

    def address(self) -> int | None:
        if self.start is None:
            self.start = _address(memoryview(self))
        return self.start


_mapped: weakref.WeakValueDictionary[int, _Mapping] = weakref.WeakValueDictionary()


def _pass_on(views: list[memoryview], segments: list[Segment]) -> dict[int, Place]:
    """The places of those buffers that need no copy, by number. Their segments are added to `segments`."""
    places: dict[int, Place] = {}
    if not (views and _mapped and _kernel_tells()):
        return places
    # An address is looked up among mappings that we hold: what lies in one of them cannot have been freed and reused.
    # `valuerefs` is a copy made in one step, other threads may map and drop meanwhile.
    held = [mapping for ref in _mapped.valuerefs() if (mapping := ref()) is not None]
    mappings = sorted(((mapping.address() or 0, mapping) for mapping in held), key=lambda pair: pair[0])
    numbers: dict[int, int] = {}  # of a segment's key among `segments`
    taken: dict[int, list[tuple[int, int]]] = {}
    for number, view in enumerate(views):
        start, size = _address(view), view.nbytes
        index = bisect.bisect_right(mappings, start or 0, key=lambda pair: pair[0]) - 1
        if start is None or index < 0:
            continue
        base, mapping = mappings[index]
        segment, offset = mapping.segment, start - base
        if not (base and size and offset + size <= segment.size and segment.fd >= 0 and _worth_it(size, segment)):
            continue
        if segment._key not in numbers and len(segments) >= _MOST:
            continue
        # The cheap checks came first. Two arrays over the same bytes become two independent ones, as in any pickle.
        if _written_to(start, size) or not _reserve(taken.setdefault(segment._key, []), offset, offset + size):
            continue
        if segment._key not in numbers:
            numbers[segment._key] = len(segments)
            segments.append(segment)
        places[number] = (numbers[segment._key], offset, size)
    return places


def _worth_it(size: int, segment: Segment) -> bool:
    """Not for a sliver: it would keep all of a large segment alive to save a small copy."""
    return size >= _ALONE or 4 * size >= segment.size


def _reserve(taken: list[tuple[int, int]], start: int, stop: int) -> bool:
    """Take the range unless it overlaps one that was taken. The list is sorted."""
    index = bisect.bisect_left(taken, (start, stop))
    if (index and taken[index - 1][1] > start) or (index < len(taken) and taken[index][0] < stop):
        return False
    taken.insert(index, (start, stop))
    return True


def _address(view: memoryview) -> int | None:
    """Where a buffer lies. Python does not say, numpy does; without it nothing is passed on."""
    numpy: Any = sys.modules.get("numpy")
    try:
        return int(numpy.frombuffer(view, numpy.uint8).__array_interface__["data"][0])
    except (AttributeError, ValueError):  # not imported, or half so by another thread; an empty buffer
        return None


# The top byte of an entry in /proc/self/pagemap: 0x80 the page is present, 0x40 it is in swap (or on its way between
# two frames), 0x20 it belongs to a file. A private page that was written to is present or in swap, and no file's.
_UNTOUCHED = bytes(top for top in range(256) if not top & 0xC0 or top & 0x20)
_TOP = 7 if sys.byteorder == "little" else 0


def _written_to(start: int, size: int) -> bool:
    """Whether this process wrote to a page of this part of a private mapping. True where the kernel does not say."""
    first = start // _PAGE
    count = (start + size - 1) // _PAGE - first + 1
    try:
        # Opened anew: the descriptor speaks of the process that opened it, after a fork of the parent.
        fd = os.open("/proc/self/pagemap", os.O_RDONLY)
        try:
            entries = os.pread(fd, 8 * count, 8 * first)
        finally:
            os.close(fd)
    except OSError:
        return True
    return len(entries) != 8 * count or bool(entries[_TOP::8].translate(None, _UNTOUCHED))


@functools.cache
def _kernel_tells() -> bool:
    """Whether `_written_to` is right here: with a pagemap of zeros, as a sandbox might show, changes would be lost."""
    try:
        segment, _ = _store([memoryview(bytes(3 * _PAGE))], aligned=1)
        with mmap.mmap(segment.fd, segment.size, access=mmap.ACCESS_COPY) as mapping:
            mapping[_PAGE] = mapping[0] + 1  # page 0 is read, page 1 written to, page 2 not touched
            start = _address(memoryview(mapping))
            return start is not None and [_written_to(start + _PAGE * page, 1) for page in range(3)] == [0, 1, 0]
    except OSError:
        return False


# --- Unpacking --------------------------------------------------------------------------------------------------------


def unwrap(parcel: Parcel, segments: Sequence[Segment]) -> Any:
    """The value, on top of its segments: its buffers are read where they lie, and can be written to.

    The value holds the segments it needs: drop the list. With `LIMIT` mapped segments in this process the buffers are
    copied out instead. Raises whatever unpickling raises, and ValueError for a place outside of its segment.
    """
    stream: bytes | memoryview
    if isinstance(parcel.stream, bytes):
        stream, *views = parcel.stream, *_views(parcel.buffers, segments)
    else:
        stream, *views = _views([parcel.stream, *parcel.buffers], segments)
    return pickle.loads(stream, buffers=views)


def _views(places: Iterable[Place], segments: Sequence[Segment]) -> Iterable[memoryview]:
    mapped: dict[int, memoryview | None] = {}
    for number, offset, size in places:
        if not size:
            yield memoryview(bytearray())
            continue
        if not 0 <= number < len(segments):
            raise ValueError(f"a parcel speaks of segment {number}, {len(segments)} came with it")
        segment = segments[number]
        if not 0 <= offset < offset + size <= segment.size:
            raise ValueError(f"a parcel speaks of {size:,} bytes at {offset:,} in a segment of {segment.size:,}")
        if segment.fd < 0:  # mmap would take -1 for a wish for fresh memory
            raise ValueError(f"{segment} is closed: a segment is dropped, not closed, once a parcel speaks of it")
        if number not in mapped:
            mapped[number] = _map(segment)
        whole = mapped[number]
        yield _copy(segment, offset, size) if whole is None else whole[offset : offset + size]


_UNTRACKED: Any = {"trackfd": False} if sys.version_info >= (3, 13) else {}  # the Segment has the fd


def _map(segment: Segment) -> memoryview | None:
    """A mapping of its own for each value: two that come from one segment must not see each other's changes."""
    if len(_mapped) >= LIMIT:
        return None
    try:
        mapping = _Mapping(segment.fd, segment.size, access=mmap.ACCESS_COPY, **_UNTRACKED)
    except OSError:  # too many descriptors or mappings
        return None
    mapping.segment = segment
    _mapped[next(_keys)] = mapping
    return memoryview(mapping)


def _copy(segment: Segment, offset: int, size: int) -> memoryview:
    view = memoryview(bytearray(size))
    done = 0
    while done < size:
        count = os.preadv(segment.fd, [view[done : done + _AT_ONCE]], offset + done)
        if not count:
            raise OSError(errno.EIO, f"{segment} ends {size - done:,} bytes too early")
        done += count
    return view
