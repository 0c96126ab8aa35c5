"""What runs for a cluster: how each daemon is started, how one knows that it answers, and what jobs leave behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from onemachine import cluster, network, packages
from onemachine.processes import Daemon
from onemachine.slurm import conf
from onemachine.slurm.folder import Folder
from onemachine.trouble import Trouble

PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
ACCOUNTING = {
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "/usr/lib/*/slurm-wlm/accounting_storage_mysql.so": "slurm-wlm-mysql-plugin",
}
CENTRAL = ("munged", "mariadbd", "slurmdbd", "slurmctld")  # each needs those before it


def needed(*, accounting: bool) -> dict[str, str]:
    """Debian's packages, by what they bring that we need."""
    return {**PACKAGES, **(ACCOUNTING if accounting else {})}


class Daemons(cluster.Daemons):
    """Those that the files of a folder speak of."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._text = folder.conf.read_text()
        self.nodes = conf.node_names(self._text)
        self.accounting = "dbd" in conf.value(self._text, "AccountingStorageType")
        central = CENTRAL if self.accounting else ("munged", "slurmctld")
        self.all = {name: self._daemon(name) for name in [*central, *self.nodes]}

    def log(self, name: str) -> Path:
        if name in ("munged", "mariadbd"):
            return self.all[name].output
        return self._folder / "log" / (f"slurmd.{name}.log" if name in self.nodes else f"{name}.log")

    def start(self, name: str) -> bool:
        """Start one, and wait until it answers. A node answers through the controller."""
        daemon = self.all[name]
        if name == "munged":
            self._make_key()
        if name == "mariadbd":
            self._make_tables()
        if name in self.nodes:
            (self._folder / "spool" / name).mkdir(exist_ok=True)
        if not daemon.start():
            return False
        if name in CENTRAL:
            daemon.ready(lambda: self._answers(name))
        return True

    def stop(self, number: int, keep: Sequence[str] = ()) -> None:
        """Nodes first, all at once; then each before those that it needs."""
        for name in self.nodes:
            if process := self.all[name].process():
                process.send(number)
        for name in [*self.nodes, *reversed(CENTRAL)]:
            if name in self.all and name not in keep:
                self.all[name].stop(number)

    def _daemon(self, name: str) -> Daemon:
        database, munge = self._folder / "database", self._folder / "munge"
        options = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        argv = {
            # --force: a folder below one that others may write to is not refused.
            "munged": ["munged", "--foreground", "--force", "--num-threads=2"]
            + [f"--{option}={munge}/{file}" for option, file in options.items()],
            "mariadbd": [*_mariadbd(database), f"--socket={database}/socket"],
            "slurmdbd": ["slurmdbd", "-D"],
            "slurmctld": ["slurmctld", "-D"],
        }.get(name, ["slurmd", "-D", "-N", name])
        user = {"munged": "munge", "mariadbd": "slurm"}.get(name)  # the others change to theirs themselves
        return Daemon(
            name=name,
            argv=[packages.program(argv[0]) or argv[0], *argv[1:]],
            record=self._folder / "run" / f"{name}.pid",
            output=self._folder / "run" / f"{name}.out",
            environ=environ(self._folder),
            user=self._folder.user(user) if user else None,
        )

    def _answers(self, name: str) -> bool:
        if name in ("munged", "mariadbd"):
            with socket.socket(socket.AF_UNIX) as trial:
                part = "munge" if name == "munged" else "database"
                return trial.connect_ex(os.fsencode(self._folder / part / "socket")) == 0
        port = int(conf.value(self._text, "SlurmctldPort")) + (name == "slurmdbd")
        return any(port == taken for _, taken, _ in network.listeners())

    def _make_key(self) -> None:
        key = self._folder / "munge" / "key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(os.urandom(1024))
            key.chmod(0o400)
            self._folder.give(key, "munge")

    def _make_tables(self) -> None:
        """MariaDB's own. It asks nobody who he is: who reaches its socket, in a private folder, may do all."""
        data = self._folder / "database" / "data"
        if (data / "mysql").is_dir():
            return
        script = next(Path("/usr/share").glob("m*/m*_system_tables.sql"), None)
        if script is None:
            raise Trouble("MariaDB's mysql_system_tables.sql is not below /usr/share: install mariadb-server-core")
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        self._folder.give(data, "slurm")
        made = subprocess.run(
            [*_mariadbd(data.parent), "--bootstrap"],
            input="CREATE DATABASE mysql;\nUSE mysql;\n" + script.read_text(),
            user=self._folder.user("slurm"),
            group=self._folder.user("slurm"),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if made.returncode:
            shutil.rmtree(data)
            raise Trouble(f"MariaDB cannot make its tables:\n{made.stderr[-2000:]}")


def environ(folder: Folder) -> dict[str, str]:
    """What Slurm's programs need to find this cluster."""
    # What says how jobs are to be submitted is not for daemons.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SALLOC"))}
    return {
        **kept,
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *packages.SBIN]),
        "SLURM_CONF": str(folder.conf),
        "MYSQL_UNIX_PORT": f"{folder / 'database'}/socket",  # slurmdbd.conf has no word for it
        "LC_ALL": "C",
    }


def _mariadbd(database: Path) -> list[str]:
    program = packages.program("mariadbd") or "mariadbd"
    small = ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--performance-schema=OFF"]
    quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900", "--skip-name-resolve"]
    if os.geteuid() == 0:
        quick.append("--user=root")  # that this is so on purpose; ignored where it is started as another one
    alone = ["--no-defaults", "--skip-networking", "--skip-grant-tables", f"--pid-file={database}/pid"]
    return [program, *alone, f"--datadir={database}/data", *small, *quick]
