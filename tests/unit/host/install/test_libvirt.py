"""Libvirts to start guests by: their folders, and what guests are called in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.host.install import libvirt
from pipeline.host.install.libvirt import Libvirt
from pipeline.host.system import process


def test_a_private_folder_is_marked_closed_and_gone_afterwards() -> None:
    with libvirt._private_folder(None) as folder:
        assert folder.name.startswith(f"pipeline-run-{os.getpid()}-")
        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / "c/libvirt/qemu.conf").is_file()
    assert not folder.exists()


def test_names_of_guests_are_short_where_nobody_else_has_any() -> None:
    session = Libvirt("qemu:///session", Path("/run/x"), Path("/run/x/pids"), None, {})
    assert session.domain("rhel7-install") == "install"
    system = Libvirt("qemu:///system", Path("/run/x"), Path("/run/x/pids"), None, {})
    assert system.domain("rhel7-install").startswith(f"rhel7-install.{os.getpid()}-")


def test_the_machines_libvirt_is_asked_nothing_that_starts_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def virsh(found: Libvirt, *words: str, check: bool = True) -> process.Finished:
        asked.append(words)
        return process.Finished(0, "qemu:///system", "")

    monkeypatch.setattr(Libvirt, "virsh", virsh)
    with libvirt.system() as found:
        assert found.uri == "qemu:///system"
    assert asked == [("uri",)], "for the answer to `version` it starts each QEMU twice"


def test_a_kvm_that_does_not_work_makes_the_machines_libvirt_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(libvirt, "_KVM", tmp_path / "kvm")
    assert not libvirt.is_slow("tcg"), "there is none to try"
    (tmp_path / "kvm").touch()
    assert libvirt.is_slow("tcg")
    assert not libvirt.is_slow("kvm")


@pytest.mark.subprocess
def test_the_machines_libvirt_gets_copies_as_it_would_keep_what_it_gets(tmp_path: Path) -> None:
    media, folder = tmp_path / "dvd.iso", tmp_path / "run"
    media.write_bytes(b"media")
    folder.mkdir()
    lent = Libvirt("qemu:///system", folder, tmp_path, None, {}).lend(media)
    assert lent == folder / "dvd.iso" and lent.read_bytes() == b"media"
    assert Libvirt("qemu:///session", folder, tmp_path, None, {}).lend(media) == media
