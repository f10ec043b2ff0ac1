from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import firmware
from pipeline.host.qemu.hardware import Hardware


@pytest.fixture(autouse=True)
def some_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_command, "emulator", lambda: "/usr/bin/qemu-system-x86_64")


def words_of(machine: qemu_command.Machine, tmp_path: Path, files: qemu_command.DiskFiles) -> list[str]:
    return qemu_command.command(
        machine, files, serial=tmp_path / "serial", firmware_log=tmp_path / "firmware", monitor=9, mark="1-2-0a0b0c0d"
    )


def blockdevs(words: list[str]) -> dict[str, dict[str, object]]:
    found = [json.loads(words[index + 1]) for index, word in enumerate(words) if word == "-blockdev"]
    return {each["node-name"]: each for each in found}


def test_a_guest_gets_nothing_by_default(tmp_path: Path) -> None:
    with qemu_command.opened_files() as files:
        words = words_of(qemu_command.Machine("x", "tcg", network=None), tmp_path, files)
    assert "-nodefaults" in words
    assert "-no-user-config" in words
    assert "-netdev" not in words
    sandbox = words[words.index("-sandbox") + 1]
    assert sandbox == "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    assert "guest=x.1-2-0a0b0c0d" in words


def test_disks_are_handed_over_as_open_files(tmp_path: Path) -> None:
    base, overlay = tmp_path / "base", tmp_path / "overlay"
    base.write_bytes(b"base")
    overlay.write_bytes(b"overlay")
    disk = qemu_command.GuestDisk(overlay, "qcow2", base=qemu_command.GuestDisk(base, "vhd", read_only=True))
    with qemu_command.opened_files() as files:
        words = words_of(qemu_command.Machine("x", "tcg", disks=[disk]), tmp_path, files)
        node = blockdevs(words)["disk0"]
        names = {os.readlink(f"/proc/self/fd/{number}"): number for number in files.descriptors}
        assert node["driver"] == "qcow2"
        assert node["file"]["filename"] == f"/dev/fdset/{names[str(overlay)]}"  # type: ignore[index]
        below = node["backing"]
        assert isinstance(below, dict)
        assert below["driver"] == "vpc"
        assert below["read-only"] is True
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(names[str(base)], b"x")
        assert not any(str(tmp_path) in word for word in words)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(files.descriptors[0])


def test_a_backing_file_named_in_an_image_is_never_followed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x")
    with qemu_command.opened_files() as files:
        words = words_of(
            qemu_command.Machine("x", "tcg", disks=[qemu_command.GuestDisk(disk, "qcow2")]), tmp_path, files
        )
    node = blockdevs(words)["disk0"]
    assert "backing" in node
    assert node["backing"] is None


def test_descriptors_stand_before_what_uses_them(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"x")
    with qemu_command.opened_files() as files:
        words = words_of(qemu_command.Machine("x", "tcg", disks=[qemu_command.GuestDisk(disk, "raw")]), tmp_path, files)
    last_add = max(index for index, word in enumerate(words) if word == "-add-fd")
    assert last_add < words.index("-blockdev")


def test_uefi_variables_are_a_copy_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, variables = tmp_path / "CODE", tmp_path / "VARS"
    code.write_bytes(b"code")
    variables.write_bytes(b"variables")
    found = firmware.UefiFirmware(code, variables, "raw", needs_smm=True)
    monkeypatch.setattr(firmware, "find", lambda machine, secure_boot: found)
    machine = qemu_command.Machine("x", "tcg", hardware=Hardware(machine="q35", firmware="uefi", secure_boot=True))
    with qemu_command.opened_files() as files:
        words = words_of(machine, tmp_path, files)
        copies = [number for number in files.descriptors if "memfd:VARS" in os.readlink(f"/proc/self/fd/{number}")]
        os.write(copies[0], b"changed")
    assert variables.read_bytes() == b"variables"
    board = words[words.index("-machine") + 1]
    assert "pflash0=firmware-code,pflash1=firmware-variables" in board
    assert "smm=on" in board


def test_networks_are_closed_unless_opened(tmp_path: Path) -> None:
    assert "restrict=on" in qemu_command.GuestNetwork().words()[1]
    opened = qemu_command.GuestNetwork(restricted=False, forwards=((2222, 22),)).words()[1]
    assert "restrict=off" in opened
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in opened


def test_windows_gets_its_enlightenments_under_kvm_only(tmp_path: Path) -> None:
    windows = Hardware.from_properties({"os_type": "windows"})
    with qemu_command.opened_files() as files:
        kvm = words_of(qemu_command.Machine("x", "kvm", hardware=windows), tmp_path, files)
        tcg = words_of(qemu_command.Machine("x", "tcg", hardware=windows), tmp_path, files)
    assert "hv_time" in kvm[kvm.index("-cpu") + 1]
    assert "hv_time" not in tcg[tcg.index("-cpu") + 1]
    assert tcg[tcg.index("-rtc") + 1].startswith("base=localtime")


def test_a_disk_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    machine = qemu_command.Machine("x", "tcg", disks=[qemu_command.GuestDisk(tmp_path / "absent", "raw")])
    with qemu_command.opened_files() as files, pytest.raises(PipelineError, match="absent: cannot be opened"):
        words_of(machine, tmp_path, files)
