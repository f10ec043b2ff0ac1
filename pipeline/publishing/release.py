"""From a finished build to what the cloud should hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipeline.base.errors import PipelineError
from pipeline.engine.result import BuildResult, ProductResult
from pipeline.image import properties
from pipeline.publishing import marks
from pipeline.publishing.marks import Chain
from pipeline.publishing.stores import Store
from pipeline.publishing.wanted import Wanted
from pipeline.recipes.product import ProductFormat

_RESERVED = (marks.PREFIX, "os_glance")
BOOT_TEST = "boot_test"


def choose_product(build: BuildResult, stores: Sequence[Store], asked: ProductFormat | None = None) -> ProductResult:
    """The product to publish: what the target or the recipe asks for, else RAW where Ceph keeps it, else the first.

    Guests on Ceph start as clones of a RAW image; any other format would be copied whole each time.
    """
    wanted = asked or build.recipe.publish.format
    if wanted is not None:
        return build.product(wanted)
    on_ceph = any(store.type == "rbd" for store in stores)
    raw = [product for product in build.products if product.format == ProductFormat.RAW]
    return raw[0] if on_ceph and raw else build.products[0]


def disk(build: BuildResult, product: ProductResult, publisher: str, now: datetime) -> Wanted:
    """The disk image that ``product`` should become. Raises ``PipelineError`` when it must not be published."""
    recipe = build.recipe
    if recipe.boot_test.enabled and BOOT_TEST not in build.facts:
        raise PipelineError(
            f"recipe {recipe.name}: there is no record of a boot test, so that nothing is published",
            hint=f"./inv build {recipe.name}",
        )
    reserved = sorted(name for name in build.properties if name.startswith(_RESERVED))
    if reserved:
        raise PipelineError(
            f"recipe {recipe.name}: {', '.join(reserved)}: these names are publishing's and the service's own",
            hint=f"properties cannot start with {' or '.join(_RESERVED)}",
        )
    tested = recipe.boot_test.memory if recipe.boot_test.enabled else None
    return Wanted(
        chain=Chain(publisher, recipe.name),
        name=recipe.image_name,
        version=marks.version_stamp(now),
        path=product.path,
        size=product.size,
        sha512=product.digests["sha512"],
        disk_format=product.format,
        container_format="bare",
        visibility=str(recipe.publish.visibility),
        hidden=recipe.publish.hidden,
        protected=recipe.publish.protected,
        tags=frozenset(recipe.publish.tags),
        min_disk=properties.min_disk(recipe.disk.size, recipe.publish.min_disk),
        min_ram=properties.min_ram(recipe.publish.min_ram, tested),
        properties={**build.properties, **product.signature},
    )
