"""What is taken makes QEMU open nothing but the image, also where it guesses the format: seen by its system calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.image import convert, formats
from tests.unit.image import hostile, vmdk_files
from tests.unit.image.integrity import images
from tests.unit.image.packing.files import tarred

pytestmark = [
    pytest.mark.subprocess,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]
_OPENED = re.compile(r'open(?:at|at2)?\((?:AT_FDCWD, )?"([^"]+)"[^=]*= \d')
_CONNECTED = re.compile(r"connect\(\d+, (\{.*?\})")
_SYSTEM = ("/lib", "/usr", "/etc", "/proc", "/sys", "/dev", "/opt")
_HEAD_OF_BOCHS = b"Bochs Virtual HD Image".ljust(32, b"\0") + b"Redolog".ljust(16, b"\0") + b"Undoable".ljust(16, b"\0")


def opened(path: Path, disk_format: str | None, target: Path) -> set[str]:
    """The files and servers that ``qemu-img convert`` opens, but the system's own; without a format it guesses one."""
    log = target.with_suffix(".strace")
    words: list[str | Path] = ["strace", "-f", "-e", "trace=open,openat,openat2,connect", "-o", log, "qemu-img"]
    words += ["convert", *(["-f", convert.qemu_name(disk_format)] if disk_format else []), "-O", "raw", path, target]
    subprocess.run(words, check=disk_format is not None, capture_output=True)
    said = log.read_text()
    found = {name for name in _OPENED.findall(said) if not name.startswith(_SYSTEM) or name == "/etc/hostname"}
    return found | {to for to in _CONNECTED.findall(said) if "nscd" not in to}


def harmless(folder: Path) -> dict[str, tuple[str, Path]]:
    """Name → format and file: every kind that ``qemu-img`` writes, VMware's and VirtualBox's, and many raw ones."""
    disk = images.make_disk(folder / "disk.raw")
    made = {kind: images.make(kind, disk, folder / kind) for kind in images.KINDS}
    made |= {name: ("raw" if name == "gpt" else name, path) for name, path in hostile.make_harmless(folder).items()}
    data = {
        "vmdk-vmware-sparse": vmdk_files.sparse(),
        "vmdk-vmware-stream": vmdk_files.stream(),
        "vmdk-virtualbox-sparse": vmdk_files.sparse(
            vmdk_files.described(vmdk_files.VIRTUALBOX, "monolithicSparse").replace(b"RDONLY", b"RW")
        ),
        "vmdk-virtualbox-stream": vmdk_files.stream(vmdk_files.described(vmdk_files.VIRTUALBOX, "streamOptimized")),
        # Nobody's inspector knows these: they are raw, and QEMU, where it guesses, reads them by themselves.
        "raw-bochs": _HEAD_OF_BOCHS.ljust(1 << 20, b"\0"),
        "raw-cloop": b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0\n".ljust(1 << 20, b"\0"),
        "raw-archive": tarred(**{"disk.vmdk": hostile.text_vmdk("monolithicFlat", "/etc/hostname").encode()}),
        "raw-script": b"#!/bin/sh\ncat /etc/hostname\n".ljust(4096, b"\0"),
        "raw-address": b"nbd://127.0.0.1/x\n".ljust(4096, b"\0"),
        "raw-json": b'json:{"driver":"file","filename":"/etc/hostname"}'.ljust(4096, b"\0"),
    }
    for name, content in data.items():
        made[name] = (name.partition("-")[0], folder / name)
        made[name][1].write_bytes(content)
    hostile.qemu_img("create", "-f", "parallels", folder / "raw-parallels", "16M")
    return {**made, "raw-parallels": ("raw", folder / "raw-parallels")}


def test_what_is_taken_makes_qemu_open_nothing_else(tmp_path: Path) -> None:
    for name, (disk_format, path) in harmless(tmp_path).items():
        formats.inspect(path, disk_format)
        for said in (disk_format, None):
            target = tmp_path / f"{name}.out"
            seen = opened(path, said, target)
            print(f"{name} | {said or 'guessed'} | {sorted(seen)}")
            assert seen - {str(target)} == {str(path)}, (name, said)


def test_the_watch_sees_what_a_hostile_image_opens(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(1 << 20))
    path = tmp_path / "overlay.qcow2"
    hostile.qemu_img("create", "-f", "qcow2", "-u", "-F", "raw", "-b", other, path, "1M")
    for said in ("qcow2", None):
        assert str(other) in opened(path, said, tmp_path / "out")
    hostile.qemu_img("create", "-f", "qcow2", "-u", "-F", "raw", "-b", "nbd://127.0.0.1:9/x", path, "1M")
    assert any("127.0.0.1" in to for to in opened(path, None, tmp_path / "out"))
    with pytest.raises(formats.FormatRefused):
        formats.inspect(path, "qcow2")
