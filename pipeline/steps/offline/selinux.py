"""Prepare SELinux in a guest that was changed from outside: files that were written offline carry no label."""

from __future__ import annotations

import re

from pipeline.host.guestfs.guest_system import GuestSystem

_CONFIG = "/etc/selinux/config"
_IN_USE = re.compile(r"^\s*SELINUX=(enforcing|permissive)\b", re.MULTILINE)
# What rc.sysinit of release 6 and selinux-autorelabel of later ones look for at the start.
MARK = "/.autorelabel"


def relabel_at_start(system: GuestSystem) -> bool:
    """Have a guest that uses SELinux label all its files at its first start; whether it does.

    The appliance of this machine may have no policy of the guest's to label by, so the guest does it itself.
    """
    if not _IN_USE.search(system.read(_CONFIG)):
        return False
    if not system.exists(MARK):
        system.write(MARK, b"", mode=0o644)
    return True
