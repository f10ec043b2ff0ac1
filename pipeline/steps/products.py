"""Make the files that will be published from the finished disk and its layers: the product stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.host.guestfs import boot_parts, tar_stream
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.boot_parts import BootParts, command_line
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.media import live_iso
from pipeline.host.system import kernel, tool_versions
from pipeline.image import convert, ova
from pipeline.recipes.model.product import Product
from pipeline.recipes.model.product import ProductFormat as Format
from pipeline.recipes.model.recipe import OsType, Recipe
from pipeline.steps.reproducible import EPOCH
from pipeline.steps.step import Context, Stage

# What is taken out of the disk's file systems.
PARTS = (Format.AKI, Format.ARI, Format.AMI, Format.ISO)


class ProductsStep:
    """Flattens the layers and writes every format the recipe asks for, without what the disk does not use.

    Its facts: ``files`` (format → ``size`` and ``virtual_size`` in bytes); with ``aki`` also ``boot`` (where kernel and
    ramdisk were in the guest, the root's UUID), and the property that a disk with partitions needs in addition to them.
    """

    name = "products"
    stage = Stage.PRODUCT

    def applies_to(self, recipe: Recipe) -> bool:
        """Return ``True``, always."""
        return True

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the formats, and the version of the program that writes them; what else an OVA tells."""
        found: dict[str, Any] = {
            "products": [product.model_dump(mode="json") for product in recipe.products],
            "qemu-img": tool_versions.version("qemu-img"),
        }
        made = {product.format for product in recipe.products}
        if Format.OVA in made:
            tested = recipe.boot_test
            found["ova"] = [recipe.name, recipe.summary, str(recipe.os.type), tested.memory, tested.vcpus]
        if made & set(PARTS):
            found["appliance"] = kernel.newest().version
            found["root"] = recipe.disk.root
        return found

    def run(self, context: Context) -> Mapping[str, Any]:
        """Write one product after the other."""
        facts: dict[str, Any] = {}
        made = {product.format for product in context.recipe.products}
        parts = _take_out(context) if made & set(PARTS) else None
        if Format.AKI in made and parts is not None:
            facts["boot"] = {"kernel": parts.kernel, "ramdisk": parts.ramdisk, "root": parts.root_uuid}
            if Format.AMI not in made:
                facts["properties"] = {"os_command_line": command_line(f"UUID={parts.root_uuid}")}
        facts["files"] = {str(product.format): _write(context, product, parts) for product in context.recipe.products}
        return facts


def _write(context: Context, product: Product, parts: BootParts | None) -> dict[str, Any]:
    context.progress.say(f"writing {product.format}")
    target = context.products[product.format]
    virtual_size: int | None = None
    if product.format is Format.OVA:
        virtual_size = _package(context, target)
    elif product.format is Format.ISO:
        live_iso.write(target, context.recipe.name, _kernel(context), _root(context), context.folder)
        _root(context).unlink()
        virtual_size = target.stat().st_size
    elif product.format.is_disk:
        part = parts.root if parts and product.format is Format.AMI else None
        virtual_size = _convert(context, product, target, part)
    return {"size": target.stat().st_size, "virtual_size": virtual_size}


def _convert(context: Context, product: Product, target: Path, part: tuple[int, int] | None) -> int | None:
    name = "raw" if product.format is Format.AMI else str(product.format)
    options = convert.ConvertOptions(
        format=name, compression=convert.Qcow2Compression(product.compression), ordered=True
    )
    return convert.convert(
        context.disk, "qcow2", target, options, own_layers=context.layers, part=part, progress=context.progress
    ).virtual_size


def _package(context: Context, target: Path) -> int:
    recipe, disk = context.recipe, context.folder / "disk.vmdk"
    options = convert.ConvertOptions(format="vmdk", ordered=True)
    convert.convert(context.disk, "qcow2", disk, options, own_layers=context.layers, progress=context.progress)
    described = ova.OvaDescription(
        recipe.name,
        recipe.summary,
        recipe.disk.size,
        recipe.boot_test.memory,
        recipe.boot_test.vcpus,
        windows=recipe.os.type is OsType.WINDOWS,
    )
    ova.write(target, disk, described, time=EPOCH)
    disk.unlink()
    return recipe.disk.size


def _take_out(context: Context) -> BootParts:
    """Kernel and ramdisk out of the finished disk."""
    appliance = Appliance(context.accelerator, context.home.cache / "appliance", context.folder, context.log)
    context.progress.say("taking kernel and ramdisk out of the image")
    with appliance.launched([Drive(context.disk, "qcow2", read_only=True)]) as handle:
        system = GuestSystem.open(handle, context.log, root=context.recipe.disk.root)
        parts = boot_parts.find(system)
        made = context.products
        parts.save(system, _kernel(context), made.get(Format.ARI))
        if Format.ISO in made:
            context.progress.say("reading the root file system")
            tar_stream.save(handle, context.folder, _root(context))
    return parts


def _kernel(context: Context) -> Path:
    return context.products.get(Format.AKI, context.folder / "vmlinuz")


def _root(context: Context) -> Path:
    return context.folder / "root.tar"
