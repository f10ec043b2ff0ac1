"""The boot test step: what it proves, and what it says when a product does not boot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import process
from pipeline.steps.boot_test.step import BootTestStep, FirmwareTestStep
from pipeline.steps.products import ProductsStep
from pipeline.steps.step import Context
from tests.guest.conftest import context_for, tiny_recipe

pytestmark = pytest.mark.guest


def products_of(disk: Path, folder: Path) -> dict[str, Path]:
    """Both products of a tiny disk."""
    products = {"qcow2": folder / "image.qcow2", "raw": folder / "image.raw"}
    layers = disk.parent
    context = context_for(tiny_recipe(), layers, disk, products=products)
    ProductsStep().run(context)
    for file in products.values():
        file.chmod(0o444)
    return products


def ready(folder: Path, products: dict[str, Path], **changes: Any) -> Context:
    return context_for(tiny_recipe(**changes), folder, products=products)


def state(products: dict[str, Path]) -> list[tuple[int, bytes]]:
    return [(file.stat().st_mtime_ns, file.read_bytes()) for file in products.values()]


def test_both_firmwares_boot_and_the_products_stay_as_they_are(tiny_disk: Path, tmp_path: Path) -> None:
    products = products_of(tiny_disk, tmp_path)
    before = state(products)
    boot_test = {"firmware": ["bios", "uefi"], "memory": "256MiB"}
    properties = {"hw_video_model": "vga", "hw_tpm_version": "2.0", "hw_tpm_model": "tpm-crb"}
    context = ready(tmp_path / "run", products, boot_test=boot_test, properties=properties)
    facts, others = BootTestStep().run(context), FirmwareTestStep().run(context)
    assert state(products) == before
    assert facts["product"] == "qcow2"
    assert facts["untested"] == ["hw_tpm_model", "hw_tpm_version"]
    assert (set(facts["firmware"]), set(others["firmware"])) == ({"bios"}, {"uefi"})
    for result in (facts["firmware"]["bios"], others["firmware"]["uefi"]):
        assert result["powered_off"] is True
        assert result["seconds"] > 0
    assert {file.name for file in context.documents.iterdir()} == {
        "boot-bios-serial.log",
        "boot-bios-screen.png",
        "boot-uefi-serial.log",
        "boot-uefi-screen.png",
    }


def test_a_panic_is_named_and_its_evidence_kept(make_tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Without an initramfs the kernel has no driver for its root."""
    disk = make_tiny(install={"method": "tiny", "kernel_arguments": ["rdinit=/absent", "panic=0"]})
    context = ready(tmp_path / "run", products_of(disk, tmp_path), boot_test={"timeout": "300s"})
    with pytest.raises(PipelineError) as caught:
        BootTestStep().run(context)
    assert "the kernel found no root file system (" in caught.value.message
    assert "hw_disk_bus" in str(caught.value.hint)
    assert any("Kernel panic" in line for line in caught.value.details)
    evidence = {file.name for file in context.evidence.iterdir()}
    assert {"bios-serial.log", "bios-screen.png", "bios-triage.json", "bios-firmware.log"} <= evidence
    known = json.loads((context.evidence / "bios-triage.json").read_text())
    assert known["diagnosis"]["action"] and known["serial"] and isinstance(known["events"], list)


def test_a_product_on_a_bus_it_has_no_driver_for_fails(tiny_disk: Path, tmp_path: Path) -> None:
    """The published property is wrong; a tenant would find out otherwise."""
    properties = {"hw_disk_bus": "scsi", "hw_scsi_model": "lsisas1078", "hw_video_model": "vga"}
    context = ready(tmp_path / "run", products_of(tiny_disk, tmp_path), properties=properties)
    with pytest.raises(PipelineError) as caught:
        BootTestStep().run(context)
    assert "LABEL=cirros-rootfs does not exist" in str(caught.value) or "no root file system" in str(caught.value)


def test_the_deadline_is_kept(tiny_disk: Path, tmp_path: Path) -> None:
    context = ready(tmp_path / "run", products_of(tiny_disk, tmp_path), boot_test={"timeout": "1s"})
    with pytest.raises(PipelineError, match="user-data's report on ttyS0 did not happen within 1 s"):
        BootTestStep().run(context)


def test_products_must_hold_the_same_disk(tiny_disk: Path, tmp_path: Path) -> None:
    products = products_of(tiny_disk, tmp_path)
    products["raw"].chmod(0o644)
    with products["raw"].open("r+b") as file:
        file.seek(40 << 20)
        file.write(b"something else")
    context = ready(tmp_path / "run", products)
    with pytest.raises(PipelineError, match="the raw product does not hold the disk of the qcow2 one"):
        BootTestStep().run(context)
    assert not process.run(["qemu-img", "check", "-q", products["qcow2"]]).stderr
