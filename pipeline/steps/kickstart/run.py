"""Run the installer's guest: by QEMU or by virt-install, watched alike, judged by what it said and how it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.diagnosis.boot_phases import phase
from pipeline.host.install import libvirt, virt_install
from pipeline.host.install.install_tree import InstallTree, TreeInfo
from pipeline.host.media import initramfs, iso
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.guest import Guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process
from pipeline.recipes.model.kickstart import Connection, InstallEngine, KickstartInstall
from pipeline.steps.step import Context

KICKSTART = "ks.cfg"
_NAME = "install"
_LOOK = 2.0  # seconds between looks at the phase
_POWER_OFF = 600.0  # seconds from the sentinel to the end; the installer unmounts and writes its logs


@dataclass(frozen=True)
class Installation:
    """One installation: media that are open, the finished kickstart, further media, and the words of its success."""

    install: KickstartInstall
    media: Path
    tree: InstallTree
    kickstart: str
    cdroms: Sequence[Path]
    sentinel: str


def run(context: Context, installation: Installation) -> float:
    """Install onto ``context.disk``; return the seconds it took. Raises ``GuestFailed`` that names the cause."""
    with contextlib.ExitStack() as stack:
        if installation.install.engine is InstallEngine.QEMU:
            running = stack.enter_context(_by_qemu(context, installation))
        else:
            running = stack.enter_context(_by_virt_install(context, installation))
        try:
            seconds = _watch(running, installation, context)
        except PipelineError:
            running.write_evidence(context.evidence)
            raise
    return seconds


def _watch(running: Guest, installation: Installation, context: Context) -> float:
    shown, next_look = "", 0.0

    def has_printed(text: str) -> bool:
        nonlocal shown, next_look
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + _LOOK
            now = phase(running.console.text)
            if now and now != shown:
                shown = now
                context.progress.say(f"installing {installation.tree.info.release}: {now}")
        return text in running.console.text

    timeout = float(installation.install.timeout)
    what = "the kickstart's last line (its sentinel)"
    running.wait_until(lambda: has_printed(installation.sentinel), timeout, what, progress=context.progress)
    deadline = running.seconds + _POWER_OFF
    return running.wait_until(lambda: not running.is_running(), deadline, "the power-off", progress=context.progress)


def _machine(context: Context, installation: Installation, disk: Path, cdroms: Sequence[Path]) -> qemu_command.Machine:
    return qemu_command.Machine(
        name=f"{context.recipe.name}-install",
        accelerator=context.accelerator,
        hardware=Hardware.from_properties(context.recipe.image_properties),
        memory=installation.install.memory,
        vcpus=installation.install.vcpus,
        disks=[qemu_command.GuestDisk(disk, "qcow2")],
        cdroms=[qemu_command.GuestDisk(path, "raw", read_only=True) for path in cdroms],
        network=qemu_command.GuestNetwork(restricted=False),
        reboots=False,
    )


@contextlib.contextmanager
def _by_qemu(context: Context, installation: Installation) -> Iterator[Guest]:
    _make_disk(context.disk, context.recipe.disk.size)
    kernel, initrd = installation.tree.extract_installer(context.folder)
    _inject(initrd, {KICKSTART: installation.kickstart.encode()})
    boot = qemu_command.DirectBoot(kernel, initrd, arguments(installation.tree.info))
    machine = replace(
        _machine(context, installation, context.disk, [installation.media, *installation.cdroms]), direct=boot
    )
    with guest.running(machine, context.evidence, _NAME, policy=context.stall_policy) as running:
        yield running


@contextlib.contextmanager
def _by_virt_install(context: Context, installation: Installation) -> Iterator[Guest]:
    on_system = installation.install.connection is Connection.SYSTEM
    if on_system and libvirt.is_slow(context.accelerator):
        context.progress.say("libvirt will try the KVM that does not work here many times: one to two minutes more")
    with libvirt.system() if on_system else libvirt.session(context.log, context.accelerator) as daemon:
        disk = daemon.folder / "disk.qcow2"
        _make_disk(disk, context.recipe.disk.size)
        injected = daemon.folder / KICKSTART
        injected.write_text(installation.kickstart)
        for path in (disk, injected):
            path.chmod(0o600)
            daemon.give(path)
        media = daemon.lend(installation.media)
        tree = installation.tree.info
        with virt_install.running(
            _machine(context, installation, disk, [daemon.lend(path) for path in installation.cdroms]),
            daemon,
            context.evidence,
            _NAME,
            location=f"{media},kernel={tree.kernel},initrd={tree.initrd}",
            inject=[injected],
            arguments=arguments(tree),
            network=installation.install.network,
            policy=context.stall_policy,
        ) as running:
            yield running
        shutil.move(disk, context.disk)
        os.chown(context.disk, os.geteuid(), os.getegid())


def arguments(info: TreeInfo) -> str:
    """Return the installer's kernel arguments: its kickstart in the initramfs, its console on the serial line."""
    if int(info.version.partition(".")[0]) < 7:
        return f"ks=file:/{KICKSTART} console=tty0 console=ttyS0,115200n8"
    # Names of network cards as the finished system has them, so that the kickstart can say eth0.
    names = "net.ifnames=0 biosdevname=0"
    return f"inst.ks=file:/{KICKSTART} {names} console=tty0 console=ttyS0,115200n8"


def _make_disk(path: Path, size: int) -> None:
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)])


def _inject(initrd: Path, files: Mapping[str, bytes]) -> None:
    """Append ``files`` to an initial RAM disk: the kernel unpacks several archives one over the other.

    Documentation/driver-api/early-userspace/buffer-format.rst: each begins on a multiple of four bytes.
    """
    archive = initramfs.Archive()
    for name, content in files.items():
        archive.add_file(name, content, 0o600)
    with initrd.open("ab") as out:
        out.write(bytes(-out.tell() % 4))
        out.write(archive.finish())


def write_secrets(target: Path, label: str, values: Mapping[str, str]) -> None:
    """Write the values the guest needs to a medium of their own, which is gone when the guest is."""
    iso.write(target, label, {name: value.encode() for name, value in values.items()})
    target.chmod(0o600)
