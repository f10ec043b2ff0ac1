"""A Ceph cluster of one monitor and one OSD on loopback, with the pool ``images``, and on top of it an S3 gateway.

``memory=True`` keeps all data in RAM (an OSD is up in five seconds); otherwise it is a sparse file of 20 GiB. There is
no manager daemon, since block images and the gateway need none. Users: ``admin``, and ``glance``, who may use the pool.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.host.system import process
from tests.environments.daemon import daemon, free_port, listens, program, scratch, wait_until

POOL = "images"
ACCESS_KEY = "for-tests-only"
SECRET_KEY = "for-tests-only-secret"

_CONF = """
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{msgr2},v1:127.0.0.1:{msgr1}]
public_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$name.$pid.asok
log_file = {folder}/log/$name.log
pid_file = {folder}/run/$name.pid
crash_dir = {folder}/log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_warn_on_pool_no_redundancy = false
ms_bind_ipv6 = false
mgr_initial_modules =
[mon]
mon_data = {folder}/mon
mon_data_avail_crit = 1
# Else every change of the cluster's maps, a snapshot for one, costs a second.
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
[osd]
osd_data = {folder}/osd
osd_memory_target = 1073741824
# How soon a client that has gone is missed.
osd_client_watch_timeout = 5
{objectstore}
[client.rgw.a]
rgw_data = {folder}/rgw
keyring = {folder}/rgw/keyring
rgw_frontends = beast endpoint=127.0.0.1:{gateway}
rgw_rados_pool_pg_num_min = 1
rgw_thread_pool_size = 32
"""
_MEMSTORE = "osd_objectstore = memstore\nmemstore_device_bytes = 8589934592"
_BLUESTORE = (
    "osd_objectstore = bluestore\nbluestore_block_create = true\nbluestore_block_size = 21474836480\n"
    "bluestore_block_db_create = false\nbluestore_block_wal_create = false"
)


@dataclass(frozen=True)
class Ceph:
    """A running cluster. ``conf`` is what its clients read; it names the administrator's keyring."""

    folder: Path
    fsid: str
    port: int
    daemons: contextlib.ExitStack

    def start_osd(self) -> None:
        """Start the OSD, for the first time or after ``kill_osd`` (whose data only a cluster on disk still has)."""
        osd, keyring = program("ceph-osd", "ceph-osd"), self.folder / "osd" / "keyring"
        child = self.daemons.enter_context(_running(self, [osd, "-i", "0", "--keyring", keyring], "osd"))
        (self.folder / "osd.pid").write_text(str(child.pid))
        wait_until(lambda: "1 up" in self.command("ceph", "osd", "stat"), "the OSD is up", pause=0.2)

    def signal_osd(self, number: signal.Signals) -> None:
        """Stop, continue or kill the OSD."""
        os.kill(int((self.folder / "osd.pid").read_text()), number)

    def restart_osd(self) -> None:
        """End a stop of the OSD by a new one, and wait until all data can be read.

        After a stop of some ten seconds, what waits for a lease that ran out meanwhile may wait for ever: where there
        is only one OSD, no other one makes it ask again.
        """
        self.signal_osd(signal.SIGKILL)
        os.waitid(os.P_PID, int((self.folder / "osd.pid").read_text()), os.WEXITED | os.WNOWAIT)
        self.start_osd()
        self.command("rados", "--pool", POOL, "ls")  # asks each of the pool's parts

    @property
    def conf(self) -> Path:
        """The cluster's ``ceph.conf``."""
        return self.folder / "ceph.conf"

    @property
    def glance_conf(self) -> Path:
        """A ``ceph.conf`` with the keyring of the user ``glance``."""
        return self.folder / "glance.conf"

    def command(self, *words: str | Path) -> str:
        """Run ``ceph``, ``rbd`` or another client of the cluster, and return what it prints."""
        return process.run([words[0], "-c", self.conf, *words[1:]], timeout=120).stdout


@contextlib.contextmanager
def ceph(*, memory: bool = True) -> Iterator[Ceph]:
    """Run the cluster; ready in about five seconds, or ten with bluestore."""
    mon, osd = program("ceph-mon", "ceph-mon"), program("ceph-osd", "ceph-osd")
    program("rbd", "ceph-common")
    with scratch("ceph") as folder, contextlib.ExitStack() as daemons:
        for name in ("mon", "osd", "run", "log", "rgw"):
            (folder / name).mkdir()
        cluster = Ceph(folder, str(uuid.uuid4()), free_port(), daemons)
        _write_conf(cluster, memory)
        _make_monitor(cluster, mon)
        daemons.enter_context(_running(cluster, [mon, "-i", "a"], "mon"))
        _make_osd(cluster, osd)
        cluster.start_osd()
        _make_pool(cluster)
        yield cluster


@contextlib.contextmanager
def gateway(cluster: Ceph) -> Iterator[str]:
    """Run the S3 gateway of ``cluster`` for a user with ``ACCESS_KEY`` and ``SECRET_KEY``; yields its URL."""
    radosgw, admin = program("radosgw", "radosgw"), program("radosgw-admin", "radosgw")
    keyring = cluster.folder / "rgw" / "keyring"
    caps = ("mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw")
    cluster.command("ceph", "auth", "get-or-create", "client.rgw.a", *caps, "-o", keyring)
    words = ["user", "create", "--uid=glance", "--display-name=Glance"]
    with _running(cluster, [radosgw, "-n", "client.rgw.a", "-k", keyring], "rgw", cluster.port):
        keys = [f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"]
        process.run([admin, "-c", cluster.conf, *words, *keys], timeout=120)
        yield f"http://127.0.0.1:{cluster.port}"


def _running(
    cluster: Ceph, command: list[str | Path], name: str, port: int | None = None
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A daemon in the foreground (-f), ready at once unless it is to listen on ``port``."""
    words = [command[0], "-f", "-c", cluster.conf, *command[1:]]
    return daemon(
        words,
        ready=lambda: port is None or listens(port),
        log=cluster.folder / "log" / f"{name}.out",
        # Nothing on the disk is kept, so nothing is lost; an orderly end would take seconds.
        stop=signal.SIGKILL,
    )


def _write_conf(cluster: Ceph, memory: bool) -> None:
    conf = _CONF.format(
        fsid=cluster.fsid,
        folder=cluster.folder,
        msgr1=free_port(),
        msgr2=free_port(),
        gateway=cluster.port,
        objectstore=_MEMSTORE if memory else _BLUESTORE,
    )
    cluster.conf.write_text(conf)
    keyring = f"{cluster.folder}/keyring"
    cluster.glance_conf.write_text(conf.replace(keyring, f"{cluster.folder}/glance.keyring"))


def _make_monitor(cluster: Ceph, mon: Path) -> None:
    keyring, monmap = cluster.folder / "keyring", cluster.folder / "monmap"
    everything = ("mon", "osd", "mds", "mgr")
    process.run(["ceph-authtool", "-C", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"])
    caps = [word for kind in everything for word in ("--cap", kind, "allow *")]
    process.run(["ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *caps])
    addresses = next(line for line in cluster.conf.read_text().splitlines() if line.startswith("mon_host"))
    address = addresses.partition(" = ")[2]
    process.run(["monmaptool", "--create", "--clobber", "--fsid", cluster.fsid, "--addv", "a", address, monmap])
    process.run([mon, "-c", cluster.conf, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring])


def _make_osd(cluster: Ceph, osd: Path) -> None:
    identifier, keyring = str(uuid.uuid4()), cluster.folder / "osd" / "keyring"
    cluster.command("ceph", "osd", "new", identifier)
    caps = ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *")
    cluster.command("ceph", "auth", "get-or-create", "osd.0", *caps, "-o", keyring)
    process.run([osd, "-c", cluster.conf, "-i", "0", "--mkfs", "--osd-uuid", identifier, "--keyring", keyring])


def _make_pool(cluster: Ceph) -> None:
    cluster.command("ceph", "osd", "pool", "create", POOL, "4")
    cluster.command("rbd", "pool", "init", POOL)
    pool = f"profile rbd pool={POOL}"
    caps = ("mon", "profile rbd", "osd", pool, "mgr", pool)
    cluster.command("ceph", "auth", "get-or-create", "client.glance", *caps, "-o", cluster.folder / "glance.keyring")
