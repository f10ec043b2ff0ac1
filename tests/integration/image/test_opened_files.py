"""What is taken makes QEMU open nothing but the image: seen by its system calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.image import convert, formats
from tests.unit.image import hostile, vmdk_files

pytestmark = pytest.mark.subprocess
_OPENED = re.compile(r'open(?:at|at2)?\((?:AT_FDCWD, )?"([^"]+)"[^=]*= \d')
_SYSTEM = ("/lib", "/usr", "/etc", "/proc", "/sys", "/dev", "/opt")


def opened(path: Path, disk_format: str, target: Path) -> set[str]:
    """The files that a plain ``qemu-img convert`` opens, but the system's own."""
    log = target.with_suffix(".strace")
    words: list[str | Path] = ["strace", "-f", "-e", "trace=open,openat,openat2", "-o", log, "qemu-img", "convert"]
    words += ["-f", convert.qemu_name(disk_format), "-O", "raw", path, target]
    subprocess.run(words, check=True, capture_output=True)
    found = set(_OPENED.findall(log.read_text()))
    return {name for name in found if not name.startswith(_SYSTEM) or name == "/etc/hostname"}


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_what_is_taken_makes_qemu_open_nothing_else(tmp_path: Path) -> None:
    harmless = hostile.make_harmless(tmp_path)
    for name, data in {"vmware": vmdk_files.sparse(), "stream": vmdk_files.stream()}.items():
        harmless[f"vmdk-{name}"] = tmp_path / f"{name}.vmdk"
        harmless[f"vmdk-{name}"].write_bytes(data)
    for name, path in harmless.items():
        disk_format = name.partition("-")[0]
        if disk_format == "gpt":
            continue
        formats.inspect(path, disk_format)
        target = tmp_path / f"{name}.out"
        seen = opened(path, disk_format, target)
        print(f"{name}: {sorted(seen)}")
        assert seen == {str(path), str(target)}, name


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_watch_sees_what_a_hostile_image_opens(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(1 << 20))
    path = tmp_path / "overlay.qcow2"
    hostile.qemu_img("create", "-f", "qcow2", "-u", "-F", "raw", "-b", other, path, "1M")
    assert str(other) in opened(path, "qcow2", tmp_path / "out")
    with pytest.raises(formats.FormatRefused):
        formats.inspect(path, "qcow2")
