"""Change packages in a guest by its own package manager, through the appliance's network."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import Customize

_APT = "export DEBIAN_FRONTEND=noninteractive\napt-get -q -y -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold"


# invoke-rc.d(8) of Debian's asks it; 101 is: not allowed. Elsewhere systemctl sees by itself that nothing runs.
_POLICY, _FORBID = "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"


@dataclass(frozen=True)
class _Manager:
    """The commands of one package manager; names follow them."""

    refresh: str
    update: str
    install: str
    remove: str


_MANAGERS = {
    "apt": _Manager(
        f"{_APT} update", f"{_APT} dist-upgrade", f"{_APT} install --no-install-recommends", f"{_APT} purge"
    ),
    "dnf": _Manager("true", "dnf -q -y upgrade", "dnf -q -y install", "dnf -q -y remove"),
    "yum": _Manager("true", "yum -q -y update", "yum -q -y install", "yum -q -y remove"),
    "zypper": _Manager(
        "zypper -n -q refresh", "zypper -n -q update", "zypper -n -q install", "zypper -n -q remove --clean-deps"
    ),
    "apk": _Manager("apk -q update", "apk -q upgrade", "apk -q add", "apk -q del"),
    "pacman": _Manager(
        "pacman -Sy", "pacman -Su --noconfirm", "pacman -S --noconfirm --needed", "pacman -R --noconfirm"
    ),
}


def needs_network(customize: Customize) -> bool:
    """Return whether the appliance has to reach the guest's repositories."""
    return customize.update or bool(customize.packages)


def change(system: GuestSystem, customize: Customize) -> None:
    """Update, install and remove packages as the recipe says."""
    if not (needs_network(customize) or customize.remove_packages):
        return
    manager = _manager(system)
    with _no_services_started(system):
        if needs_network(customize):
            system.run(manager.refresh, "reading the package repositories")
        if customize.update:
            system.run(manager.update, "updating the packages")
        if customize.packages:
            system.run(_command(manager.install, customize.packages), f"installing {', '.join(customize.packages)}")
        if customize.remove_packages:
            system.run(_command(manager.remove, customize.remove_packages), "removing packages")


@contextlib.contextmanager
def _no_services_started(system: GuestSystem) -> Iterator[None]:
    """Have packages start no services while they are installed, by Debian's own way; a guest's own policy stays."""
    if system.identity.package_tool != "apt" or system.exists(_POLICY):
        yield
        return
    system.write(_POLICY, _FORBID, mode=0o755)
    try:
        yield
    finally:
        # An appliance that has died has its own error, which this one must not hide.
        with contextlib.suppress(RuntimeError):
            system.change(_POLICY, lambda: system.handle.rm_f(_POLICY))


def _manager(system: GuestSystem) -> _Manager:
    tool = system.identity.package_tool
    if tool not in _MANAGERS:
        raise PipelineError(
            "the guest has no package manager" if not tool else f"packages of {tool} cannot be changed here",
            hint="leave update, packages and remove_packages out of customize",
        )
    return _MANAGERS[tool]


def _command(start: str, names: Sequence[str]) -> str:
    return f"{start} {shlex.join(names)}"
