"""Where runs are kept, and how files are written there: for the user alone, whole or not at all.

    .weft/                     in the working directory, or what WEFT_DIR says
        heads/<identity>       the name of the latest run of a script
        runs/<run>/            see `folder`

Folders have mode 0700 and files 0600, whatever the umask. A folder that somebody else owns, or that others may write
to, is refused: what lies there is read again, and pickles run code.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

TYPE_CHECKING = False  # see weft.lazy: a worker on a cluster writes its outcome by this
if TYPE_CHECKING:
    from weft.errors import StorageError

__all__ = [
    "append_to",
    "check_file",
    "check_folder",
    "home",
    "make_folder",
    "open_new",
    "safe_name",
    "storage_error",
    "write_all",
    "write_atomic",
]

DEFAULT = ".weft"
LONGEST = 80  # characters of a file name that is made from a text
OTHERS = stat.S_IWGRP | stat.S_IWOTH

NO_FOLLOW = os.O_CLOEXEC | os.O_NOFOLLOW


def storage_error(text: str) -> StorageError:
    """To be raised. Its class is imported when there is something wrong."""
    from weft.errors import StorageError

    return StorageError(text)


def home(*, create: bool = False) -> Path:
    """The absolute path of ``.weft``, checked if it is there; raises StorageError where it cannot be used.

    Args:
        create: make it where it is not there.
    """
    # A link is the user's own way of keeping runs on another disk, so what counts is where it leads.
    path = Path(os.environ.get("WEFT_DIR") or DEFAULT).expanduser().resolve()
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_folder(path)
    elif path.exists():
        check_folder(path)
    return path


def make_folder(path: Path) -> Path:
    """Make a folder for the user alone, or check that the one that is there is such. Raises StorageError."""
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)
    except FileExistsError:
        check_folder(path)
    except OSError as error:
        raise storage_error(f"cannot make the folder {path}: {error.strerror}") from error
    return path


def check_folder(path: Path) -> None:
    """Raise StorageError unless it is a folder of the user's that nobody else can write to."""
    facts = _facts(path)
    if not stat.S_ISDIR(facts.st_mode):
        raise storage_error(f"{path} is {_kind(facts)}, not a folder; move it away, or set WEFT_DIR to another place")
    _check_owner(path, facts)


def check_file(path: Path, *, private: bool = False) -> None:
    """Raise StorageError unless it is a plain file of the user's that no other can write to (`private`: nor read)."""
    facts = _facts(path)
    if not stat.S_ISREG(facts.st_mode):
        raise storage_error(f"{path} is {_kind(facts)}, not a file; move it away")
    _check_owner(path, facts)
    if private and stat.S_IMODE(facts.st_mode) & 0o077:
        raise storage_error(f"others may read {path}, which is secret; replace it, and then: chmod 600 {path}")


def _facts(path: Path) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise storage_error(f"cannot look at {path}: {error.strerror}") from error


def _kind(facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return "a symbolic link"
    return "a folder" if stat.S_ISDIR(facts.st_mode) else "a file" if stat.S_ISREG(facts.st_mode) else "a device"


def _check_owner(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        raise storage_error(
            f"{path} belongs to user {facts.st_uid}, not to you ({os.geteuid()}); set WEFT_DIR to a folder of your own"
        )
    if facts.st_mode & OTHERS:
        raise storage_error(f"others may write to {path}, so it cannot be trusted; if you trust it: chmod go-w {path}")


# Names -----------------------------------------------------------------------------------------------------


def safe_name(text: str) -> str:
    """A file name for any text: itself where it is one already, else what can be kept of it and a hash.

    Names that differ only in upper and lower case are the caller's to tell apart.
    """
    if _SAFE.fullmatch(text):
        return text
    import hashlib

    kept = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:LONGEST]
    return f"{kept.lstrip('.-_') or 'x'}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


_SAFE = re.compile(f"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")

# Files -----------------------------------------------------------------------------------------------------


def open_new(path: Path, *, at_its_end: bool = True) -> int:
    """Open a file that is not there yet, for writing. Raises FileExistsError, or StorageError.

    Args:
        path: of the file.
        at_its_end: whatever is written, even by another process, is added to what is there.
    """
    append = os.O_APPEND if at_its_end else 0
    try:
        file = os.open(path, os.O_WRONLY | append | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error(f"cannot write {path}: {error.strerror}") from error
    os.fchmod(file, 0o600)
    return file


def append_to(path: Path) -> int:
    """Open a file for writing at its end; it is made where it is not there. Raises StorageError."""
    try:
        return open_new(path)
    except FileExistsError:
        check_file(path)
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | NO_FOLLOW)
    except OSError as error:
        raise storage_error(f"cannot write {path}: {error.strerror}") from error


def write_all(file: int, data: bytes, path: Path) -> None:
    """Write in one call, so that what other threads write to the same file does not come between.

    Raises StorageError where not all of it could be written. Then a part of it may be there.
    """
    try:
        written = os.write(file, data)
        if written < len(data):
            # The second call says why.
            written += os.write(file, data[written:])
    except OSError as error:
        raise storage_error(f"cannot write {path}: {error.strerror}") from error
    if written < len(data):
        raise storage_error(f"cannot write {path}: only {written} of {len(data)} bytes could be written")


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file, or make it: whole, or, with a StorageError, not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    file = open_new(beside)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        finally:
            os.close(file)
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(f"cannot write {path}: {error.strerror}") from error
        raise
