"""Programs of the system: whether they are there, and Debian's packages that bring them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from onemachine.processes import tail
from onemachine.trouble import Trouble

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where daemons are; not on an ordinary user's PATH


def program(name: str) -> str | None:
    """The absolute path of a program."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN]))
    return os.path.abspath(found) if found else None


def missing(packages: Mapping[str, str]) -> list[str]:
    """Of these packages, by program or file that they bring, those that are not there."""
    return sorted({package for what, package in packages.items() if not _there(what)})


def _there(what: str) -> bool:
    return bool(next(Path("/").glob(what[1:]), None)) if what.startswith("/") else program(what) is not None


def require(packages: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Have these packages: install what is missing where we may."""
    names = missing(packages)
    if not names:
        return
    if why := obstacle(names):
        raise Trouble(why)
    say(f"installing {' '.join(names)}")
    if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        _apt("update")
    try:
        _install(names)
    except Trouble:
        _apt("update")  # the lists may be older than what they list
        _install(names)
    if names := missing(packages):
        raise Trouble(f"{' '.join(names)}: installed, but what they should bring is not there")


def obstacle(names: list[str]) -> str:
    """Why these packages cannot be installed by us, and what to do; empty: they can."""
    if not names:
        return ""
    wanted = f"not installed: {' '.join(names)}"
    if shutil.which("apt-get") is None:
        return f"{wanted} (Debian's names).\nThis is no Debian: install what brings them here, with munge."
    if os.geteuid() != 0:
        return f"{wanted}.\nRoot brings them with:\n\n    apt-get install --no-install-recommends {' '.join(names)}"
    return ""


def apt(log: Path, *words: str, cwd: Path | None = None) -> str:
    """Run apt-get, and tell the end of what it says where it fails; returns what it prints."""
    command = ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0", *words]
    with open(log, "wb") as output:
        ended = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        )
    if ended.returncode:
        raise Trouble(f"{' '.join(command)} has failed. The end of {log}:\n{tail(log)}")
    return log.read_text(errors="replace")


def _install(names: list[str]) -> None:
    _apt("install", "--yes", "--no-install-recommends", *names)


def _apt(*words: str) -> None:
    apt(Path("/var/log/weft-tools-apt.log"), *words)
