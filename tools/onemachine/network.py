"""Where daemons listen: on loopback alone, at ports that no other cluster takes meanwhile."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from onemachine.trouble import Trouble

HOSTS = Path("/etc/hosts")
MARK = "# weft tools"


def loopback(say: Callable[[str], None]) -> str:
    """The loopback address to which this machine's name resolves: Slurm listens where that leads.

    Root gets it repaired where it leads elsewhere, or nowhere; ``say`` tells.
    """
    name = socket.gethostname()
    address = _resolved(name)
    if _is_loopback(address):
        return address
    if os.geteuid() != 0:
        where = f"resolves to {address}, which others may reach" if address else "does not resolve"
        raise Trouble(
            f"the name of this machine, {name!r}, {where}: Slurm would listen there.\n"
            f"Put this line first into {HOSTS} (root may):\n\n    127.0.0.1 {name}"
        )
    if not _is_loopback(_in_hosts(name)):
        HOSTS.write_text(f"127.0.0.1 {name} {MARK}\n{HOSTS.read_text()}")  # in place: containers mount it
        say(f"{HOSTS}: added '127.0.0.1 {name}', since Slurm listens where this machine's name leads")
    address = _resolved(name)
    if not address:
        # glibc takes a machine that has nothing but 127.0.0.1 for one without IPv4, and resolves no names.
        subprocess.run(["ip", "link", "set", "lo", "up"], check=False, capture_output=True)
        subprocess.run(["ip", "addr", "add", "127.0.0.2/8", "dev", "lo"], check=False, capture_output=True)
        say("lo: added 127.0.0.2, since a machine with one loopback address alone resolves no names")
        address = _resolved(name)
    if not _is_loopback(address):
        raise Trouble(f"the name of this machine, {name!r}, resolves to {address or 'nothing'} in spite of {HOSTS}")
    return address


def forget_repairs() -> None:
    """Take out of the hosts file what ``loopback`` has put there."""
    lines = HOSTS.read_text().splitlines(keepends=True)
    left = [line for line in lines if MARK not in line]
    if left != lines:
        HOSTS.write_text("".join(left))


def _resolved(name: str) -> str:
    """The first address, as Slurm asks for it; empty: none."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror:
        return ""
    return str(found[0][4][0])


def _in_hosts(name: str) -> str:
    """The first address that the hosts file gives to this name."""
    for line in HOSTS.read_text().splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name in names and "." in address:
            return address
    return ""


def _is_loopback(address: str) -> bool:
    return bool(address) and ipaddress.ip_address(address).is_loopback


def hold_ports(address: str, count: int, preferred: int | None = None, *, only: bool = False) -> list[socket.socket]:
    """A row of so many free ports, held: nobody else gets one while the sockets are open, but daemons may listen there.

    That holds between clusters that are started at the same time, whoever starts them: these bind without
    SO_REUSEADDR first, which the kernel grants to one alone, and only then permit that their daemons, which bind with
    it, join them. Ports lie below those that the kernel gives to outgoing connections.
    """
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    top = min(low, 32_000) if low > 12_000 else 32_000
    firsts = [] if preferred is None else [preferred]
    if not only:
        firsts += (random.randrange(10_000, top - count) for _ in range(200))
    for first in firsts:
        if held := _row(address, first, count):
            return held
    row = f"{firsts[0]} to {firsts[0] + count - 1}" if only else "in a row"
    raise Trouble(f"no {count} free ports {row} on {address}: say --port FIRST for others")


def _row(address: str, first: int, count: int) -> list[socket.socket]:
    held: list[socket.socket] = []
    try:
        for port in range(first, first + count):
            held.append(socket.socket())
            held[-1].bind((address, port))
    except OSError:
        for bound in held:
            bound.close()
        return []
    for bound in held:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held


def listeners() -> list[tuple[str, int, str]]:
    """Address, port and inode of each TCP socket on this machine that listens."""
    found = []
    for table in "/proc/net/tcp", "/proc/net/tcp6":
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == "0A":
                address, port = fields[1].split(":")
                found.append((_address(address), int(port, 16), fields[9]))
    return found


def _address(text: str) -> str:
    """From the kernel's hexadecimal words, each in the machine's own order of bytes."""
    words = [bytes.fromhex(text[start : start + 8]) for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)))
