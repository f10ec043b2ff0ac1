"""What is done with images while they are imported: converted, unpacked, given properties."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from pipeline.host.system import process
from tests.environments.daemon import scratch
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import ask, assert_clean, ended, leftovers, settings, stage
from tests.integration.imageservice.lifecycle.transfer.test_upload import qcow2, signed
from tests.integration.imageservice.server.plain_app import pattern

pytestmark = pytest.mark.server
MIB = 1 << 20
DISK = pattern(3 * MIB) + bytes(20 * MIB) + pattern(2 * MIB) + bytes(7 * MIB)


@pytest.fixture(scope="module")
def converting() -> Iterator[ImageService]:
    with scratch("plugins") as folder:
        imports = {
            "plugins": ["inject_image_metadata", "image_decompression", "image_conversion"],
            "injection": {"properties": {"origin": "imported", "os_glance_x": "never"}},
        }
        with image_service(folder, **settings(folder, **imports)) as running:
            yield running
            assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same disk in several formats."""
    folder = tmp_path_factory.mktemp("disks")
    raw = folder / "raw"
    raw.write_bytes(DISK)
    made = {"raw": DISK}
    for name, words in {
        "qcow2": ["-O", "qcow2"],
        "compressed": ["-c", "-O", "qcow2"],
        "vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
        "vhdx": ["-O", "vhdx"],
        "vdi": ["-O", "vdi"],
        "vhd": ["-O", "vpc", "-o", "subformat=dynamic,force_size=on"],
    }.items():
        process.run(["qemu-img", "convert", "-f", "raw", *words, raw, folder / name])
        made[name] = (folder / name).read_bytes()
    return made


def imported(service: ImageService, data: bytes, user: str = "alice", **fields: str) -> str:
    image_id = service.create(user, **fields)
    assert stage(service, image_id, data, user).status_code == 204
    assert ask(service, image_id, "glance-direct", user, all_stores=True).status_code == 202
    return image_id


@pytest.mark.parametrize("kind", ["qcow2", "compressed", "vmdk", "vhdx", "vdi", "vhd"])
def test_images_become_raw(converting: ImageService, images: dict[str, bytes], kind: str) -> None:
    declared = "qcow2" if kind == "compressed" else kind
    image_id = imported(converting, images[kind], disk_format=declared)
    task = ended(converting, image_id)
    assert task["status"] == "success", task
    shown = converting.show(image_id)
    assert (shown["status"], shown["disk_format"], shown["stores"]) == ("active", "raw", "one,three,two")
    size = shown["size"]
    assert size >= len(DISK)
    whole = DISK + bytes(size - len(DISK))
    assert shown["virtual_size"] == size
    assert shown["checksum"] == hashlib.md5(whole).hexdigest()
    assert shown["os_hash_value"] == hashlib.sha512(whole).hexdigest()
    kept = leftovers(converting, image_id)
    assert len(kept) == 3
    for path in kept:
        assert path.read_bytes() == whole
        assert path.stat().st_blocks * 512 < 8 * MIB, "holes are kept"


def test_raw_images_stay_as_they_are(converting: ImageService) -> None:
    image_id = imported(converting, DISK)
    assert ended(converting, image_id)["status"] == "success"
    assert converting.show(image_id)["checksum"] == hashlib.md5(DISK).hexdigest()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_images_are_unpacked_then_converted(converting: ImageService, images: dict[str, bytes], pack: object) -> None:
    assert callable(pack)
    image_id = imported(converting, pack(images["qcow2"]), disk_format="qcow2")
    task = ended(converting, image_id)
    assert task["status"] == "success", task
    assert task["progress"]["decompress"]["state"] == "done"
    shown = converting.show(image_id)
    assert (shown["disk_format"], shown["checksum"]) == ("raw", hashlib.md5(DISK).hexdigest())
    assert len(leftovers(converting, image_id)) == 3


def test_signed_images_are_never_converted(converting: ImageService, images: dict[str, bytes]) -> None:
    data = images["qcow2"]
    image_id = imported(converting, data, disk_format="qcow2", **signed(converting, data))
    assert ended(converting, image_id)["status"] == "success"
    shown = converting.show(image_id)
    assert (shown["disk_format"], shown["checksum"]) == ("qcow2", hashlib.md5(data).hexdigest())


@pytest.mark.parametrize("pack", [None, gzip.compress])
def test_hostile_images_never_reach_qemu(converting: ImageService, pack: object) -> None:
    hostile = qcow2(backing=512)
    data = pack(hostile) if callable(pack) else hostile
    image_id = imported(converting, data, disk_format="qcow2")
    task = ended(converting, image_id)
    assert task["status"] == "failure"
    assert "safety" in task["message"]
    assert_clean(converting, image_id)


def test_a_raw_disk_that_is_a_hostile_image_inside(converting: ImageService, tmp_path: Path) -> None:
    """What comes out of a conversion is looked at, too."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_bytes(qcow2(backing=512))
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", inner, outer])
    image_id = imported(converting, outer.read_bytes(), disk_format="qcow2")
    task = ended(converting, image_id)
    assert task["status"] == "failure", task
    assert "safety" in task["message"]
    assert_clean(converting, image_id)


@pytest.mark.parametrize("kind", ["qcow2", "compressed", "vmdk", "vhdx", "vdi", "vhd"])
def test_no_cut_image_is_converted(converting: ImageService, images: dict[str, bytes], kind: str) -> None:
    data = images[kind][: len(images[kind]) * 7 // 10 // 512 * 512]
    image_id = imported(converting, data, disk_format="qcow2" if kind == "compressed" else kind)
    task = ended(converting, image_id)
    assert (task["status"], "ends before the image does" in task["message"]) == ("failure", True), task["message"]
    assert_clean(converting, image_id)


def test_damaged_compression_is_refused(converting: ImageService, images: dict[str, bytes]) -> None:
    image_id = imported(converting, gzip.compress(images["qcow2"])[:-100], disk_format="qcow2")
    task = ended(converting, image_id)
    assert task["status"] == "failure"
    assert "damaged or ends too early" in task["message"]
    assert_clean(converting, image_id)


def test_properties_are_injected(converting: ImageService) -> None:
    image_id = imported(converting, b"data")
    assert ended(converting, image_id)["status"] == "success"
    shown = converting.show(image_id)
    assert shown["origin"] == "imported"
    assert "os_glance_x" not in shown
    spared = imported(converting, b"data", "admin")
    assert ended(converting, spared, "admin")["status"] == "success"
    assert "origin" not in converting.show(spared, "admin")


def test_other_targets() -> None:
    with scratch("to-qcow2") as folder:
        imports = {"plugins": ["image_conversion"], "conversion": {"output_format": "qcow2"}}
        with image_service(folder, **settings(folder, **imports)) as service:
            image_id = imported(service, DISK)
            task = ended(service, image_id)
            assert task["status"] == "success", task
            shown = service.show(image_id)
            assert (shown["disk_format"], shown["virtual_size"]) == ("qcow2", len(DISK))
            back = folder / "back"
            kept = leftovers(service, image_id)
            assert len(kept) == 3
            for path in kept:
                assert path.stat().st_size == shown["size"]
                process.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, back])
                assert back.read_bytes() == DISK


def test_signed_images_can_be_refused_instead(images: dict[str, bytes]) -> None:
    with scratch("refuse") as folder:
        imports = {"plugins": ["image_conversion"], "conversion": {"signed": "refuse"}}
        with image_service(folder, **settings(folder, **imports)) as service:
            data = images["qcow2"]
            image_id = imported(service, data, disk_format="qcow2", **signed(service, data))
            task = ended(service, image_id)
            assert task["status"] == "failure"
            assert "signed" in task["message"]
            assert_clean(service, image_id)
