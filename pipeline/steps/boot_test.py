"""The boot test: the product on exactly the hardware its published properties ask for, until its user-data ran.

The product is opened read-only and lies below a throwaway overlay, so that what was tested is what will be signed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host import answers, firmware, guest, hardware, iso, memory, process, qemu, triage, turns
from pipeline.host.accelerator import emulator
from pipeline.host.boot_parts import command_line
from pipeline.image import convert
from pipeline.recipes.model import OsType, Recipe
from pipeline.recipes.product import Firmware, ProductFormat
from pipeline.steps.step import Context, Stage

# Nova's default for ``os_shutdown_timeout``, and how much longer an emulated guest may take.
_SHUTDOWN = 60
_PATIENCE = {"kvm": 1, "tcg": 3}
# Bytes that QEMU needs beside its guest's memory, and what is left to others.
MEMORY_OF_QEMU = 256 << 20
_SPARE_MEMORY = 2 << 30
# One host key shows that keys are made; primes for RSA and DSA take an emulated processor ten seconds more.
_VENDOR_DATA = b"#cloud-config\nssh_genkeytypes: [ed25519]\n"


class BootTest:
    """Boots the first disk with every firmware the recipe lists; the others must hold the same disk.

    With ``aki`` and ``ari``, it also boots them with ``ami`` or the first disk, as a cloud does.

    Its facts: ``product``, ``memory`` (bytes), ``untested`` (published hardware properties that no boot here speaks
    for), ``firmware`` (name → ``seconds`` until user-data reported, ``powered_off`` by the power button,
    ``accelerator``), ``direct`` (the same of the kernel beside the disk). Its documents: serial log and screenshot of
    each boot.
    """

    name = "boot_test"
    stage = Stage.RECORD

    def wanted(self, recipe: Recipe) -> bool:
        """Unless the recipe switches it off."""
        return recipe.boot_test.enabled

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """The hardware that is asked for, and the versions of what plays it. Other properties change no boot."""
        properties = recipe.image_properties
        return {
            "hardware": asdict(hardware.Hardware.from_properties(properties)),
            "seed": properties.get("img_config_drive"),
            "shutdown": properties.get("os_shutdown_timeout"),
            "boot_test": recipe.boot_test.model_dump(mode="json"),
            "products": [product.model_dump(mode="json") for product in recipe.products],
            "qemu": answers.version(emulator()),
        }

    def sources(self) -> Sequence[Path]:
        """What starts and judges guests."""
        return [Path(str(module.__file__)) for module in (firmware, guest, hardware, iso, qemu, triage, turns)]

    def run(self, context: Context) -> Mapping[str, Any]:
        """Boot with every firmware; at the same time where there is a processor and memory for each."""
        recipe = context.recipe
        disks = {name: path for name, path in context.products.items() if ProductFormat(name).is_whole_disk}
        _require_same_disk(disks)
        name = next(iter([*disks, ProductFormat.AMI]))
        waits = {str(kind): _booted(context, name, str(kind)) for kind in recipe.boot_test.firmware if disks}
        if at_once(recipe, context.guests) > 1:
            results = turns.together(waits)
        else:
            results = {kind: turns.alone(wait) for kind, wait in waits.items()}
        facts = {
            "product": str(name),
            "memory": recipe.boot_test.memory,
            "untested": list(hardware.Hardware.from_properties(recipe.image_properties).untested),
            "firmware": results,
        }
        if ProductFormat.AKI not in context.products:
            return facts
        return {**facts, "direct": turns.alone(_booted(context, name, "kernel", _direct(context)))}


def at_once(recipe: Recipe, guests: int | None = None) -> int:
    """How many guests run at the same time: all, or one where there is no processor and memory for each.

    ``guests`` bounds them, too.
    """
    wanted = len(recipe.boot_test.firmware)
    has_room = memory.available() > wanted * (recipe.boot_test.memory + MEMORY_OF_QEMU) + _SPARE_MEMORY
    return wanted if has_room and wanted <= (guests or len(os.sched_getaffinity(0))) else 1


def _direct(context: Context) -> qemu.DirectBoot:
    """The kernel as Nova's libvirt driver starts it."""
    products, facts = context.products, context.facts["products"]
    bus = hardware.Hardware.from_properties(context.recipe.image_properties).disk_bus
    root = "/dev/vda" if bus == "virtio" else "/dev/sda"
    given = {"os_command_line": command_line(root), **facts.get("properties", {}), **context.recipe.properties}
    return qemu.DirectBoot(products[ProductFormat.AKI], products[ProductFormat.ARI], given["os_command_line"])


def _booted(
    context: Context, name: str, kind: str, direct: qemu.DirectBoot | None = None
) -> Generator[None, None, dict[str, Any]]:
    how = "the kernel and the ramdisk beside the disk" if direct else f"{kind.upper()} firmware"
    context.progress.say(f"booting {name} with {how}")
    recipe, wanted = context.recipe, context.recipe.boot_test
    if direct is not None and ProductFormat.AMI in context.products:
        name = ProductFormat.AMI
    product = qemu.Disk(context.products[name], "raw" if name == ProductFormat.AMI else name, read_only=True)
    size = int(convert.info(product.path, product.format)["virtual-size"])
    firmware_kind = str(Firmware.BIOS) if direct else kind
    token = secrets.token_hex(16)
    overlay, seed = context.folder / f"{kind}-overlay.qcow2", context.folder / f"{kind}-seed.iso"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, str(size)])
    _write_seed(seed, token, recipe)
    machine = qemu.Machine(
        name=f"{recipe.name}-boot-test",
        accelerator=context.accelerator,
        hardware=hardware.Hardware.from_properties(recipe.image_properties, firmware=firmware_kind),
        memory=wanted.memory,
        vcpus=wanted.vcpus,
        disks=[qemu.Disk(overlay, "qcow2", base=product)],
        cdroms=[qemu.Disk(seed, "raw", read_only=True)],
        direct=direct,
    )
    what = "user-data's report on ttyS0"
    with (
        guest.running(machine, context.evidence, str(kind), policy=context.patience) as running,
        _evidence(context, running),
    ):
        seconds = yield from running.waiting(
            lambda: token in running.console.text, wanted.timeout, what, progress=context.progress
        )
        running.screenshot(context.evidence / f"{kind}-screen.png")
        context.progress.say(f"pressing the power button ({kind})")
        powered_off = yield from running.powering_off(_shutdown_time(context))
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
    """When the block fails: what the guest shows and what is known of it then, beside the logs."""
    try:
        yield
    except PipelineError:
        running.write_evidence(context.evidence)
        raise


def _shutdown_time(context: Context) -> float:
    said = context.recipe.properties.get("os_shutdown_timeout", "")
    return (int(said) if said.isdigit() else _SHUTDOWN) * _PATIENCE.get(context.accelerator, 1)


def _require_same_disk(products: Mapping[str, Path]) -> None:
    """Raise ``PipelineError`` unless every product holds the disk of the first one: its boot speaks for all."""
    if not products:
        return
    (first_name, first), *others = products.items()
    for name, path in others:
        formats = ["-f", convert.qemu_name(first_name), "-F", convert.qemu_name(name)]
        finished = process.run(["qemu-img", "compare", *formats, first, path], timeout=3600, check=False)
        if finished.status != 0:
            said = (finished.stdout + finished.stderr).strip()
            raise PipelineError(f"the {name} product does not hold the disk of the {first_name} one", details=[said])
