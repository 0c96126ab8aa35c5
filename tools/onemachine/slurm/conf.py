"""The texts of Slurm's configuration files: where everything is, and how a small quick cluster is set up."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from onemachine import settings
from onemachine.settings import Settings
from onemachine.trouble import Trouble

HEAD = "# Written by tools/slurm of weft, which writes it again when it changes: what you change here is lost.\n"

# What a user may say otherwise. Slurm's own default where it differs much.
VALUES = {
    "MinJobAge": "300",  # seconds for which the controller knows jobs that have ended
    "KillWait": "3",  # seconds between SIGTERM and SIGKILL; Slurm's own: 30
    "MaxArraySize": "10001",
    "MaxJobCount": "20000",
    "SlurmdTimeout": "10",  # seconds until a node that does not answer is down; Slurm's own: 300
    "MessageTimeout": "10",
    "SlurmctldTimeout": "30",
    "InactiveLimit": "0",
    "ReturnToService": "1",  # a node that comes back is used again, unless it was set down
    "JobRequeue": "1",
    "SlurmctldDebug": "info",
    "SlurmdDebug": "info",
    "ProctrackType": "proctrack/linuxproc",
    "TaskPlugin": "task/none",
    "MpiDefault": "none",
    "JobAcctGatherType": "jobacct_gather/linux",
    "JobAcctGatherFrequency": "task=1",
    "JobAcctGatherParams": "OverMemoryKill",  # too much memory is seen once a second, without control groups
    "SelectType": "select/cons_tres",
    "SelectTypeParameters": "CR_Core_Memory",
    "SlurmdParameters": "config_overrides",  # as many CPUs as we say, whatever the machine has
    "SchedulerType": "sched/backfill",
    # A job starts within a second; as Slurm comes, it takes about three.
    "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1,bf_continue,"
    "default_queue_depth=10000,bf_max_job_test=1000",
    "PriorityType": "priority/basic",
    "PreemptType": "preempt/partition_prio",
    "PreemptMode": "REQUEUE",
    "GresTypes": "gpu",
    "JobCompType": "jobcomp/filetxt",
}
REQUEUE_DELAY = 5  # a job that is requeued waits for so many seconds and one more; Slurm's own: 120

# Of the process that looks after a job, where slurmd finds it again; one that is cut off lets no job start.
LONGEST_SOCKET = "/spool/n999/n999_99999999.4294967295"

PARTITIONS = """\
PartitionName=DEFAULT  Nodes=ALL State=UP MaxTime=INFINITE PriorityTier=5 PreemptMode=OFF DefMemPerCPU=100
PartitionName=debug    Default=YES DefaultTime=60
PartitionName=short    MaxTime=2 DefaultTime=1
PartitionName=half     Nodes={half}
PartitionName=shared   OverSubscribe=FORCE:4
PartitionName=scavenge PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent   PriorityTier=10
PartitionName=gpu      Nodes={last}
PartitionName=closed   State=DOWN
"""


@dataclass(frozen=True)
class Shape(settings.Shape):
    """What the cluster is to look like. Its settings are lines of slurm.conf."""

    nodes: int = 4
    accounting: bool = False

    def __str__(self) -> str:
        return f"{super().__str__()}{', with accounting' if self.accounting else ''}"


@dataclass(frozen=True)
class Place:
    """Where the cluster is: its folder, the host and its loopback address, the first of its ports, and for whom."""

    folder: Path
    host: str
    address: str
    port: int  # slurmctld; the next one slurmdbd, then one for each node
    user: str  # of slurmctld and slurmdbd
    slurmd_user: str

    @property
    def name(self) -> str:
        return cluster_name(self.folder)

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    def node_port(self, number: int) -> int:
        return self.port + 1 + number


def cluster_name(folder: Path) -> str:
    """Unlike any other cluster's on this machine; its jobs have it in their environment."""
    return f"weft{hashlib.sha256(bytes(folder)).hexdigest()[:8]}"


def check_folder(folder: Path) -> None:
    """Trouble when Slurm cannot have its files there."""
    if found := re.search(r'["#\\,%\x00-\x1f\x7f]', str(folder)):
        raise Trouble(f"Slurm cannot have a folder with {found[0]!r} in its path: {str(folder)!r}. Take another one.")
    has, room = len(bytes(folder)), 107 - len(LONGEST_SOCKET)  # 107: what the path of a socket may have
    if has > room:
        raise Trouble(
            f"the path of the folder has {has} bytes, and may have {room}, since there are sockets in it:\n"
            f"{folder}\nTake a shorter one, such as /tmp/slurm."
        )


def slurm_conf(place: Place, shape: Shape) -> str:
    """The text of slurm.conf."""
    values = {**_owned(place, shape), **VALUES, **dict(shape.settings)}
    lines = [f"{key}={_quoted(value)}" for key, value in values.items()]
    lines.append("")
    for number, name in enumerate(shape.names, 1):
        gpus = " Gres=gpu:2" if number == shape.nodes else ""
        lines.append(
            f"NodeName={name} NodeHostname={place.host} NodeAddr={place.address} Port={place.node_port(number)} "
            f"CPUs={shape.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={shape.cpus} ThreadsPerCore=1 "
            f"RealMemory={shape.memory}{gpus} State=UNKNOWN"
        )
    half, last = f"n[1-{(shape.nodes + 1) // 2}]", shape.names[-1]
    return HEAD + "\n".join(lines) + "\n\n" + PARTITIONS.format(half=half, last=last)


def _owned(place: Place, shape: Shape) -> dict[str, str]:
    folder = place.folder
    accounting = {"AccountingStorageType": "accounting_storage/none"}
    if shape.accounting:
        accounting = {
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "AccountingStorageHost": place.address,
            "AccountingStoragePort": str(place.port + 1),
            "AccountingStoragePass": str(place.munge_socket),  # what Slurm calls it; AuthInfo does not hold here
        }
    return {
        "ClusterName": place.name,
        "SlurmctldHost": f"{place.host}({place.address})",
        "SlurmctldPort": str(place.port),
        "SlurmUser": place.user,
        "SlurmdUser": place.slurmd_user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={place.munge_socket},cred_expire={REQUEUE_DELAY}",
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",  # loopback only, and not every address
        "StateSaveLocation": f"{folder}/state",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": f"{folder}/state/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/spool/%n.pid",
        "SlurmctldLogFile": f"{folder}/log/slurmctld.log",
        "SlurmdLogFile": f"{folder}/log/slurmd.%n.log",
        "JobCompLoc": f"{folder}/log/jobcomp.log",
        **accounting,
    }


def slurmdbd_conf(place: Place) -> str:
    """The text of slurmdbd.conf. The database is reached through a socket in the folder, without a password."""
    values = {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={place.munge_socket}",
        "DbdHost": place.host,
        "DbdAddr": place.address,
        "DbdPort": str(place.port + 1),
        "CommunicationParameters": "NoInAddrAny",
        "SlurmUser": place.user,
        "LogFile": f"{place.folder}/log/slurmdbd.log",
        "PidFile": f"{place.folder}/state/slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": place.user,
        "CommitDelay": "1",
    }
    return HEAD + "".join(f"{key}={_quoted(value)}\n" for key, value in values.items())


def gres_conf(shape: Shape) -> str:
    """The text of gres.conf: two GPUs, for which any device files will do."""
    return HEAD + "".join(f"NodeName={shape.names[-1]} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero"))


CGROUP_CONF = HEAD + "CgroupPlugin=cgroup/v1\n"  # not used; Slurm would look for one and complain


def value(text: str, key: str) -> str:
    """What a configuration file that was written here says of this."""
    found = re.search(rf'^{key}="?([^"\n]*)"?$', text, re.MULTILINE)
    if not found:
        raise Trouble(f"there is no {key} in its slurm.conf: take it down with --wipe, and up again")
    return found[1]


def node_names(text: str) -> list[str]:
    """Of a slurm.conf that was written here."""
    return re.findall(r"^NodeName=(\S+)", text, re.MULTILINE)


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) else value


_OURS = {key.lower() for key in _owned(Place(Path("/"), "", "", 0, "", ""), Shape(accounting=True))}
SETTINGS = Settings(
    VALUES,
    form="[A-Za-z]+",
    ours=_OURS | {"nodename", "partitionname"},
    ours_are="up to tools/slurm; see --help for --port, --nodes, --accounting, --rootless",
    wrong="write KEY=VALUE as in slurm.conf, such as KillWait=30",
)
