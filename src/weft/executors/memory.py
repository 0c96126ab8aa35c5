"""Files without a name, which the kernel frees with their last user, however that ends."""

from __future__ import annotations

import errno
import os

__all__ = ["SEALS", "unnamed_file"]

SEALS = hasattr(os, "memfd_create")  #: Whether such files can be sealed.


def unnamed_file(what: str) -> int:
    """A new file: in memory, not bound by the size of /dev/shm (64 MB in a container); else a temporary one."""
    if SEALS:
        try:
            return os.memfd_create(what, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                raise
            # A sandbox without it: a temporary file will do.
    import tempfile

    file, path = tempfile.mkstemp(prefix=what)
    os.unlink(path)
    return file
