"""A Slurm of one machine, as Debian's slurm-wlm and munge have it, for as long as a test runs; needs root."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

#: No accounting, so that only slurmctld knows of finished jobs, for as long as MinJobAge.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

#: Where commands look for it; jobs are not told of another place, as Snakemake's plugin clears SLURM_CONF for them.
PLACE = Path("/etc/slurm/slurm.conf")

TOOLS = ("slurmctld", "slurmd", "munged", "sbatch")
AVAILABLE = os.geteuid() == 0 and all(map(shutil.which, TOOLS)) and not PLACE.exists()


@contextmanager
def slurm(home: Path) -> Iterator[None]:
    """Start it for commands such as ``sbatch``."""
    home.mkdir(mode=0o755, parents=True)
    for folder in ("state", "spool"):
        (home / folder).mkdir()
    (home / "munge.key").write_bytes(os.urandom(1024))
    (home / "munge.key").chmod(0o400)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    values = {"host": socket.gethostname(), "home": home, "cpus": os.cpu_count(), "memory": memory, "ports": ports}
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(CONFIGURATION.format(**values))
    places = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    commands = [
        ["munged", "--foreground", "--force", *(f"--{name}={home}/munge.{end}" for name, end in places.items())],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-c", "-N", socket.gethostname()],
    ]
    started = []
    try:
        for command in commands:
            with open(home / f"{command[0]}.log", "wb") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
            time.sleep(1)
        for _ in range(60):
            told = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout.strip()
            if told == "idle":
                break
            time.sleep(0.5)
        else:
            raise AssertionError(f"Slurm does not come up ({told}); its logs are in {home}")
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)
        PLACE.unlink()
