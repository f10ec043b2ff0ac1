from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from pipeline.host.media import iso, live_iso
from pipeline.host.system import process


def archive_at(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, kind, mode in (("./", tarfile.DIRTYPE, 0o755), ("./etc", tarfile.DIRTYPE, 0o755)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, mode
            archive.addfile(entry)
        shadow = tarfile.TarInfo("./etc/shadow")
        shadow.size, shadow.mode, shadow.uid, shadow.gid = 5, 0o640, 0, 42
        archive.addfile(shadow, io.BytesIO(b"root:"))
        for name, target, kind in (
            ("./sh", "bin/busybox", tarfile.SYMTYPE),
            ("./copy", "./etc/shadow", tarfile.LNKTYPE),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
        null = tarfile.TarInfo("./null")
        null.type, null.devmajor, null.devminor, null.mode = tarfile.CHRTYPE, 1, 3, 0o666
        archive.addfile(null)
    return path


@pytest.mark.subprocess
def test_the_system_is_on_the_disc_as_it_was(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"a kernel")
    live_iso.write(tmp_path / "live.iso", "tiny", kernel, archive_at(tmp_path / "root.tar"), tmp_path)
    read = iso.read(tmp_path / "live.iso", ["vmlinuz.", "root.gz", "isolinux.cfg"])
    assert read["vmlinuz."] == b"a kernel"
    assert b"rdinit=/live-init" in read["isolinux.cfg"]
    packed = gzip.decompress(read["root.gz"])
    listed = process.run(["cpio", "-itvn", "--quiet"], stdin=packed).stdout
    lines = {line.split()[-1].partition(" ->")[0]: line.split() for line in listed.splitlines()}
    assert lines["etc/shadow"][0] == "-rw-r-----"
    assert lines["etc/shadow"][2:4] == ["0", "42"]
    assert lines["bin/busybox"][0].startswith("l")
    assert lines["copy"][4] == "5", "a hard link has the content"
    assert lines["null"][0].startswith("c") and lines["null"][4:6] == ["1,", "3"]
    assert lines["live-init"][0] == "-rwxr-xr-x"
