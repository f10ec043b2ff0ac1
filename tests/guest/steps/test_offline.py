"""The offline stage on the tiny guest: what it changes, what it takes away, what it refuses."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.progress import nothing
from pipeline.host.guestfs import mounting
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.system import process
from pipeline.recipes.model.guest import SysprepOperation as Op
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.claims import ClaimsStep
from pipeline.steps.offline import accounts, customize, inspection, sysprep
from pipeline.steps.offline.step import OfflineStep
from pipeline.steps.offline.sysprep_table import EMPTIED, PATTERNS
from pipeline.steps.reproducible import EPOCH
from tests.guest.conftest import context_for, overlay, tiny_recipe

pytestmark = pytest.mark.guest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMine me@example.org"
WISHES: dict[str, Any] = {
    "hostname": "golden",
    "timezone": "Europe/Paris",
    "users": [{"name": "ops", "full_name": "Ops, night", "groups": ["users"], "ssh_keys": [KEY]}],
    "ssh_keys": [KEY],
    "files": [
        {"path": "/etc/motd", "content": "golden\n", "mode": "0640", "group": "users"},
        {"path": "/var/tmp/kept", "content": "asked for\n"},
    ],
    "disable_services": ["sshd"],
    "commands": ["date > /var/log/built.log", "date +%N > /etc/made; rm /etc/made; echo x > /etc/stays"],
}


class Files:
    """Reads a tiny guest's root file system without a guest."""

    def __init__(self, disk: Path, folder: Path) -> None:
        self.raw = folder / "disk.raw"
        process.run(["qemu-img", "convert", "-O", "raw", disk, self.raw])

    def ask(self, request: str) -> str:
        return process.run(["debugfs", "-R", request, f"{self.raw}?offset={32 << 20}"]).stdout

    def read(self, path: str) -> str:
        return self.ask(f"cat {path}")

    def owner(self, path: str) -> tuple[str, str, str]:
        words = self.ask(f"stat {path}").replace("Mode:", "Mode: ").split()
        return tuple(words[words.index(name) + 1] for name in ("Mode:", "User:", "Group:"))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def run_offline(
    tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[dict[str, Any], Path, Path]]:
    def run(recipe: Recipe, **parts: Any) -> tuple[dict[str, Any], Path, Path]:
        folder = tmp_path_factory.mktemp("offline")
        context = context_for(recipe, folder, overlay(tiny_disk, folder), **parts)
        return dict(OfflineStep().run(context)), context.disk, folder

    return run


@pytest.fixture(scope="module")
def finished(run_offline: Callable[..., tuple[dict[str, Any], Path, Path]]) -> tuple[dict[str, Any], Files, Path]:
    facts, disk, folder = run_offline(tiny_recipe(customize=WISHES))
    return facts, Files(disk, folder), disk


def test_what_was_asked_for_is_there(finished: tuple[dict[str, Any], Files, Path]) -> None:
    facts, files, _ = finished
    assert files.read("/etc/hostname") == "golden\n"
    assert files.read("/etc/localtime").startswith("TZif")
    assert files.read("/etc/motd") == "golden\n"
    assert files.owner("/etc/motd") == ("0640", "0", "100")
    assert files.read("/etc/stays") == "x\n"
    assert files.owner("/etc/rc.d/S70-sshd")[0] == "0644"
    assert "ops:x:1001:1001:Ops, night:/home/ops:/bin/sh" in files.read("/etc/passwd")
    assert f"ops:*:{EPOCH // 86400}:" in files.read("/etc/shadow")
    assert "users:x:100:ops" in files.read("/etc/group")
    for user, number in (("ops", "1001"), ("cirros", "1000")):
        assert files.read(f"/home/{user}/.ssh/authorized_keys") == f"{KEY}\n"
        assert files.owner(f"/home/{user}/.ssh/authorized_keys") == ("0600", number, number)
        assert files.owner(f"/home/{user}/.ssh") == ("0700", number, number)
    assert facts["keys"] == 2


def test_what_tells_of_the_build_is_gone(finished: tuple[dict[str, Any], Files, Path]) -> None:
    facts, files, disk = finished
    assert facts["sysprep"] == {"logfiles": 1}
    assert "built.log" not in files.ask("ls /var/log")
    assert files.read("/var/tmp/kept") == "asked for\n"
    assert facts["sealed"] is True
    # Still an overlay over the frozen disk, as the engine demands.
    assert "backing file" in process.run(["qemu-img", "info", disk]).stdout


def test_the_image_is_what_the_recipe_claims(finished: tuple[dict[str, Any], Files, Path]) -> None:
    facts, _, _ = finished
    found = facts["inspection"]
    assert (found["distro"], found["major"], found["minor"], found["architecture"]) == ("cirros", 0, 6, "x86_64")
    assert found["firmware"] == ["bios", "uefi"]
    assert found["loaders"] == ["syslinux", "systemd-boot"]
    assert len(found["kernels"]) == 1
    assert facts["properties"] == {
        "architecture": "x86_64",
        "os_type": "linux",
        "os_distro": "cirros",
        "os_version": "0.6",
    }


def test_what_the_image_is_set_up_to_do_is_told(finished: tuple[dict[str, Any], Files, Path]) -> None:
    facts, _, _ = finished
    found = facts["contents"]
    assert found["users"]["ops"] == "1001:1001, /bin/sh, no password, in users"
    assert found["users"]["root"].startswith("0:0, ")
    assert "network" in " ".join(found["services"]) and "sshd" not in found["services"]
    assert found["ports"] == {}
    assert "files" not in found  # the scan reads them all anyway


def test_doing_it_again_without_an_inspection_gives_the_same_bytes(
    finished: tuple[dict[str, Any], Files, Path],
    run_offline: Callable[..., tuple[dict[str, Any], Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts, files, _ = finished
    found = facts["inspection"]
    same = ("type", "distro", "product", "major", "minor", "architecture", "mounts")
    system = {**{name: found[name] for name in same}, "package_format": "", "package_tool": ""}
    monkeypatch.delattr(GuestSystem, "open")
    told, disk, folder = run_offline(tiny_recipe(customize=WISHES), facts={"install": {"system": system}})
    assert told["inspection"] == found
    again = Files(disk, folder)
    assert hashlib.sha256(again.raw.read_bytes()).digest() == hashlib.sha256(files.raw.read_bytes()).digest()


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"timezone": "Moon/Base"}, "knows no time zone Moon/Base"),
        ({"packages": ["vim"]}, "the guest has no package manager"),
        ({"users": [{"name": "x1", "groups": ["absent"]}]}, "no group absent"),
        ({"users": [{"name": "x2", "sudo": True}]}, "add sudo to customize.packages"),
        ({"files": [{"path": "/x", "content": "x", "owner": "absent"}]}, "the guest has no user absent"),
        ({"enable_services": ["absent"]}, "enabling the service absent"),
        ({"commands": ["true", "echo before; false; echo after"]}, r"customize.commands\[1\] failed in the guest"),
        ({"commands": ["echo $undefined"]}, r"customize.commands\[0\] failed"),
        ({"commands": ["if then"]}, r"customize.commands\[0\] failed"),
    ],
)
def test_what_cannot_be_done_is_told(system: GuestSystem, wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError, match=message) as caught:
        customize.apply(system, tiny_recipe(customize=wishes), nothing)
    assert "after" not in str(caught.value)


def test_a_command_shows_its_words_when_it_fails(system: GuestSystem) -> None:
    with pytest.raises(PipelineError) as caught:
        system.run("echo to standard output; echo to standard error >&2; exit 7", "the command")
    assert caught.value.message == "the command failed in the guest with status 7"
    assert caught.value.details == ("to standard output", "to standard error")


def test_keys_for_nobody_are_refused(system: GuestSystem) -> None:
    recipe = tiny_recipe(
        os={"type": "linux", "distro": "cirros", "version": "0.6", "admin_user": "absent"},
        customize={"ssh_keys": [KEY]},
    )
    with pytest.raises(PipelineError, match="the account absent, which is to get SSH keys, is not in the guest"):
        accounts.install_keys(system, recipe)


def test_a_false_claim_is_refused(system: GuestSystem, tmp_path: Path) -> None:
    facts = {"offline": {"inspection": inspection.facts(system)}}
    assert ClaimsStep().run(context_for(tiny_recipe(), tmp_path, facts=facts))["proven"]["os_distro"] == "cirros"
    wrong = tiny_recipe(os={"type": "linux", "distro": "debian", "version": "12"})
    with pytest.raises(PipelineError, match="claims what its image is not") as caught:
        ClaimsStep().run(context_for(wrong, tmp_path, facts=facts))
    assert len(caught.value.details) == 2


def test_every_operation_takes_away_what_it_names(system: GuestSystem, tmp_path: Path) -> None:
    planted: dict[str, Op] = {}
    for operation, patterns in PATTERNS.items():
        for pattern in patterns:
            path = pattern.replace("[!.]", "x").replace("*", f"planted{pattern.count('*')}")
            if not path.startswith(("/dev/", "/boot/", "/run/", "/var/run/")):
                planted.setdefault(path, operation)
    for operation, paths in EMPTIED.items():
        planted.update(dict.fromkeys(paths, operation))
    _plant(system, [*planted, "/etc/fstab.bak"], tmp_path)
    system.write("/etc/sysconfig/network-scripts/ifcfg-eth0", 'DEVICE=eth0\nHWADDR="52:54"\nUUID=x\nHOSTNAME=build\n')
    recipe = tiny_recipe(customize={"files": [{"path": "/tmp/x", "content": "kept"}]})
    system.write("/tmp/x", "kept")

    changed = sysprep.apply(system, recipe)

    left = [path for path in planted if path not in ("/tmp/x",) and path not in _emptied() and system.exists(path)]
    assert not left
    assert all(system.exists(path) and not system.read(path) for path in _emptied())
    assert system.read("/tmp/x") == "kept"
    assert not system.exists("/etc/fstab.bak")
    assert system.read("/etc/sysconfig/network-scripts/ifcfg-eth0") == "DEVICE=eth0\n"
    assert set(changed) >= {str(operation) for operation in planted.values()}
    assert sysprep.apply(system, recipe) == {}
    system.remove(["/tmp/x"])


def _plant(system: GuestSystem, paths: list[str], folder: Path) -> None:
    """Write them all at once: single uploads take their time."""
    archive = folder / "planted.tar"
    with tarfile.open(archive, "w") as tar:
        for path in paths:
            member = tarfile.TarInfo(path)
            member.size = 7
            tar.addfile(member, io.BytesIO(b"planted"))
    system.handle.tar_in(str(archive), "/")


def _emptied() -> list[str]:
    return [path for paths in EMPTIED.values() for path in paths]


def test_skipped_operations_are_left(system: GuestSystem) -> None:
    system.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    system.write("/root/.bash_history", "secret")
    changed = sysprep.apply(system, tiny_recipe(sysprep={"skip": ["machine-id"]}))
    assert changed == {"bash-history": 1}
    assert system.read("/etc/machine-id")


def test_lines_are_replaced_where_they_stand(system: GuestSystem) -> None:
    system.write("/etc/x", "a=1\nb=2\na=3\nc=4\n", mode=0o600)
    system.replace_line("/etc/x", "a=", "a=9")
    assert system.read("/etc/x") == "a=9\nb=2\nc=4\n"
    system.replace_line("/etc/x", "d=", "d=5")
    assert system.read("/etc/x") == "a=9\nb=2\nc=4\nd=5\n"
    assert system.handle.statns("/etc/x")["st_mode"] & 0o777 == 0o600


def test_what_an_fstab_names_in_vain_is_passed_over(system: GuestSystem) -> None:
    handle, told, before = system.handle, list[str](), system.read("/etc/fstab")
    root = system.identity.mounts["/"]
    (boot,) = set(handle.list_partitions()) - {root}
    name = handle.blkid(boot)["PART_ENTRY_UUID"]
    system.write(
        "/etc/fstab",
        f"PARTUUID={name} /mnt vfat ro 0 0\n"
        "/dev/vdb /media auto defaults,nofail,comment=cloudconfig 0 2\nUUID=0000-0000 /opt ext4 defaults 0 2\n",
    )
    handle.umount_all()
    try:
        assert handle.inspect_os() == [root]
        mounts = mounting.mount_all(handle, root, told.append)
        assert mounts["/mnt"] == boot and set(mounts) == {"/", "/mnt"}
        assert "/dev/vdb is not mounted: there is no folder /media" in told
        assert any(text.startswith("/opt of /etc/fstab is not mounted: ") for text in told)
        handle.umount_all()
        handle.mount(root, "/")
        system.write("/etc/fstab", "/dev/vdb /var auto defaults 0 2\n")
        handle.umount_all()
        assert handle.inspect_os() == [root]
        with pytest.raises(PipelineError, match="the guest has its /var on /dev/"):
            mounting.mount_all(handle, root, told.append)
    finally:
        handle.umount_all()
        for location in sorted(system.identity.mounts, key=len):
            handle.mount(system.identity.mounts[location], location)
        system.write("/etc/fstab", before)
