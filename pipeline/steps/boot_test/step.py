"""Boot-test products on exactly the hardware their published properties ask for, and on the other firmware.

What the firmware loads, up to the kernel and its ramdisk, is the *boot chain*. Only that can work with one firmware and
not with the other; the system behind it is proved by the boot with the published one. So the other firmware boots again
when the boot chain is another one, byte for byte, and else the boot of the image that had the same one speaks for this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.qemu import firmware, hardware
from pipeline.host.qemu.accelerator import emulator
from pipeline.host.system import process, tool_versions
from pipeline.image import convert
from pipeline.recipes.model.product import Firmware, ProductFormat
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.boot_test import boot
from pipeline.steps.step import Context, Stage


class BootTestStep:
    """Boots the first disk with the published firmware; the other disks must hold the same one.

    With ``aki`` and ``ari``, it also boots them with ``ami`` or the first disk, as a cloud does.

    Its facts: ``product``, ``memory`` (bytes), ``untested`` (published hardware properties that no boot here speaks
    for), ``firmware`` (name → ``seconds`` until user-data reported, ``powered_off`` by the power button,
    ``accelerator``), ``direct`` (the same of the kernel next to the disk). Its documents: serial log and screenshot of
    each boot.
    """

    name = "boot_test"
    stage = Stage.RECORD

    def applies_to(self, recipe: Recipe) -> bool:
        """Unless the recipe switches it off."""
        return recipe.boot_test.enabled

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the hardware that is asked for, and the versions of what plays it. Other properties change no boot."""
        return {**_inputs(recipe), "firmware": _firmware(recipe, [published(recipe)])}

    def run(self, context: Context) -> Mapping[str, Any]:
        """Boot with the published firmware."""
        recipe = context.recipe
        _require_same_disk({name: context.products[name] for name in _disks(context)})
        name, kind = _first_disk(context), published(recipe)
        facts = {
            "product": name,
            "memory": recipe.boot_test.memory,
            "untested": list(hardware.Hardware.from_properties(recipe.image_properties).untested),
            "firmware": {str(kind): boot.booted(context, name, str(kind))} if _disks(context) else {},
        }
        if ProductFormat.AKI not in context.products:
            return facts
        return {**facts, "direct": boot.booted(context, name, "kernel", boot.direct(context))}


class FirmwareTestStep:
    """Boots the first disk with every further firmware that the recipe lists.

    Its facts: ``firmware``, as the boot test's, and ``boot_chain`` (SHA-256 of what the firmware loads, if the image
    lets it be told). Its documents: serial log and screenshot of each boot.
    """

    name = "firmware_test"
    stage = Stage.RECORD

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether there are further ones, and a disk that they could start."""
        made = any(product.format.is_whole_disk for product in recipe.products)
        return recipe.boot_test.enabled and made and len(set(recipe.boot_test.firmware)) > 1

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the same hardware, and the firmwares."""
        others = _others(recipe)
        return {**_inputs(recipe), "others": others, "firmware": _firmware(recipe, others)}

    def part(self, recipe: Recipe, facts: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return the boot chain, unless the recipe wants all firmwares to boot whatever changed."""
        return None if recipe.boot_test.thorough else facts.get("offline", {}).get("boot_chain")

    def run(self, context: Context) -> Mapping[str, Any]:
        """Boot with one firmware after the other."""
        name = _first_disk(context)
        return {
            "firmware": {kind: boot.booted(context, name, kind) for kind in _others(context.recipe)},
            "boot_chain": self.part(context.recipe, context.facts),
        }


def published(recipe: Recipe) -> Firmware:
    """Return the firmware that a cloud will start the image with, if the recipe wants it tested; else the first it
    lists.
    """
    tested = recipe.boot_test.firmware
    named = hardware.Hardware.from_properties(recipe.image_properties).firmware
    return next((kind for kind in tested if kind == named), tested[0])


def _others(recipe: Recipe) -> list[str]:
    return [str(kind) for kind in recipe.boot_test.firmware if kind is not published(recipe)]


def _inputs(recipe: Recipe) -> dict[str, Any]:
    properties = recipe.image_properties
    return {
        "hardware": asdict(hardware.Hardware.from_properties(properties)),
        "seed": properties.get("img_config_drive"),
        "shutdown": properties.get("os_shutdown_timeout"),
        "boot_test": recipe.boot_test.model_dump(mode="json"),
        "products": [product.model_dump(mode="json") for product in recipe.products],
        "qemu": tool_versions.version(emulator()),
    }


def _firmware(recipe: Recipe, kinds: Sequence[str]) -> dict[str, str]:
    """Return the firmware itself, by its bytes: a newer package of it may boot differently."""
    found: dict[str, str] = {}
    for kind in kinds:
        machine = hardware.Hardware.from_properties(recipe.image_properties, firmware=kind)
        uefi = kind == Firmware.UEFI
        found |= firmware.digests(machine.machine, uefi=uefi, secure_boot=uefi and machine.secure_boot)
    return found


def _disks(context: Context) -> list[str]:
    return [name for name in context.products if ProductFormat(name).is_whole_disk]


def _first_disk(context: Context) -> str:
    return next(iter([*_disks(context), str(ProductFormat.AMI)]))


def _require_same_disk(products: Mapping[str, Path]) -> None:
    """Raise ``PipelineError`` unless every product holds the disk of the first one: its boot speaks for all."""
    if not products:
        return
    (first_name, first), *others = products.items()
    for name, path in others:
        formats = ["-f", convert.qemu_name(first_name), "-F", convert.qemu_name(name)]
        finished = process.run(["qemu-img", "compare", *formats, first, path], timeout=3600, check=False)
        if finished.status != 0:
            output = (finished.stdout + finished.stderr).strip()
            raise PipelineError(f"the {name} product does not hold the disk of the {first_name} one", details=[output])
