"""Boot a product once on the hardware that its published properties ask for, until its user-data ran.

The product is opened read-only and lies below a throwaway overlay, so that what was tested is what will be signed.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.boot_parts import command_line
from pipeline.host.media import iso
from pipeline.host.qemu import command as qemu_command
from pipeline.host.qemu import guest, hardware
from pipeline.host.system import process
from pipeline.image import convert
from pipeline.recipes.model.product import Firmware, ProductFormat
from pipeline.recipes.model.recipe import OsType, Recipe
from pipeline.steps.step import Context

# Nova's default for ``os_shutdown_timeout``, and how much longer an emulated guest may take.
_SHUTDOWN = 60
_SLOWDOWN = {"kvm": 1, "tcg": 3}
# One host key shows that keys are made; primes for RSA and DSA take an emulated processor ten seconds more.
_VENDOR_DATA = b"#cloud-config\nssh_genkeytypes: [ed25519]\n"


def direct(context: Context) -> qemu_command.DirectBoot:
    """Return the kernel next to the disk, as Nova's libvirt driver starts it."""
    products, facts = context.products, context.facts["products"]
    bus = hardware.Hardware.from_properties(context.recipe.image_properties).disk_bus
    root = "/dev/vda" if bus == "virtio" else "/dev/sda"
    given = {"os_command_line": command_line(root), **facts.get("properties", {}), **context.recipe.properties}
    return qemu_command.DirectBoot(products[ProductFormat.AKI], products[ProductFormat.ARI], given["os_command_line"])


def booted(context: Context, name: str, kind: str, direct: qemu_command.DirectBoot | None = None) -> dict[str, Any]:
    """Boot the product ``name`` with the firmware ``kind``, or with ``direct``; then press the power button.

    Returns ``seconds`` until user-data reported, ``powered_off`` and ``accelerator``; serial log and screenshot go to
    the step's documents. Raises ``PipelineError`` when it does not boot, with evidence left.
    """
    how = "the kernel and the ramdisk beside the disk" if direct else f"{kind.upper()} firmware"
    context.progress.say(f"booting {name} with {how}")
    recipe, options = context.recipe, context.recipe.boot_test
    if direct is not None and ProductFormat.AMI in context.products:
        name = ProductFormat.AMI
    product = qemu_command.GuestDisk(
        context.products[name], "raw" if name == ProductFormat.AMI else name, read_only=True
    )
    size = int(convert.info(product.path, product.format)["virtual-size"])
    firmware_kind = str(Firmware.BIOS) if direct else kind
    token = secrets.token_hex(16)
    overlay, seed = context.folder / f"{kind}-overlay.qcow2", context.folder / f"{kind}-seed.iso"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, str(size)])
    _write_seed(seed, token, recipe)
    machine = qemu_command.Machine(
        name=f"{recipe.name}-boot-test",
        accelerator=context.accelerator,
        hardware=hardware.Hardware.from_properties(recipe.image_properties, firmware=firmware_kind),
        memory=options.memory,
        vcpus=options.vcpus,
        disks=[qemu_command.GuestDisk(overlay, "qcow2", base=product)],
        cdroms=[qemu_command.GuestDisk(seed, "raw", read_only=True)],
        direct=direct,
    )
    what = "user-data's report on ttyS0"
    with (
        guest.running(machine, context.evidence, str(kind), policy=context.stall_policy) as running,
        _evidence(context, running),
    ):
        seconds = running.wait_for_text(token, options.timeout, what, progress=context.progress)
        running.screenshot(context.evidence / f"{kind}-screen.png")
        context.progress.say(f"pressing the power button ({kind})")
        powered_off = running.power_off(_shutdown_time(context))
    if not powered_off:
        context.progress.say(f"with {kind} the guest ignored the power button and was ended by force")
    for suffix in ("serial.log", "screen.png"):
        file = context.evidence / f"{kind}-{suffix}"
        if file.exists():
            shutil.copy(file, context.documents / f"boot-{file.name}")
    return {"seconds": round(seconds, 1), "powered_off": powered_off, "accelerator": context.accelerator}


def _write_seed(target: Path, token: str, recipe: Recipe) -> None:
    name = "boot-test"
    metadata = {"instance-id": token, "uuid": token, "local-hostname": name, "hostname": name}
    user_data = f"#!/bin/sh\necho 'boot test {token}' > /dev/ttyS0\n".encode()
    if recipe.os.type is OsType.WINDOWS:
        # cloudbase-init has COM1 open for its log: what the script prints gets there.
        user_data = f"rem cmd\r\n@echo boot test {token}\r\n".encode()
    if recipe.properties.get("img_config_drive") == "mandatory":
        iso.config_drive(target, metadata=metadata, user_data=user_data)
    else:
        iso.nocloud_seed(target, metadata=metadata, user_data=user_data, vendor_data=_VENDOR_DATA)


@contextmanager
def _evidence(context: Context, running: guest.Guest) -> Iterator[None]:
    """When the block fails: what the guest shows and what is known of it then, in addition to the logs."""
    try:
        yield
    except PipelineError:
        running.write_evidence(context.evidence)
        raise


def _shutdown_time(context: Context) -> float:
    timeout_property = context.recipe.properties.get("os_shutdown_timeout", "")
    return (int(timeout_property) if timeout_property.isdigit() else _SHUTDOWN) * _SLOWDOWN.get(context.accelerator, 1)
