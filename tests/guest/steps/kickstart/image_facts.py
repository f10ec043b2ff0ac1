"""What the operator's guide wants to see in a finished image, looked up by libguestfs."""

from __future__ import annotations

import contextlib
import io
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem

CARD = "TYPE=Ethernet\nDEVICE=eth0\nONBOOT=yes\nBOOTPROTO=dhcp\nNM_CONTROLLED=no\n"


@contextlib.contextmanager
def opened(image: Path, cache: Path, scratch: Path) -> Iterator[GuestSystem]:
    scratch.mkdir(parents=True, exist_ok=True)
    log = io.BytesIO()
    appliance = Appliance(accelerator="tcg", cache=cache, scratch=scratch, log=log)
    with appliance.launched([Drive(image, "qcow2", read_only=True)]) as handle:
        yield GuestSystem.open(handle, log)


def has(path: Path, words: bytes) -> bool:
    """Whether these bytes stand anywhere in a file."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(words) >= 0


def mode(system: GuestSystem, path: str) -> str:
    return f"{system.handle.statns(path)['st_mode'] & 0o7777:04o}"


def common(system: GuestSystem) -> dict[str, Any]:
    """The facts that hold for both releases, by what they are about; each is true in a good image."""
    cloud = system.read("/etc/cloud/cloud.cfg").splitlines()
    modules = cloud[cloud.index("cloud_init_modules:") + 1 :]
    modules = modules[: modules.index("")]
    shadow = {line.split(":")[0]: line.split(":")[1] for line in system.read("/etc/shadow").splitlines()}
    return {
        "card": system.read("/etc/sysconfig/network-scripts/ifcfg-eth0") == CARD,
        "card's mode": mode(system, "/etc/sysconfig/network-scripts/ifcfg-eth0") == "0644",
        "resolv-conf": modules.count(" - resolv-conf") == 1,
        "metadata route": system.read("/etc/sysconfig/network").splitlines().count("NOZEROCONF=yes") == 1,
        "default user": "name: cloud-user" in system.read("/etc/cloud/cloud.cfg.d/90-default-user.cfg"),
        "datasources": "datasource_list: [NoCloud, ConfigDrive, OpenStack, Ec2, None]"
        in system.read("/etc/cloud/cloud.cfg.d/91-image.cfg"),
        "growth": "growpart: {mode: auto" in system.read("/etc/cloud/cloud.cfg.d/91-image.cfg"),
        "root is locked": shadow["root"].startswith("!"),
        "shadow's mode": mode(system, "/etc/shadow") in ("0000", "0600"),
        "no build repositories": system.glob("/etc/yum.repos.d/*") == [],
        "no subscription": system.glob("/etc/pki/consumer/*") + system.glob("/etc/pki/entitlement/*") == [],
        "no rules for one card": not system.exists("/etc/udev/rules.d/70-persistent-net.rules"),
        "no kickstart": not system.exists("/root/anaconda-ks.cfg"),
        "no logs": system.glob("/var/log/anaconda*") + system.glob("/var/log/*.log*") == [],
        "no seed of chance": not system.exists("/var/lib/random-seed"),
        "labels at the first start": system.exists("/.autorelabel"),
    }
