"""Be root without being it: a program that needs many users works in a user name space, where nothing of this machine
is.

An ordinary user is root in there, and the other users are ids that ``/etc/subuid`` and ``/etc/subgid`` lend him
(subuid(5)); newuidmap(1) lends them. So the program needs no right on this machine, its files lie in folders that are
private to the user, and when it is killed everything that it started dies with it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

_USERS = ("unshare", "--user", "--map-root-user", "--map-auto")
_APART = ("--mount", "--pid", "--fork", "--kill-child")
# What unshare(1) says → what to do.
_REMEDIES = (
    ("newuidmap", "install uidmap (Fedora and Enterprise Linux: shadow-utils)"),
    ("newgidmap", "install uidmap (Fedora and Enterprise Linux: shadow-utils)"),
    ("/etc/sub", "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"),
    ("don't exist", "work as a user that this machine knows: user ids are lent by name"),
    ("map-auto", "install util-linux 2.38 or newer"),
)
_REFUSED = "allow it: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone (Debian), "
_REFUSED += "kernel.apparmor_restrict_unprivileged_userns (Ubuntu); or build as root"


def as_root(command: Sequence[str]) -> list[str]:
    """Return ``command`` as one that sees itself as root; as it is for root. Raises ``PipelineError`` like
    ``require``.
    """
    if os.geteuid() == 0:
        return list(command)
    require(command[0])
    return [*_USERS, *_APART, "--", *command]


def require(program: str) -> None:
    """Raise ``PipelineError``, with what to do, unless this user can have what ``program`` needs."""
    finished = process.run([*_USERS, "--", "true"], timeout=60, check=False)
    if finished.status != 0:
        raise refusal(program, finished.stderr.strip(), _own_name())


def refusal(program: str, output: str, user: str) -> PipelineError:
    """Return what to tell ``user``, from what unshare(1) said."""
    message = f"{program} needs more users than one, and this user is lent none (user name spaces, subuid(5))"
    remedy = next((remedy for words, remedy in _REMEDIES if words in output), _REFUSED)
    return PipelineError(message, details=output.splitlines()[-3:], hint=remedy.format(user=user))


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
