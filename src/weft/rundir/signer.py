"""HMAC-SHA256 with the user's key, by next to no imports: a worker on a cluster begins with it."""

from __future__ import annotations

import os
import stat

try:  # Python's own, which loads in no time; hashlib would load all of OpenSSL
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]  # Python 3.12
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from hashlib import sha256

__all__ = ["KEY", "SIZE", "Signer", "key_file", "user_key"]

SIZE = 32  # bytes of a signature
KEY = 32  # bytes of a key
BLOCK = 64  # bytes that SHA-256 takes in at a time
LARGE = 256 * 1024  # bytes from which on OpenSSL is worth its loading

_keys: dict[tuple[str | None, str | None], bytes] = {}  # by what the environment says of where they are


class Signer:
    """Makes signatures for one purpose, again and again, with this key; None: the user's, as it is now.

    HMAC by its definition (RFC 2104), from two hashes that have taken in the key. `hmac.digest` lets other threads have
    the interpreter meanwhile, and to get it back takes, with threads that are busy, a hundred times as long as the
    signature.
    """

    __slots__ = ("_begin", "_inner", "_outer")

    def __init__(self, purpose: str, key: bytes | None = None) -> None:
        key = user_key() if key is None else key
        key = (sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
        self._begin = bytes(byte ^ 0x36 for byte in key) + purpose.encode("utf-8", "surrogatepass") + b"\0"
        self._inner = sha256(self._begin)
        self._outer = sha256(bytes(byte ^ 0x5C for byte in key))

    def __call__(self, data: bytes) -> bytes:
        if len(data) < LARGE:
            inner = self._inner.copy()
        else:
            import hashlib

            inner = hashlib.sha256(self._begin)
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return bytes(outer.digest())


def key_file() -> str:
    """Where the key is: WEFT_KEY_FILE, or ``weft/key`` in the folder for settings (XDG Base Directories)."""
    said, settings = _said()
    return os.path.expanduser(said or os.path.join(settings or "~/.config", "weft", "key"))


def user_key() -> bytes:
    """The key; made where there is none. Raises StorageError for one that is not the user's secret."""
    said = _said()
    key = _keys.get(said)
    if key is None:
        key = _keys[said] = _read(key_file())
    return key


def _said() -> tuple[str | None, str | None]:
    return os.environ.get("WEFT_KEY_FILE"), os.environ.get("XDG_CONFIG_HOME")


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            facts = os.fstat(file)
            secret = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077
            key = os.read(file, 1024) if secret else b""
        finally:
            os.close(file)
    except OSError:
        key = b""
    if len(key) >= KEY:
        return key
    from weft.rundir.seal import make_key  # there is none, or what is there is no good

    return make_key(path)
