from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import process
from pipeline.image import convert, formats
from tests.unit.image import hostile

pytestmark = pytest.mark.subprocess


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 64 MiB qcow2 with 8 MiB of text in it."""
    folder = tmp_path_factory.mktemp("disk")
    raw = folder / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(20 << 20)
        file.write(b"all work and no play makes an image " * (8 << 20 >> 5))
    hostile.qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, folder / "disk.qcow2")
    return folder / "disk.qcow2"


class Heard:
    def __init__(self) -> None:
        self.done: list[int] = []

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        self.done.append(done)

    def say(self, text: str) -> None: ...


@pytest.mark.parametrize("target", ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"])
def test_each_format_holds_the_same_disk(disk: Path, tmp_path: Path, target: str) -> None:
    made, heard = tmp_path / "made", Heard()
    verdict = convert.convert(disk, "qcow2", made, convert.ConvertOptions(target), progress=heard, mode=0o444)
    assert (verdict.format, verdict.virtual_size) == (target, 64 << 20)
    assert convert.info(made, target)["virtual-size"] == 64 << 20
    convert.check(made, target)
    hostile.qemu_img("compare", "-f", "qcow2", "-F", convert.qemu_name(target), disk, made)
    assert heard.done[-1] == 100
    assert made.stat().st_mode & 0o777 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_compressed_qcow2(disk: Path, tmp_path: Path, compression: str) -> None:
    made = tmp_path / "made"
    convert.convert(disk, "qcow2", made, convert.ConvertOptions("qcow2", convert.Qcow2Compression(compression)))
    assert made.stat().st_size < disk.stat().st_size / 4
    assert convert.info(made, "qcow2")["format-specific"]["data"]["compression-type"] == compression
    hostile.qemu_img("compare", "-f", "qcow2", "-F", "qcow2", disk, made)


def test_hostile_images_never_reach_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "bad.qcow2"
    hostile.qemu_img("create", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/passwd", image, "1M")
    monkeypatch.setattr(process, "started", lambda *_, **__: pytest.fail("qemu-img was started"))
    with pytest.raises(formats.FormatRefused):
        convert.convert(image, "qcow2", tmp_path / "out", convert.ConvertOptions("raw"))
    assert not (tmp_path / "out").exists()


def test_the_sandbox_hides_what_an_image_names(tmp_path: Path) -> None:
    """Even past the inspector, a backing file cannot be opened."""
    secret = tmp_path / "secret"
    secret.write_text("secret" * 1000)
    image = tmp_path / "bad.qcow2"
    hostile.qemu_img("create", "-f", "qcow2", "-u", "-F", "raw", "-b", secret, image, "1M")
    with pytest.raises(PipelineError, match="needs other files"):
        convert.info(image, "qcow2")
    flat = tmp_path / "flat.vmdk"
    flat.write_text(hostile.text_vmdk("monolithicFlat", secret))
    with pytest.raises(process.ProcessFailed, match="No such file"):
        convert.info(flat, "vmdk")


def test_damage_is_found(disk: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.qcow2"
    hostile.patched(disk, damaged, 3 * 65536, b"\xff" * 64)  # the L1 table
    with pytest.raises(PipelineError, match="damaged"):
        convert.check(damaged, "qcow2")


def test_own_layers_are_flattened(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    base = tmp_path / "a" / "base.qcow2"
    base.write_bytes(disk.read_bytes())
    overlay = tmp_path / "b" / "top.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "../a/base.qcow2", overlay], check=True
    )
    made = tmp_path / "flat.raw"
    convert.convert(overlay, "qcow2", made, convert.ConvertOptions("raw"), own_layers=tmp_path)
    hostile.qemu_img("compare", "-f", "qcow2", "-F", "raw", disk, made)


def test_wrong_options_are_told() -> None:
    with pytest.raises(PipelineError, match="cannot be written"):
        convert.ConvertOptions("qed").words()
    with pytest.raises(PipelineError, match="only qcow2"):
        convert.ConvertOptions("raw", convert.Qcow2Compression.ZLIB).words()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_conversion_works_as_an_ordinary_user(disk: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3], disk.parent):
        folder.chmod(0o755) if folder.stat().st_uid == 0 and folder != Path("/tmp") else None
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 65534, 65534)
    code = (
        "from pathlib import Path; from pipeline.image import convert;"
        f"convert.convert(Path({str(disk)!r}), 'qcow2', Path({str(out / 'made')!r}), convert.ConvertOptions('raw'))"
    )
    subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c", code],
        check=True,
        cwd=Path(__file__).parents[3],
        env={"PATH": "/usr/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (out / "made").stat().st_uid == 65534
