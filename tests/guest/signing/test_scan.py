"""Secrets planted in a finished image are found in every file system, in its files and where files were deleted."""

from __future__ import annotations

import base64
import gzip
import lzma
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.signing.scan import scan
from pipeline.signing.scan.findings import FREE_SPACE, Allowance, ScanReport
from pipeline.signing.trust import pem
from pipeline.signing.trust.kinds import KeyKind
from tests.environments import hives
from tests.environments.venv import _CACHE

pytestmark = pytest.mark.guest
SIZES = {"ext4": 40, "xfs": 320, "ntfs": 40, "vfat": 40}
APPLIANCES = _CACHE / "appliance"
HASH = b"$6$abcdefghijklmnop$" + b"x" * 86
ANSWERS = b"<AutoLogon><Password><Value>%s</Value></Password></AutoLogon>"
STATES = ("plain", "gzip", "xz", "zstd", "utf16", "base64", "deleted", "deleted16")
# One of each kind: its rule, its path, its bytes.
KINDS = {
    "/etc/ssh/ssh_host_ed25519_key": ("host-key", b"key"),
    "/etc/machine-id": ("machine-id", b"0123456789abcdef0123456789abcdef\n"),
    "/var/lib/systemd/random-seed": ("random-seed", b"\1" * 512),
    "/etc/shadow": ("password-hash", b"root:" + HASH + b":19000:0:::\n"),
    "/var/log/messages": ("log", b"booted\n"),
    "/root/.bash_history": ("shell-history", b"ls\n"),
    "/etc/pki/consumer/cert.pem": ("subscription", b"certificate"),
    "/root/anaconda-ks.cfg": ("answer-file", b"lang en_US\n"),
    "/var/lib/cloud/instance/user-data.txt": ("cloud-init", b"#cloud-config\n"),
    "/opt/key.pem": ("private-key", pem.write(KeyKind.P384.generate(), None)),
    "/opt/answers.xml": ("answer-file", ANSWERS % b"aHVudGVy"),
}
PANTHER = "/Windows/Panther/unattend.xml"
CONFIG = "/Windows/System32/config"
WINLOGON = r"Microsoft\Windows NT\CurrentVersion\Winlogon"
UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
STATE = r"Microsoft\Windows\CurrentVersion\Setup\State"
SESSION = r"Software\SimonTatham\PuTTY\Sessions\build"
HIVES = {
    f"{CONFIG}/SOFTWARE": {
        WINLOGON: {"DefaultPassword": "hunter2", "AutoAdminLogon": "1", "DefaultUserName": "build"},
        STATE: {"ImageState": "IMAGE_STATE_COMPLETE"},
        rf"{UNINSTALL}\{{1234}}": {"DisplayName": "Agent", "DisplayVersion": "1.2", "Publisher": "Somebody"},
        rf"{UNINSTALL}\update": {"ParentKeyName": "Agent"},
        rf"WOW6432Node\{UNINSTALL}\old": {"DisplayName": "Old program", "DisplayVersion": "0.9"},
    },
    f"{CONFIG}/SYSTEM": {r"ControlSet001\Services\SNMP\Parameters\ValidCommunities": {"public": "x"}},
    f"{CONFIG}/SECURITY": {r"Policy\Secrets\DefaultPassword\CurrVal": {"x": "y"}},
    "/Users/build/NTUSER.DAT": {SESSION: {"ProxyPassword": "hunter2", "HostName": "h"}},
}
GIVEN_AWAY = {
    (f"{CONFIG}/SOFTWARE!{WINLOGON}\\DefaultPassword", "registry-password"),
    (f"{CONFIG}/SOFTWARE!{WINLOGON}\\AutoAdminLogon", "registry-password"),
    (f"{CONFIG}/SOFTWARE!{STATE}\\ImageState", "machine-id"),
    (rf"{CONFIG}/SYSTEM!ControlSet001\Services\SNMP\Parameters\ValidCommunities\public", "registry-password"),
    (rf"{CONFIG}/SECURITY!Policy\Secrets\DefaultPassword", "registry-password"),
    (rf"/Users/build/NTUSER.DAT!{SESSION}\ProxyPassword", "registry-password"),
    (PANTHER, "answer-file"),
}
# A Windows that is as it should be.
CLEAN = {
    f"{CONFIG}/SOFTWARE": {
        WINLOGON: {"DefaultPassword": "", "AutoAdminLogon": "0"},
        STATE: {"ImageState": "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"},
    },
    f"{CONFIG}/SYSTEM": {"Setup": {"CmdLine": "oobe"}},
}


def secret(kind: str, state: str) -> bytes:
    return f"build secret {state} on {kind}".encode()


def plant(handle: Any, kind: str, device: str, folder: Path) -> None:
    """Live files of every kind, and some that are written and deleted again."""
    handle.mkfs(kind, device)
    handle.mount(device, "/")
    files = {path: data for path, (_, data) in KINDS.items()}
    packed: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
        "base64": base64.b64encode,
    }
    for state in ("plain", "utf16", *packed):
        wide = secret(kind, state).decode().encode("utf-16-le")
        data = b"x" * 5000 + (wide if state == "utf16" else secret(kind, state))
        files[f"/opt/{state}"] = packed[state](data) if state in packed else data
    files["/var/lib/dpkg/status"] = b"Package: p\nStatus: install ok installed\nVersion: 1\n"
    gone = {
        "/deleted/key": pem.write(KeyKind.P384.generate(), None),
        "/deleted/secret": b"w" * 3000 + secret(kind, "deleted"),
        "/deleted/wide": b"w" * 3000 + secret(kind, "deleted16").decode().encode("utf-16-le"),
        "/deleted/shadow": b"w" * 3000 + b"\ngone:" + HASH.replace(b"x", b"y") + b":19000:0:::\n",
        "/deleted/answers": b"w" * 3000 + ANSWERS % b"ZGVsZXRlZA==",
    }
    if kind in ("ntfs", "vfat"):
        plant_windows(handle, HIVES if kind == "ntfs" else CLEAN, folder)
        files.update({PANTHER: b"<ProductKey><Key>12345</Key></ProductKey>"} if kind == "ntfs" else {})
    for path in dict.fromkeys(path.rpartition("/")[0] for path in (*files, *gone)):
        handle.mkdir_p(path)
    for path, data in {**files, **gone}.items():
        handle.write(path, data)
    handle.sync()
    for path in gone:
        handle.rm(path)
    handle.sync()
    handle.umount("/")


def plant_windows(handle: Any, wanted: dict[str, dict[str, dict[str, str]]], folder: Path) -> None:
    for path, keys in wanted.items():
        handle.mkdir_p(path.rpartition("/")[0])
        handle.upload(str(hives.make(folder / "hive", keys)), path)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished image, with everything planted after its last sparsification."""
    folder = tmp_path_factory.mktemp("image")
    disk, image = folder / "disk.raw", folder / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", disk, "460M"], check=True)
    with (
        (folder / "log").open("wb") as log,
        Appliance("tcg", APPLIANCES, folder, log).launched([Drive(disk, "raw")]) as handle,
    ):
        handle.part_init("/dev/sda", "gpt")
        start = 2048
        for number, (kind, size) in enumerate(SIZES.items(), 1):
            handle.part_add("/dev/sda", "p", start, start + size * 2048 - 1)
            start += size * 2048
            plant(handle, kind, f"/dev/sda{number}", folder)
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", disk, image], check=True)
    disk.unlink()
    yield image


def test_every_kind_of_secret_is_found_on_every_file_system(image: Path, tmp_path: Path) -> None:
    secrets = [secret(kind, state) for kind in SIZES for state in STATES]
    accepted = Allowance("log", "*/var/log/messages", "only for this test")
    with (tmp_path / "log").open("wb") as log:
        appliance = Appliance("tcg", APPLIANCES, tmp_path, log)
        scanned = scan.scan_image(image, "qcow2", appliance, secrets=secrets, allowances=[accepted])
    report = scanned.report
    for number, kind in enumerate(SIZES):
        _require_all(report, number, kind)
    assert {each.path.removeprefix("/dev/sda3:") for each in report.findings} >= {path for path, _ in GIVEN_AWAY}
    assert not [each for each in report.findings if each.path.startswith(f"/dev/sda4:{CONFIG}")]
    programs = {(each.name, each.version, each.vendor) for each in scanned.packages if each.kind == "generic"}
    assert programs == {("Agent", "1.2", "Somebody"), ("Old program", "0.9", "")}
    leftovers = [each.rule for each in report.findings if each.path == FREE_SPACE]
    assert leftovers.count("private-key") == len(SIZES)
    assert {"password-hash", "answer-file"} <= set(leftovers)
    assert [allowance.reason for _, allowance in report.allowed] == ["only for this test"] * len(SIZES)
    assert all(any(kind in each for each in report.filesystems) for kind in SIZES)
    assert not list(tmp_path.glob("decoded*"))
    for value in ("build secret plain", "hunter2", "aHVudGVy"):
        assert value not in str(report.as_data())


def _require_all(report: ScanReport, number: int, kind: str) -> None:
    prefix = f"/dev/sda{number + 1}:"
    found = {(each.path.removeprefix(prefix), each.rule) for each in report.findings if each.path.startswith(prefix)}
    wanted = {(path, rule) for path, (rule, _) in KINDS.items() if rule != "log"}
    wanted |= {(f"/opt/{state}", "known-secret") for state in ("plain", "utf16", "base64")}
    wanted |= {(f"/opt/{state}!{state}", "known-secret") for state in ("gzip", "xz", "zstd")}
    assert wanted - found == set(), kind
    for state in ("deleted", "deleted16"):
        # Secrets are numbered in the order in which they were given.
        mark = f"build secret {number * len(STATES) + STATES.index(state) + 1},"
        assert [each for each in report.findings if each.path == FREE_SPACE and mark in each.detail], (kind, state)


def test_a_system_is_read_as_it_mounts_itself(tmp_path: Path) -> None:
    """Bytes of any kind in its fstab(5), disks that are not there, partitions by their own names."""
    disk = tmp_path / "disk.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", disk, "40M"], check=True)
    with (tmp_path / "log").open("wb") as log:
        appliance = Appliance("tcg", APPLIANCES, tmp_path, log)
        with appliance.launched([Drive(disk, "raw")]) as handle:
            handle.part_init("/dev/sda", "gpt")
            for number, (start, end) in enumerate([(2048, 40959), (40960, 79871)], 1):
                handle.part_add("/dev/sda", "p", start, end)
                handle.mkfs("ext4", f"/dev/sda{number}")
            name = handle.blkid("/dev/sda2")["PART_ENTRY_UUID"]
            handle.mount("/dev/sda2", "/")
            handle.write("/forgotten", secret("ext4", "plain"))
            handle.umount("/")
            handle.mount("/dev/sda1", "/")
            for folder in ("/etc", "/bin", "/usr", "/srv", "/mnt"):
                handle.mkdir(folder)
            handle.write(
                "/etc/fstab",
                b"# caf\xe9\n/dev/vdb /caf\xe9 auto nofail 0 2\n/dev/vdc1 /mnt ext4 defaults 0 2\n"
                b"PARTUUID=%s /srv ext4 defaults 0 2\n" % name.encode(),
            )
        scanned = scan.scan_image(disk, "raw", appliance, secrets=[secret("ext4", "plain")])
    assert {each.path for each in scanned.report.findings} == {"/srv/forgotten"}
    assert {"/srv/forgotten", "/etc/fstab"} <= set(scanned.files)
    assert scanned.report.filesystems == ["/dev/sda1 ext4", "/dev/sda2 ext4"]
    assert not [text for text in scanned.report.not_covered if "/dev/" in text]
