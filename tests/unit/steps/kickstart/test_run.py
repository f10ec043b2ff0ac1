"""What an installer is started with."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.host.install.install_tree import TreeInfo
from pipeline.host.media import iso
from pipeline.host.system import process
from pipeline.steps.kickstart import run


def info(version: str) -> TreeInfo:
    return TreeInfo("Red Hat Enterprise Linux", version, "x86_64", "k", "i", ("",))


def test_each_release_is_told_in_its_own_words() -> None:
    assert run.arguments(info("6.10")) == "ks=file:/ks.cfg console=tty0 console=ttyS0,115200n8"
    assert run.arguments(info("7.9")).startswith("inst.ks=file:/ks.cfg net.ifnames=0 biosdevname=0 ")


@pytest.mark.subprocess
@pytest.mark.parametrize(
    "packed", [b"", b"x" * 1021, gzip.compress(b"initramfs", mtime=0)], ids=["none", "odd", "gzip"]
)
def test_a_file_is_appended_to_a_ram_disk_where_the_kernel_looks(packed: bytes, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd.img"
    initrd.write_bytes(packed)
    run._inject(initrd, {"ks.cfg": b"text\n"})
    data = initrd.read_bytes()
    assert data.startswith(packed)
    begin = len(packed) + -len(packed) % 4
    assert data[begin:].startswith(b"070701")
    listed = process.run(["cpio", "--list", "--verbose", "--quiet"], stdin=data[begin:]).stdout
    assert "-rw-------" in listed and "ks.cfg" in listed


def test_secrets_travel_on_a_medium_of_their_own(tmp_path: Path) -> None:
    medium = tmp_path / "secrets.iso"
    run.write_secrets(medium, "SUBSCRIPTION", {"username": "me", "password": "correct horse"})
    assert iso.read(medium, ["username", "password"]) == {"username": b"me", "password": b"correct horse"}
    assert medium.stat().st_mode & 0o077 == 0
