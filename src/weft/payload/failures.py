"""Exceptions that cross a process border, with their tracebacks."""

from __future__ import annotations

import os

from weft.payload.packing import pack, unpack

TYPE_CHECKING = False  # see weft.lazy
if TYPE_CHECKING:
    from collections.abc import Iterator
    from traceback import TracebackException
    from types import FrameType

__all__ = ["OURS", "pack_failure", "traceback_of", "unpack_failure"]

OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # the folder of weft, as its code objects have it

LONGEST = 200_000  # characters of a traceback that travel; a chain of a thousand exceptions helps nobody
WITH_LOCALS = 20  # innermost frames that are shown with their variables
VARIABLES = 50  # of a frame


def pack_failure(
    error: BaseException,
    *,
    show_locals: bool | None = None,
    skip: str | tuple[str, ...] = OURS,
    traceback: str | None = None,
) -> bytes:
    """An exception as bytes for `unpack_failure`, with the text of its traceback. Never raises.

    A SystemExit goes as TaskExited; what cannot be packed, or not unpacked again, will be a RemoteError.

    Args:
        error: what was raised.
        show_locals: whether the traceback shows local variables, shortened. Default: what the environment's
            ``WEFT_TRACEBACK_LOCALS`` says.
        skip: the frames above the user's function are left out of the traceback: those of files whose path begins so.
        traceback: its traceback, where that is known already.
    """
    if traceback is None:
        traceback = traceback_of(error, show_locals=show_locals, skip=skip)
    if isinstance(error, SystemExit):
        error = _exited(error)
    packed, obstacle = _packed(error)
    return pack((packed, obstacle, _name_of(type(error)), _text_of(error), traceback))


def traceback_of(error: BaseException, *, show_locals: bool | None = None, skip: str | tuple[str, ...] = OURS) -> str:
    """The traceback of an exception as text, from the user's function on; see `pack_failure`. Never raises."""
    if show_locals is None:
        show_locals = os.environ.get("WEFT_TRACEBACK_LOCALS", "0") not in ("", "0")
    return _cut(_traceback_of(error, show_locals, skip))


def unpack_failure(data: bytes | bytearray | memoryview) -> BaseException:
    """The exception that was packed; its `__cause__` is a RemoteTraceback. Never raises."""
    from weft.errors import RemoteTraceback, told

    name = text = traceback = "unknown"
    try:
        packed, obstacle, *texts = unpack(data)
        name, text, traceback = map(str, texts)
        if packed is not None:
            error = _restored(packed, text)
            error.__cause__ = RemoteTraceback(traceback)
            return error
    except BaseException as unpackable:  # noqa: BLE001 - code of the user's runs here, and a future waits for the outcome
        obstacle = told(unpackable)
    return _stand_in(obstacle, name, text, traceback)


def _stand_in(obstacle: str, name: str, text: str, traceback: str) -> BaseException:
    from weft.errors import RemoteError, RemoteTraceback

    told = f"{name.rpartition('.')[2]}: {text}" if text else name.rpartition(".")[2]
    message = f"an exception cannot be sent back as it is: {told}\n(it does not pickle and unpickle: {obstacle})"
    error = RemoteError(message, type_name=name, text=text, traceback=traceback)
    error.__cause__ = RemoteTraceback(traceback)
    return error


# The exception


def _exited(error: SystemExit) -> BaseException:
    from weft.errors import TaskExited
    from weft.payload.shorten import shorten

    code = error.code
    try:
        unpack(pack(code))
    except BaseException:  # noqa: BLE001 - it can be any object
        code = shorten(code)
    exited = TaskExited(f"the task called sys.exit({'' if code is None else shorten(code)})", code=code)
    for note in _notes_of(error):
        exited.add_note(note)
    return exited


def _packed(error: BaseException) -> tuple[bytes | None, str]:
    """The exception for `_restored`, else None and why that cannot be."""
    from weft.errors import told

    try:
        # Exceptions that take more arguments than they pass on pack well, and only fail to unpack.
        packed = pack((error, None, None))
        again = _restored(packed, "")
        # Others are rebuilt from the text that their constructor made, and make a text of that.
        args = None if _text_of(again) == _text_of(error) else error.args
        notes = None if _notes_of(again) == _notes_of(error) else _notes_of(error)
        if args is not None or notes is not None:
            packed = pack((error, args, notes))
    except BaseException as obstacle:  # noqa: BLE001 - a __reduce__ of the user's can raise anything
        return None, told(obstacle)
    return packed, ""


def _restored(packed: bytes, text: str) -> BaseException:
    error, args, notes = unpack(packed)
    if not isinstance(error, BaseException):
        raise TypeError(f"it becomes a {type(error).__name__}, which is no exception")
    if args is not None and _text_of(error) != text:
        error.args = args
    if notes is not None:
        error.__notes__ = notes
    return error


def _notes_of(error: BaseException) -> list[str]:
    try:
        notes = getattr(error, "__notes__", None)
    except BaseException:  # noqa: BLE001 - a __getattr__ is somebody's code, as a __str__ is
        return []
    return [note for note in notes if type(note) is str] if isinstance(notes, (list, tuple)) else []


def _text_of(error: BaseException) -> str:
    try:
        return "".join([f"{error}", ""])  # of two, so that it is a str whatever kind of str its class makes
    except BaseException:  # noqa: BLE001
        return ""


def _name_of(kind: type) -> str:
    try:
        module, name = kind.__module__, kind.__qualname__
        return "".join([name, ""] if module in ("builtins", "__main__") else [module, ".", name])
    except BaseException:  # noqa: BLE001
        return "an exception"


# Its traceback


def _traceback_of(error: BaseException, show_locals: bool, skip: str | tuple[str, ...]) -> str:
    from traceback import TracebackException, format_tb

    try:
        whole = TracebackException(type(error), error, error.__traceback__, compact=True)
        for one, its in _chain(whole, error):
            _tidy(one, its, show_locals, skip)
        return "".join(whole.format()).rstrip()
    except BaseException:  # noqa: BLE001 - attributes of exceptions are somebody's code
        return "".join([*format_tb(error.__traceback__), _name_of(type(error))])


def _chain(whole: TracebackException, error: BaseException) -> Iterator[tuple[TracebackException, BaseException]]:
    """Each exception that the traceback will tell of: causes, contexts and members of groups."""
    left: list[tuple[TracebackException | None, BaseException | None]] = [(whole, error)]
    while left:
        one, its = left.pop()
        if one is None or its is None:
            continue
        yield one, its
        left += [(one.__cause__, its.__cause__), (one.__context__, its.__context__)]
        if one.exceptions and isinstance(its, BaseExceptionGroup):
            left += zip(one.exceptions, its.exceptions, strict=False)


def _tidy(one: TracebackException, error: BaseException, show_locals: bool, skip: str | tuple[str, ...]) -> None:
    from weft.errors import WeftError

    frames = list(_frames(error))
    ours = 0
    while ours < len(frames) and frames[ours].f_code.co_filename.startswith(skip):
        ours += 1
    # Nothing but our frames: an error of ours says it all, and anything else is a mistake of ours, to be found.
    if ours == len(frames) and not isinstance(error, WeftError):
        ours = 0
    if show_locals:
        for summary, frame in list(zip(one.stack, frames, strict=False))[ours:][-WITH_LOCALS:]:
            summary.locals = _variables(frame)
    del one.stack[:ours]


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _variables(frame: FrameType) -> dict[str, str]:
    from types import ModuleType

    from weft.payload.shorten import shorten

    variables = list(frame.f_locals.items())
    if frame.f_locals is frame.f_globals:
        # A module's own frame has all that the module has. What it imports and defines does not help.
        plain = (ModuleType, type)
        variables = [
            (name, value)
            for name, value in variables
            if not name.startswith("__") and not isinstance(value, plain) and not hasattr(value, "__code__")
        ]
    return {name: shorten(value) for name, value in variables[:VARIABLES]}


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    head, tail = text[: LONGEST // 4], text[-LONGEST * 3 // 4 :]
    return f"{head}\n  ... {len(text) - len(head) - len(tail):,} characters are left out ...\n{tail}"
