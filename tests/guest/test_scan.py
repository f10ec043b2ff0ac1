"""Secrets planted in a finished image are found in every file system, in its files and where files were deleted."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.host.appliance import Appliance, Drive
from pipeline.signing import pem
from pipeline.signing.kinds import KeyKind
from pipeline.signing.scan import scan
from pipeline.signing.scan.findings import FREE_SPACE, Allowance, Report
from tests.environments.venv import _CACHE

pytestmark = pytest.mark.guest
SIZES = {"ext4": 40, "xfs": 320, "ntfs": 40, "vfat": 40}
APPLIANCES = _CACHE / "appliance"
HASH = b"$6$abcdefghijklmnop$" + b"x" * 86


def secret(kind: str, state: str) -> bytes:
    return f"build secret {state} on {kind}".encode()


def plant(handle: Any, kind: str, device: str) -> None:
    """Live files of several kinds, and some that are written and deleted again."""
    handle.mkfs(kind, device)
    handle.mount(device, "/")
    for folder in ("/etc/ssh", "/var/log", "/root", "/opt", "/var/lib/dpkg"):
        handle.mkdir_p(folder)
    handle.write("/etc/ssh/ssh_host_ed25519_key", b"key")
    handle.write("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n")
    handle.write("/etc/shadow", b"root:" + HASH + b":19000:0:::\n")
    handle.write("/var/log/messages", b"booted\n")
    handle.write("/root/.bash_history", b"ls\n")
    handle.write("/opt/plain", b"x" * 5000 + secret(kind, "live"))
    handle.write("/opt/packed.gz", gzip.compress(b"y" * 5000 + secret(kind, "packed")))
    handle.write("/opt/wide", b"z" * 5000 + secret(kind, "wide").decode().encode("utf-16-le"))
    handle.write("/var/lib/dpkg/status", b"Package: p\nStatus: install ok installed\nVersion: 1\n")
    handle.write("/deleted-key", pem.write(KeyKind.P384.generate(), None))
    handle.write("/deleted-secret", b"w" * 3000 + secret(kind, "deleted"))
    handle.sync()
    handle.rm("/deleted-key")
    handle.rm("/deleted-secret")
    handle.sync()
    handle.umount("/")


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
            plant(handle, kind, f"/dev/sda{number}")
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", disk, image], check=True)
    disk.unlink()
    yield image


def test_every_kind_of_secret_is_found_on_every_file_system(image: Path, tmp_path: Path) -> None:
    secrets = [secret(kind, state) for kind in SIZES for state in ("live", "packed", "wide", "deleted")]
    accepted = Allowance("log", "*/var/log/messages", "only for this test")
    with (tmp_path / "log").open("wb") as log:
        appliance = Appliance("tcg", APPLIANCES, tmp_path, log)
        examined = scan.examine(image, "qcow2", appliance, secrets=secrets, allowances=[accepted])
    report = examined.report
    for number, kind in enumerate(SIZES):
        _require_all(report, number, kind)
    assert len([each for each in report.findings if each.path == FREE_SPACE and each.rule == "private-key"]) == len(
        SIZES
    )
    assert [allowance.reason for _, allowance in report.allowed] == ["only for this test"] * len(SIZES)
    assert all(any(kind in each for each in report.filesystems) for kind in SIZES)
    assert not list(tmp_path.glob("decoded*"))
    assert "build secret live" not in str(report.as_data())


def _require_all(report: Report, number: int, kind: str) -> None:
    prefix = f"/dev/sda{number + 1}:"
    found = {(each.path.removeprefix(prefix), each.rule) for each in report.findings if each.path.startswith(prefix)}
    assert {
        ("/etc/ssh/ssh_host_ed25519_key", "host-key"),
        ("/etc/machine-id", "machine-id"),
        ("/etc/shadow", "password-hash"),
        ("/root/.bash_history", "shell-history"),
        ("/opt/plain", "known-secret"),
        ("/opt/packed.gz!gzip", "known-secret"),
        ("/opt/wide", "known-secret"),
    } <= found, kind
    deleted = f"build secret {number * 4 + 4},"  # secrets are numbered in the order in which they were given
    assert [each for each in report.findings if each.path == FREE_SPACE and deleted in each.detail], kind
