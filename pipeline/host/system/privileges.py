"""Start a program that can do less than we can, and that dies when we do.

A hypervisor works on hostile bytes. Started by root it runs as a user of its own without any privilege, and gets
what it needs as open file descriptors; started by an ordinary user it runs as that user. Either way the kernel kills
it when the pipeline dies, even by SIGKILL.
"""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Sequence
from pathlib import Path

# Ids that distributions leave to short-lived service users (systemd's UIDS-GIDS document, "dynamic service users").
_FIRST, _LAST = 61184, 65519


def throwaway_user() -> int | None:
    """Return a user id that nobody has, for one guest; ``None`` when we are not root and cannot become anyone else."""
    if os.geteuid() != 0:
        return None
    while True:
        user = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
        try:
            pwd.getpwuid(user)
        except KeyError:
            return user


def confined(command: Sequence[str], *, user: int | None, groups: Sequence[int] = ()) -> list[str]:
    """Return ``command`` as one that cannot gain privileges and ends with the calling thread.

    ``user``: the id to become (only root can), with ``groups`` as its further groups. A prctl(2) parent-death signal
    is lost if the parent died before it was set, hence the comparison of the parent's id right behind it.
    """
    words = ["setpriv", "--no-new-privs", "--pdeathsig", "KILL"]
    if user is not None:
        words += ["--reuid", str(user), "--regid", str(user), "--inh-caps", "-all", "--bounding-set", "-all"]
        words += ["--groups", ",".join(str(group) for group in groups)] if groups else ["--clear-groups"]
    still_ours = 'test "$PPID" = "$1" || exit 1; shift; exec "$@"'
    return [*words, "--", "sh", "-c", still_ours, "confined", str(os.getpid()), *command]


def groups_for(accelerator: str) -> list[int]:
    """Return the groups a guest's user needs to reach ``accelerator``."""
    device = Path("/dev/kvm")
    return [device.stat().st_gid] if accelerator == "kvm" and device.exists() else []
