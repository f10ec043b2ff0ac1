"""Turn a finished build, or files made elsewhere, into what a cloud should hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult, ProductResult
from pipeline.image import properties
from pipeline.image.digests import digest_file
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.stores import CloudStore
from pipeline.publishing.contents import inventory
from pipeline.publishing.contents.diff import ContentsDiff, compare
from pipeline.publishing.plan import gates
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.recipes.model.product import ProductFormat
from pipeline.recipes.nightly import Target
from pipeline.signing.attestation import proof
from pipeline.signing.image_signature import CERTIFICATE

_RESERVED = (ownership_marker.PREFIX, "os_glance")
# The Image API's formats of what a disk without a boot loader starts with.
BOOT_PARTS = {ImagePart.KERNEL: "aki", ImagePart.RAMDISK: "ari"}
_FILE_SYSTEM = "ami"
# Products whose formats in the Image API are not their name in a bare container.
_FORMATS = {"ova": ("vmdk", "ova"), _FILE_SYSTEM: ("ami", "ami")}


@dataclass(frozen=True)
class PublishSource:
    """What is to be published under the name ``recipe``.

    ``parts`` makes the images for a target, given those of its stores that will hold them: kernel, ramdisk or proof,
    if any, before the disk. ``gates`` says why the new disk must be held back, seeing the newest one, and
    ``difference`` what changed since then. ``stores`` are those the recipe asks for.
    """

    recipe: str
    parts: Callable[[Target, Sequence[CloudStore]], list[DesiredImage]]
    stores: Sequence[str] = ()
    gates: Callable[[DesiredImage, ImageRecord | None], tuple[str, ...]] = lambda disk, newest: ()
    difference: Callable[[ImageRecord | None], ContentsDiff | None] = lambda newest: None


def of_build(build: BuildResult, home: Home, publisher: str, now: datetime) -> PublishSource:
    """Return the source that a finished build is; what is inside its image is remembered for later comparisons."""
    contents = inventory.Inventory.of(build)
    for product in build.products:
        inventory.keep(home, product.digests["sha512"], contents)

    def parts(target: Target, stores: Sequence[CloudStore]) -> list[DesiredImage]:
        product = choose_product(build, stores, target.format)
        made = disk(build, product, target, publisher, now)
        return [*boot_parts(build, target, made), *documents(build, product, target, made), made]

    def difference(newest: ImageRecord | None) -> ContentsDiff | None:
        before = inventory.recall(home, newest.sha512) if newest else None
        return compare(before, contents) if before else None

    def reasons(desired: DesiredImage, newest: ImageRecord | None) -> tuple[str, ...]:
        # Sizes of different formats cannot be compared.
        size = newest.size if newest and newest.disk_format == desired.disk_format else None
        return gates.tripped(build.recipe.publish.gates, build, desired.size, size, difference(newest))

    return PublishSource(build.recipe.name, parts, build.recipe.publish.stores, reasons, difference)


def choose_product(
    build: BuildResult, stores: Sequence[CloudStore], asked: ProductFormat | None = None
) -> ProductResult:
    """Return the disk to publish: what the target or the recipe asks for, else RAW where Ceph keeps it, another
    elsewhere.

    Guests on Ceph start as clones of a RAW image; any other format would be copied whole each time. A root file system
    without a partition table is what a kernel next to it starts, so that it goes first.
    """
    desired = asked or build.recipe.publish.format
    if desired in BOOT_PARTS.values():
        raise PipelineError(f"{desired} is what a disk starts with, not a disk", hint="name the format of the disk")
    if desired is not None:
        return build.product(desired)
    disks = {product.format: product for product in build.products if product.format not in BOOT_PARTS.values()}
    if not disks:
        raise PipelineError(
            f"recipe {build.recipe.name} makes no disk",
            hint="add qcow2 or raw to products in the recipe: a disk is published",
        )
    if _FILE_SYSTEM in disks:
        return disks[_FILE_SYSTEM]
    on_ceph = any(store.type == "rbd" for store in stores)
    fitting = [product for name, product in disks.items() if (name == ProductFormat.RAW) == on_ceph]
    return (fitting or list(disks.values()))[0]


def disk(build: BuildResult, product: ProductResult, target: Target, publisher: str, now: datetime) -> DesiredImage:
    """Return the disk image that ``product`` should become on ``target``.

    Raises ``PipelineError`` when it must not be published.
    """
    recipe = build.recipe
    without_reserved(build.properties, f"recipe {recipe.name}")
    tested = recipe.boot_test.memory if recipe.boot_test.enabled else None
    disk_format, container_format = _FORMATS.get(product.format, (product.format, "bare"))
    return DesiredImage(
        chain=Chain(publisher, recipe.name),
        name=recipe.image_name,
        version=ownership_marker.version_stamp(now),
        path=product.path,
        size=product.size,
        sha512=product.digests["sha512"],
        disk_format=disk_format,
        container_format=container_format,
        visibility=str(recipe.publish.visibility),
        hidden=recipe.publish.hidden,
        protected=recipe.publish.protected,
        tags=frozenset(recipe.publish.tags),
        min_disk=properties.min_disk(recipe.disk.size, recipe.publish.min_disk),
        min_ram=properties.min_ram(recipe.publish.min_ram, tested),
        properties={**build.properties, **_signature(product, target)},
        members=frozenset(recipe.publish.members),
        certificate=product.signature.get(CERTIFICATE, "") if target.certificate else "",
    )


def boot_parts(build: BuildResult, target: Target, of: DesiredImage) -> list[DesiredImage]:
    """Return the kernel and the ramdisk that the disk image ``of`` starts with, for recipes that make them.

    Named as ``openstack overcloud image upload`` names them; the disk names their ids (``kernel_id``, ``ramdisk_id``).
    """
    made = {product.format: product for product in build.products}
    return [
        replace(
            of,
            chain=replace(of.chain, part=part),
            name=f"{of.name}{part.suffix}",
            path=made[disk_format].path,
            size=made[disk_format].size,
            sha512=made[disk_format].digests["sha512"],
            disk_format=disk_format,
            container_format="bare",
            min_disk=0,
            min_ram=0,
            properties={**of_every_part(of.properties), **_signature(made[disk_format], target)},
            certificate=made[disk_format].signature.get(CERTIFICATE, "") if target.certificate else "",
        )
        for part, disk_format in BOOT_PARTS.items()
        if disk_format in made
    ]


def documents(build: BuildResult, product: ProductResult, target: Target, of: DesiredImage) -> list[DesiredImage]:
    """Return the image that holds the documents of the disk image ``of``, hidden from listings; none for an unsigned
    one.

    The disk names it (``proof_id``), it names the disk by its digest.
    """
    path = build.documents.get(f"{product.format}.{proof.ENDING}")
    if path is None or not target.signed:
        return []
    digests = digest_file(path)
    return [
        replace(
            of,
            chain=replace(of.chain, part=ImagePart.PROOF),
            name=f"{of.name}{ImagePart.PROOF.suffix}",
            path=path,
            size=digests.size,
            sha512=digests.sha512,
            disk_format="raw",
            container_format="bare",
            hidden=True,
            min_disk=0,
            min_ram=0,
            properties={"proof_of_sha512": of.sha512},
            certificate="",
        )
    ]


def of_every_part(properties: Mapping[str, str]) -> dict[str, str]:
    """Return those of a disk's properties that its kernel and ramdisk have, too: what processor they are for."""
    return {name: value for name, value in properties.items() if name == "hw_architecture"}


def without_reserved(properties: Mapping[str, str], what: str) -> None:
    """Raise ``PipelineError`` when ``properties`` claim names that are publishing's and the service's own."""
    reserved = sorted(name for name in properties if name.startswith(_RESERVED))
    if reserved:
        raise PipelineError(
            f"{what}: {', '.join(reserved)}: these names are publishing's and the service's own",
            hint=f"properties cannot start with {' or '.join(_RESERVED)}",
        )


def _signature(product: ProductResult, target: Target) -> dict[str, str]:
    """Return the signature's properties as ``target`` can check them."""
    if not target.signed or not product.signature:
        return {}
    renamed = {CERTIFICATE: target.certificate} if target.certificate else {}
    return {**product.signature, **renamed}
