"""HTCondor's programs: from Debian's packages, unpacked into a folder of their own. The system stays as it is.

Debian 12 has no HTCondor, so they are those of Debian 13, with the libraries that they need. Each program is told to
take these (``patchelf``); the jobs that it starts see the system's own.

::

    CACHE/<version>/usr       what the packages bring; complete, or not there at all
                   /commands  for a PATH
                   /root      the same for root's PATH
          part                what has come so far
          lock                held while packages come
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onemachine import packages
from onemachine.condor import identity
from onemachine.folder import locked
from onemachine.trouble import Trouble

WANTED = ("condor", "patchelf")
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # apt checks by these what it gets
SYSTEM = Path("/var/cache/weft/condor")  # root's, for everybody
# Of all that the package asks for, half is for setting up a machine, and for scripts that nobody calls here.
LIBRARIES = re.compile(r"(?!lib(perl|python|pam-|js-))(lib|zlib)(?!.*-perl$)")


class Programs:
    """Those of one version."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.version = folder.name.partition("+")[0]
        self.release = folder / "usr"
        self.commands = folder / ("root" if os.geteuid() == 0 else "commands")  # for a PATH

    def daemon(self, name: str) -> str:
        return str(self.release / "sbin" / f"condor_{name}")


def caches() -> list[Path]:
    """Where programs may be: root's, and our own; the last one is where we may put them."""
    if os.geteuid() == 0:
        return [SYSTEM]
    return [SYSTEM, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft" / "condor"]


def found() -> Programs | None:
    """The newest that are there."""
    there = [release.parent for cache in caches() for release in cache.glob("[0-9]*/usr")]
    return Programs(max(there, key=lambda folder: folder.stat().st_mtime)) if there else None


def obstacle() -> str:
    """Why they cannot be had here, and what to do; empty: they can, or are there."""
    if found():
        return ""
    if any(shutil.which(command) is None for command in ("apt-get", "dpkg-deb")):
        return "HTCondor's programs are not here. They come from Debian's packages, and this is no Debian."
    if not KEYS.exists():
        return f"not installed: debian-archive-keyring. By {KEYS} it is seen that packages are Debian's."
    return ""


def require(say: Callable[[str], None]) -> Programs:
    """Have them: those that are there, or fetched now."""
    if why := identity.obstacle() or obstacle():
        raise Trouble(why)
    if programs := found():
        return programs
    mask = os.umask(0o022)  # what root brings is for everybody
    try:
        cache = caches()[-1]
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / "lock"):
            return found() or _Fetch(cache, say).done()  # somebody else may have fetched them meanwhile
    finally:
        os.umask(mask)


class _Fetch:
    """Brings them into a cache. What a fetch before has left of packages is used."""

    def __init__(self, cache: Path, say: Callable[[str], None]):
        self._cache = cache
        self._part = cache / "part"
        self._say = say

    def done(self) -> Programs:
        self._say(f"fetching HTCondor from {_mirror()} {SUITE} (40 MB, once)")
        debs = self._packages()
        [condor] = (deb for deb in debs if deb.name.startswith("condor_"))
        programs = Programs(self._cache / condor.name.split("_")[1])
        self._say(f"unpacking it into {programs.folder}")
        made = self._part / "made"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        _at_once(lambda deb: _run("dpkg-deb", "--extract", deb, made), debs)
        _settle(made, programs.folder)
        _write_commands(made, programs.folder)
        made.rename(programs.folder)
        shutil.rmtree(self._part)
        return programs

    def _packages(self) -> list[Path]:
        """Their files, each as signed for by Debian."""
        state, debs = self._part / "apt", self._part / "packages"
        for folder in state / "lists" / "partial", state / "cache" / "archives" / "partial", debs:
            folder.mkdir(parents=True, exist_ok=True)
        (state / "status").touch()  # nothing is installed: all that is needed is to come
        (state / "sources.list").write_text(f"deb [signed-by={KEYS}] {_mirror()} {SUITE} main\n")
        own = {
            "Dir::Etc::SourceList": state / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": state,
            "Dir::State::Status": state / "status",
            "Dir::Cache": state / "cache",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "root",  # stay who we are: the one that apt would rather be may not write here
            "APT::Update::Error-Mode": "any",
            "APT::Update::Post-Invoke": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        options = [word for key, value in own.items() for word in ("-o", f"{key}={value}")]
        log = self._part / "log"
        packages.apt(log, *options, "update")
        listed = packages.apt(log, *options, "install", "--yes", "--print-uris", "--no-install-recommends", *WANTED)
        # Lines such as: 'http://.../condor_23.9.6_amd64.deb' condor_23.9.6_amd64.deb 9259284 SHA256:...
        files = re.findall(r"^'\S+' (\S+\.deb) \d+", listed, re.MULTILINE)
        wanted = {file: name for file in files if (name := file.split("_")[0]) in WANTED or LIBRARIES.match(name)}
        packages.apt(log, *options, "download", *wanted.values(), cwd=debs)
        return [debs / file for file in wanted]


def _mirror() -> str:
    """Where this machine has its packages from."""
    for file in sorted([*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]):
        if found := re.search(r"^[^#\n]*?(https?://\S+/debian)/?\s", file.read_text(), re.MULTILINE):
            return found[1]
    return MIRROR


def _settle(made: Path, folder: Path) -> None:
    """Have each program find its libraries where it will be."""
    [loader] = (made / "usr" / "lib").glob("*/ld-linux*.so.*")
    here = f"{made / 'usr' / 'lib'}:{loader.parent}"
    there = here.replace(str(made), str(folder))
    patch = [loader, "--library-path", here, made / "usr" / "bin" / "patchelf"]
    patch += ["--set-interpreter", folder / loader.relative_to(made), "--force-rpath", "--set-rpath", there]
    _at_once(lambda file: _run(*patch, file), list(_executables(made)))


def _executables(made: Path) -> Iterator[Path]:
    for place in "bin", "sbin", "libexec/condor":
        for file in (made / "usr" / place).iterdir():
            if file.is_symlink() or not file.is_file() or file.suffix == ".so" or file.name == "patchelf":
                continue
            with open(file, "rb") as opened:
                if opened.read(4) == b"\x7fELF":
                    yield file


def _write_commands(made: Path, folder: Path) -> None:
    """Those of users and of administrators in one folder; and once more for root."""
    for place in "commands", "root":
        (made / place).mkdir()
    for command in sorted(made.glob("usr/*bin/condor_*")):
        program = folder / command.relative_to(made)
        (made / "commands" / command.name).symlink_to(program)
        wrapper = made / "root" / command.name
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([*identity.words(), str(program)])} "$@"\n')
        wrapper.chmod(0o755)


def _at_once(work: Callable[[Path], object], files: list[Path]) -> None:
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(work, files):
            pass


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Trouble(f"{shlex.join(words)} has failed:\n{ended.stderr.strip() or ended.returncode}")
