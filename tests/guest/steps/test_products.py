"""Every format of one disk: what is in it, and that it starts."""

from __future__ import annotations

import dataclasses
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process
from pipeline.image import formats
from pipeline.recipes.model.product import ProductFormat
from pipeline.steps.boot_test.step import BootTestStep
from pipeline.steps.products import ProductsStep
from tests.guest.conftest import context_for, tiny_recipe

pytestmark = pytest.mark.guest

FORMATS = [*(each for each in ProductFormat if each is not ProductFormat.QCOW2)]
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"


@dataclass
class Made:
    """The products of one disk."""

    products: dict[str, Path]
    facts: dict[str, Any]
    disk: Path


@pytest.fixture(scope="module")
def made(tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("products")
    products = {str(each): folder / f"image.{each}" for each in ProductFormat}
    wanted = [{"format": "qcow2", "compression": "zstd"}, *({"format": str(each)} for each in FORMATS)]
    context = context_for(tiny_recipe(products=wanted, summary="tiny & small"), folder, tiny_disk, products=products)
    context = dataclasses.replace(context, layers=tiny_disk.parent)
    facts = dict(ProductsStep().run(context))
    yield Made(products, facts, tiny_disk)


@pytest.mark.parametrize("name", ["qcow2", "raw", "vmdk", "vhd", "vhdx", "vdi"])
def test_every_disk_is_the_same_one(made: Made, name: str) -> None:
    assert formats.inspect(made.products[name], name).virtual_size == 64 << 20
    driver = {"vhd": "vpc"}.get(name, name)
    process.run(["qemu-img", "compare", "-f", "qcow2", "-F", driver, made.disk, made.products[name]])


def test_a_package_holds_the_disk_and_tells_the_truth_about_it(made: Made, tmp_path: Path) -> None:
    with tarfile.open(made.products["ova"]) as package:
        names = package.getnames()
        package.extractall(tmp_path)
    assert names == ["tiny.ovf", "tiny.mf", "tiny-disk1.vmdk"]
    for line in (tmp_path / "tiny.mf").read_text().splitlines():
        name, digest = line.removeprefix("SHA256(").split(")= ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    root = ElementTree.parse(tmp_path / "tiny.ovf").getroot()
    (file,), (disk,) = root.iter(f"{OVF}File"), root.iter(f"{OVF}Disk")
    assert file.get(f"{OVF}size") == str((tmp_path / "tiny-disk1.vmdk").stat().st_size)
    assert disk.get(f"{OVF}capacity") == str(64 << 20)
    process.run(["qemu-img", "compare", "-f", "qcow2", "-F", "vmdk", made.disk, tmp_path / "tiny-disk1.vmdk"])


@pytest.mark.long
@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vhd", "vhdx", "vdi", "raw"])
def test_every_disk_starts_by_itself(made: Made, tmp_path: Path, name: str) -> None:
    """Here with zstd; each build of tiny boots a disk compressed with zlib."""
    boots(name, made.products[name], tmp_path)


@pytest.mark.long
def test_the_disk_of_a_package_starts(made: Made, tmp_path: Path) -> None:
    with tarfile.open(made.products["ova"]) as package:
        package.extract("tiny-disk1.vmdk", tmp_path)
    boots("vmdk", tmp_path / "tiny-disk1.vmdk", tmp_path)


def boots(name: str, product: Path, folder: Path) -> None:
    """Have the boot test start a product."""
    (folder / "run").mkdir()
    context = context_for(tiny_recipe(products=[{"format": name}]), folder / "run", products={name: product})
    facts = BootTestStep().run(context)
    assert facts["product"] == name
    assert facts["firmware"]["bios"]["powered_off"] is True


def test_the_root_file_system_is_taken_out_whole(made: Made) -> None:
    checked = process.run(["e2fsck", "-fn", made.products["ami"]], check=False)
    assert checked.status == 0, checked.stdout
    assert made.products["ami"].stat().st_size == 31 << 20
    assert made.products["aki"].read_bytes()[0x202:0x206] != b"", "a bzImage has a setup header"
    assert made.products["ari"].read_bytes()[:2] == b"\x1f\x8b"
    boot = made.facts["boot"]
    assert (boot["kernel"], boot["ramdisk"], len(boot["root"])) == ("/boot/vmlinuz", "/boot/initrd.gz", 36)


def test_the_kernel_starts_the_root_beside_it(made: Made, tmp_path: Path) -> None:
    triple = {name: made.products[name] for name in ("aki", "ari", "ami")}
    recipe = tiny_recipe(products=[{"format": name} for name in triple])
    (tmp_path / "run").mkdir()
    context = context_for(recipe, tmp_path / "run", products=triple, facts={"products": made.facts})
    facts = BootTestStep().run(context)
    assert facts["product"] == "ami"
    assert facts["firmware"] == {}
    assert facts["direct"]["powered_off"] is True
    said = (context.documents / "boot-kernel-serial.log").read_text(errors="replace")
    assert "root=/dev/vda console=tty0" in said


def test_the_iso_starts_the_system_without_any_disk(made: Made, tmp_path: Path) -> None:
    assert formats.inspect(made.products["iso"], "iso").format == "iso"
    machine = qemu_command.Machine(
        "live",
        "tcg",
        Hardware(),
        cdroms=[qemu_command.GuestDisk(made.products["iso"], "raw", read_only=True)],
        boot_cdrom=True,
    )
    with guest.running(machine, tmp_path / "run") as running:
        running.wait_for_text("tiny: ready", 180, "the end of the start")
        said = running.console.text
        assert running.power_off(60)
    assert "rdinit=/live-init" in said


@pytest.mark.parametrize(
    ("products", "said"),
    [
        (["aki", "ari"], "one product must be a disk that can be booted"),
        (["ova", "iso"], "one product must be a disk that can be booted"),
        (["raw", "aki"], "aki, ari and a disk belong together"),
        (["ami"], "aki, ari and a disk belong together"),
    ],
)
def test_products_that_could_not_be_started(products: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny_recipe(products=[{"format": name} for name in products])
