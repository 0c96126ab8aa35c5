"""Signatures: what is read again, and unpickled, must be what weft wrote for this very purpose.

HMAC-SHA256 (RFC 2104) with a key that only the user can read. It tells apart what the user's own processes wrote from
what somebody else put there, on a shared disk or in a folder whose modes were changed.
"""

from __future__ import annotations

import os
from pathlib import Path

from weft.rundir.place import check_file, open_new, storage_error, write_all
from weft.rundir.signer import KEY, SIZE, Signer, key_file

__all__ = ["SIZE", "Signer", "key_path", "make_key", "seal", "signature", "unseal"]


def signature(data: bytes, purpose: str, key: bytes | None = None) -> bytes:
    """The signature of some bytes for a purpose: one for another purpose, such as another job, does not fit."""
    return Signer(purpose, key)(data)


def seal(data: bytes, purpose: str) -> bytes:
    """The bytes with their signature before them."""
    return signature(data, purpose) + data


def unseal(data: bytes, purpose: str, what: object, key: bytes | None = None) -> bytes:
    """The bytes again. Raises TamperedError, naming `what`, unless they were made for this purpose, with this key."""
    import hmac

    body = data[SIZE:]
    if not hmac.compare_digest(data[:SIZE], signature(body, purpose, key)):
        from weft.errors import TamperedError

        raise TamperedError(f"{what} is not what weft wrote there: its signature does not fit; it is not read")
    return body


def key_path() -> Path:
    """Where the key is: WEFT_KEY_FILE, or ``weft/key`` in the folder for settings (XDG Base Directories)."""
    return Path(key_file())


def make_key(where: str) -> bytes:
    """The key that is there, or a new one. Raises StorageError for one that is not the user's secret."""
    path = Path(where)
    if not path.exists():
        _make(path)
    check_file(path, private=True)
    key = path.read_bytes()
    if len(key) < KEY:
        raise storage_error(f"the key {path} is too short; remove it, and a new one is made")
    return key


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise storage_error(f"cannot make the folder {path.parent}: {error.strerror}") from error
    beside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    file = open_new(beside)
    try:
        write_all(file, os.urandom(KEY), beside)
        os.fsync(file)  # a key that a power cut has emptied would be one that everybody knows
        os.link(beside, path)  # unlike a rename it replaces nothing: the first of several processes wins
    except FileExistsError:
        pass
    except OSError as error:
        from weft.errors import StorageError

        if isinstance(error, StorageError):
            raise
        raise storage_error(f"cannot make the key {path}: {error.strerror}; WEFT_KEY_FILE says where else") from error
    finally:
        os.close(file)
        beside.unlink(missing_ok=True)
