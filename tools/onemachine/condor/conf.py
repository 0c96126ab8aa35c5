"""The text of condor_config: where everything is, and how a small quick pool is set up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onemachine.settings import Settings, Shape
from onemachine.trouble import Trouble

HEAD = "# Written by tools/condor of weft, which writes it again when it changes: what you change here is lost.\n"
ADDRESS = "127.0.0.1"
CENTRAL = ("collector", "negotiator", "schedd")
DOMAIN = "weft.test"  # of users and file systems; no such name exists outside

# What a user may say otherwise. HTCondor's own default where it differs much.
VALUES = {
    # A job starts within a second; as HTCondor comes, it takes up to a minute.
    "NEGOTIATOR_INTERVAL": "1",  # 60
    "NEGOTIATOR_MIN_INTERVAL": "0",  # 5
    "NEGOTIATOR_CYCLE_DELAY": "0",  # 20
    "SCHEDD_INTERVAL": "2",  # 300
    "SCHEDD_MIN_INTERVAL": "0",  # 5
    "UPDATE_INTERVAL": "5",  # 300: of what a startd tells the collector
    "NEGOTIATOR_UPDATE_INTERVAL": "5",  # 300
    "COLLECTOR_UPDATE_INTERVAL": "5",  # 900
    "CLASSAD_LIFETIME": "15",  # 900: a node that says nothing is forgotten within two of these
    "POLLING_INTERVAL": "2",  # 5
    "PERIODIC_EXPR_INTERVAL": "2",  # 60: periodic_remove and the like are looked at
    "MAX_PERIODIC_EXPR_INTERVAL": "10",
    "PID_SNAPSHOT_INTERVAL": "2",  # 15: how much memory a job takes
    "STARTER_INITIAL_UPDATE_INTERVAL": "2",  # 8
    "STARTER_UPDATE_INTERVAL": "5",  # 300
    "SHADOW_QUEUE_UPDATE_INTERVAL": "5",  # 900
    "JOB_START_COUNT": "100",  # 1
    "JOB_START_DELAY": "0",
    "JOB_STOP_COUNT": "100",
    "MAX_JOBS_RUNNING": "1000",
    "CLAIM_PARTITIONABLE_LEFTOVERS": "True",
    # What is quick, and what a pool that is soon gone does not need.
    "CONDOR_FSYNC": "False",
    "RUNBENCHMARKS": "False",
    "STARTD_CRON_JOBLIST": "",
    "SCHEDD_CRON_JOBLIST": "",
    "ENABLE_URL_TRANSFERS": "False",  # starters would try out each of their plugins first
    "JAVA": "",  # nor whether these run
    "DOCKER": "",
    "SINGULARITY": "",
    "MAIL": "/bin/true",
    "CREATE_CORE_FILES": "False",
    "FILESYSTEM_DOMAIN": DOMAIN,  # n2.FILESYSTEM_DOMAIN=elsewhere: as if that node did not see our files
    # Jobs run, whatever else happens on this machine.
    "START": "True",
    "SUSPEND": "False",
    "PREEMPT": "False",
    "KILL": "False",
    "WANT_SUSPEND": "False",
    "WANT_VACATE": "False",
    # DAGMan.
    "DAGMAN_USER_LOG_SCAN_INTERVAL": "1",  # 5
    "DAGMAN_SUBMIT_DELAY": "0",
    "DAGMAN_MAX_SUBMITS_PER_INTERVAL": "1000",  # 100
    "DAGMAN_USE_STRICT": "0",  # or logs below /tmp are an error
}

# A job that takes more memory than it has asked for is held, a few seconds later. Pools of root have control groups, by
# which that comes at once.
POLICY = "use POLICY : HOLD_IF_MEMORY_EXCEEDED\n"


@dataclass(frozen=True)
class Place:
    """Where the pool is: its folder, HTCondor's programs, the collector's port, and whose it is."""

    folder: Path
    release: Path
    port: int
    user: str


def check_folder(folder: Path) -> None:
    """Trouble when HTCondor cannot have its files there."""
    text = str(folder)
    # Macros; what goes on in the next line, or is taken off the end of this one.
    if found := re.search(r"[\x00-\x1f\x7f]|\$+\w*\(|\\$|\s$", text):
        raise Trouble(f"HTCondor cannot have a folder with {found[0]!r} in its path: {text!r}. Take another one.")


def condor_config(place: Place, shape: Shape) -> str:
    """The text of condor_config."""
    parts = _lines(_owned(place, shape)), _lines(VALUES), POLICY, _lines(dict(shape.settings))  # the last one holds
    return HEAD + "\n".join(parts)


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def _owned(place: Place, shape: Shape) -> dict[str, str]:
    folder, me = place.folder, f"{place.user}@{DOMAIN}"
    return {
        "RELEASE_DIR": str(place.release),
        "BIN": "$(RELEASE_DIR)/bin",
        "SBIN": "$(RELEASE_DIR)/sbin",
        "LIB": "$(RELEASE_DIR)/lib/condor",
        "LIBEXEC": "$(RELEASE_DIR)/libexec/condor",
        "SHARE": "$(RELEASE_DIR)/share/condor",
        "LOCAL_DIR": str(folder),
        "LOCAL_CONFIG_FILE": "",
        "LOCAL_CONFIG_DIR": "",
        "REQUIRE_LOCAL_CONFIG_FILE": "False",
        "ETC": "$(LOCAL_DIR)/etc",
        "LOG": "$(LOCAL_DIR)/log",
        "RUN": "$(LOCAL_DIR)/run",
        "LOCK": "$(LOCAL_DIR)/run",
        "SPOOL": "$(LOCAL_DIR)/spool",
        "EXECUTE": "$(LOCAL_DIR)/execute",
        **{f"{name.upper()}_LOG": f"$(LOG)/{name}.log" for name in CENTRAL},
        **{f"{name.upper()}_ADDRESS_FILE": f"$(RUN)/{name}.address" for name in CENTRAL},
        # Loopback only. No names are asked for, since there may be nobody to ask.
        "CONDOR_HOST": ADDRESS,
        "COLLECTOR_HOST": f"{ADDRESS}:{place.port}",
        "NETWORK_INTERFACE": ADDRESS,
        "NETWORK_HOSTNAME": "localhost",
        "BIND_ALL_INTERFACES": "False",
        "ENABLE_IPV6": "False",
        "NO_DNS": "True",
        "DEFAULT_DOMAIN_NAME": DOMAIN,
        "USE_PROCD": "False",  # of nodes alone: see node_environ
        "USE_SHARED_PORT": "False",
        "WANT_UDP_COMMAND_SOCKET": "False",
        "UID_DOMAIN": DOMAIN,
        "TRUST_UID_DOMAIN": "True",
        # For its owner alone, who shows who he is by what he may write.
        "SEC_DEFAULT_AUTHENTICATION": "REQUIRED",
        "SEC_DEFAULT_AUTHENTICATION_METHODS": "FS",
        "COLLECTOR_BOOTSTRAP_SSL_CERTIFICATE": "False",  # it would write one into etc, and take a second for it
        "SEC_DEFAULT_ENCRYPTION": "OPTIONAL",
        "SEC_DEFAULT_INTEGRITY": "OPTIONAL",
        **{f"ALLOW_{what}": me for what in ("READ", "WRITE", "DAEMON", "NEGOTIATOR", "ADMINISTRATOR")},
        **{f"ALLOW_ADVERTISE_{what}": me for what in ("MASTER", "SCHEDD", "STARTD")},
        "ALLOW_CLIENT": "*",  # that is, any server: it is the client alone who shows who he is
        # As many CPUs as we say, whatever the machine has, for jobs of any size.
        "NUM_CPUS": str(shape.cpus),
        "MEMORY": str(shape.memory),
        "NUM_SLOTS": "1",
        "NUM_SLOTS_TYPE_1": "1",
        "SLOT_TYPE_1": "100%",
        "SLOT_TYPE_1_PARTITIONABLE": "True",
        **{key: value for name in shape.names for key, value in _node(name).items()},
        # HTCondor does not ask for resources of one node alone, but for what they are made of.
        "MACHINE_RESOURCE_GPUS": "$(GPUS_HERE)",
        "GPUS_HERE": "",
        f"{shape.names[-1]}.GPUS_HERE": "CUDA0, CUDA1",  # which are none
    }


def _node(name: str) -> dict[str, str]:
    return {
        f"{name}.STARTD_NAME": name,
        f"{name}.EXECUTE": f"$(LOCAL_DIR)/execute/{name}",
        f"{name}.STARTD_LOG": f"$(LOG)/startd.{name}.log",
        f"{name}.STARTD_ADDRESS_FILE": f"$(RUN)/{name}.address",
        f"{name}.STARTD_CLAIM_ID_FILE": f"$(RUN)/{name}.claim",
    }


def family(secret: str, version: str) -> str:
    """What daemons inherit from a condor_master, by which they know each other: CONDOR_PRIVATE_INHERIT.

    Without it they ask each other who they are when they first meet. Where schedd and negotiator both begin with that
    at the same time, each waits for the other's answer before it gives its own, for 20 seconds or 60: one time in ten.
    """
    about = f'Integrity="YES";Encryption="YES";ShortVersion="{version}";CryptoMethods="BLOWFISH";'
    about += 'CryptoMethodsList="AES.BLOWFISH.3DES";'
    return f"FamilySessionKey:family:{secret[:48]}#[{about}]{secret[48:]}"


def node_environ(folder: Path, name: str) -> dict[str, str]:
    """What a node has of its own that its starters must know, who know the name of their slot, and not of the node."""
    return {
        "_CONDOR_STARTER_LOG": f"{folder}/log/starter.{name}.log",
        # One process beside each startd looks after all that its jobs start, and sees how much memory they take.
        "_CONDOR_USE_PROCD": "True",
        "_CONDOR_PROCD_ADDRESS": f"{folder}/run/procd.{name}",
        "_CONDOR_PROCD_LOG": f"{folder}/log/procd.{name}.log",
    }


def port(text: str) -> int:
    """The collector's, of a condor_config that was written here."""
    found = re.search(r"^COLLECTOR_HOST = .*:(\d+)$", text, re.MULTILINE)
    if not found:
        raise Trouble("there is no COLLECTOR_HOST in its condor_config: take it down with --wipe, and up again")
    return int(found[1])


def node_names(text: str) -> list[str]:
    """Of a condor_config that was written here."""
    return re.findall(r"^(\S+)\.STARTD_NAME = ", text, re.MULTILINE)


SETTINGS = Settings(
    VALUES,
    form=r"[A-Za-z0-9_.]+",
    ours={key.lower() for key in _owned(Place(Path("/"), Path("/"), 0, ""), Shape(99))},
    ours_are="up to tools/condor; see --help for --port, --nodes, --cpus, --memory, --rootless",
    wrong="write KEY=VALUE as in condor_config, such as NEGOTIATOR_INTERVAL=60",
)
