"""Bootstrap a Debian root file system as a folder, from signed packages, without root where the kernel allows it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.host.system import process, user_namespace
from pipeline.recipes.model.debian import DebianInstall
from pipeline.steps.reproducible import EPOCH

# What makes a system a cloud image: kernel, init, datasources, growth of the disk, both loaders, remote access.
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "apt-utils", "ca-certificates"),
    *("cloud-init", "cloud-guest-utils", "netplan.io", "systemd-resolved", "systemd-timesyncd", "iproute2"),
    *("openssh-server", "sudo", "qemu-guest-agent", "grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"),
    *("e2fsprogs", "dosfstools", "zstd", "locales", "tzdata"),
)
_HINT = "apt install mmdebstrap debian-archive-keyring; the step's log has all that mmdebstrap and apt said"
_ARCHIVES = "/var/cache/apt/archives"


@dataclass(frozen=True)
class BootstrapDirs:
    """Where a bootstrap works: ``scratch`` is private to this run, ``packages`` keeps what it fetched for the next."""

    scratch: Path
    packages: Path
    log: IO[bytes]


def sources(install: DebianInstall, mirror: str, security: str | None) -> list[str]:
    """Return the lines of the archive's sources."""
    suites = [(mirror, install.suite), (mirror, f"{install.suite}-updates")]
    if security is not None:
        suites.append((security, f"{install.suite}-security"))
    return [f"deb [signed-by={install.keyring}] {location} {suite} main" for location, suite in suites]


def run(
    install: DebianInstall, lines: Sequence[str], early: Mapping[str, str], root: Path, workplace: BootstrapDirs
) -> list[dict[str, Any]]:
    """Bootstrap into the new folder ``root``; return the packages it is made of, for the provenance.

    Raises ``PipelineError`` with apt's last words.

    ``early`` are files (path in the guest → content) that packages read while they are configured.
    """
    if not Path(install.keyring).is_file():
        raise PipelineError(f"the archive's keys are not here: {install.keyring}", hint=_HINT)
    scratch = workplace.scratch
    before, after, files = (scratch / name for name in ("packages", "new-packages", "early"))
    before.mkdir()
    after.mkdir()
    _link(workplace.packages, before)
    words = ["mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory"]
    words += [f"--include={','.join(dict.fromkeys((*PACKAGES, *install.packages)))}"]
    words += ['--aptopt=Acquire::Retries "3"', '--aptopt=Acquire::http::Timeout "60"']
    # Another user, whom apt would fetch as, cannot enter a private folder; and what he owned would outlive a kill.
    words += ['--aptopt=APT::Sandbox::User "root"']
    words += ["--skip=download/empty", "--skip=essential/unlink"]
    words += [
        f'--setup-hook=mkdir -p "$1{_ARCHIVES}"',
        f"--setup-hook={shlex.join(('sync-in', str(before), _ARCHIVES))}",
    ]
    for number, (path, content) in enumerate(early.items()):
        source = files / str(number)
        files.mkdir(exist_ok=True)
        source.write_text(content)
        words += [
            f'--essential-hook=mkdir -p "$1{Path(path).parent}"',
            f"--essential-hook={shlex.join(('upload', str(source), path))}",
        ]
    words += [f"--customize-hook={shlex.join(('sync-out', _ARCHIVES, str(after)))}"]
    # What this run told apt is nothing for the guest.
    words += ['--customize-hook=rm "$1/etc/apt/apt.conf.d/99mmdebstrap"', install.suite, str(root), *lines]
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(scratch)}
    process.run(user_namespace.as_root(words), timeout=None, log=workplace.log, env=environment, hint=_HINT)
    taken = [_origin(file) for file in sorted(after.glob("*.deb"))]
    _keep(after, workplace.packages)
    return taken


def _origin(file: Path) -> dict[str, Any]:
    """Return a package as a provenance names it. File names spell colons of versions %3a, as package URLs want them."""
    name, version, architecture = file.stem.split("_")
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    uri = f"pkg:deb/debian/{name}@{version}?arch={architecture}"
    return {"name": file.name, "uri": uri, "digest": {"sha256": digest}}


def _link(source: Path, target: Path) -> None:
    """Link the kept packages into a folder of this run: another run may replace them meanwhile."""
    for file in source.glob("*.deb"):
        with contextlib.suppress(FileNotFoundError):
            os.link(file, target / file.name)


def _keep(source: Path, target: Path) -> None:
    """Keep exactly the packages of this run; each appears whole."""
    target.mkdir(parents=True, exist_ok=True)
    used = set()
    for file in source.glob("*.deb"):
        used.add(file.name)
        if not (target / file.name).exists():
            with atomic.new_file(target / file.name) as temporary:
                file.replace(temporary)
    for file in target.glob("*.deb"):
        if file.name not in used:
            file.unlink(missing_ok=True)
