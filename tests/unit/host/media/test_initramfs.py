from pathlib import Path

import pytest

from pipeline.host.media.initramfs import Archive
from pipeline.host.system import process


def _example() -> bytes:
    archive = Archive()
    archive.add_file("bin/busybox", b"\x7fELF", 0o755)
    archive.add_link("bin/sh", "busybox")
    archive.add_file("etc/empty", b"")
    archive.add_folder("proc")
    archive.add_folder("proc")
    return archive.finish()


@pytest.mark.subprocess
def test_cpio_reads_it(tmp_path: Path) -> None:
    process.run(["cpio", "--quiet", "-idm", "--no-absolute-filenames"], stdin=_example(), cwd=tmp_path)
    assert (tmp_path / "bin" / "sh").read_bytes() == b"\x7fELF"
    assert (tmp_path / "bin" / "busybox").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin" / "sh").readlink() == Path("busybox")
    assert (tmp_path / "etc" / "empty").stat().st_size == 0
    assert (tmp_path / "proc").is_dir()


def test_the_same_content_gives_the_same_bytes() -> None:
    assert _example() == _example()


def test_a_path_is_given_once() -> None:
    archive = Archive()
    archive.add_file("init", b"")
    with pytest.raises(ValueError, match="init is in the archive already"):
        archive.add_file("init", b"")
