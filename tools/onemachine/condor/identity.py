"""Who we are to HTCondor. It takes no jobs from root, so to it root is an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from functools import cache

# On any Linux, and nobody's. Not `nobody`: what a user namespace does not know looks as if it were theirs.
STAND_IN = "daemon"


def name() -> str:
    """What HTCondor calls us."""
    return STAND_IN if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def words() -> list[str]:
    """What goes before a command, so that it sees an ordinary user.

    Root's commands run in a user namespace, in which root has another number and no powers. Outside it he is who he
    is: files that jobs write are root's, and jobs read what root's own files say. All commands of one pool are in
    namespaces of this kind, each in its own; they see the same.
    """
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(STAND_IN)
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    return [unshare, "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]


@cache
def obstacle() -> str:
    """Why we cannot have a pool here, and what to do; empty: we can."""
    if os.geteuid() != 0:
        try:
            name()
        except KeyError:
            return f"user {os.geteuid()} has no name here, and HTCondor wants one: see /etc/passwd"
        return ""
    try:
        ended = subprocess.run([*words(), "true"], capture_output=True, text=True, check=False)
    except (OSError, KeyError) as error:
        why = str(error)
    else:
        if ended.returncode == 0:
            return ""
        why = ended.stderr.strip()
    return (
        f"HTCondor takes no jobs from root, and here root cannot be {STAND_IN!r} in a user namespace:\n"
        f"{why}\nRun this as an ordinary user."
    )
