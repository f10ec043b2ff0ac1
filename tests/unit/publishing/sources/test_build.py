"""What a finished build offers to a cloud: which disk, and what goes with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.record.result import BuildResult, ProductResult
from pipeline.publishing.cloud.ownership_marker import ImagePart
from pipeline.publishing.cloud.stores import CloudStore
from pipeline.publishing.plan import name_conflicts
from pipeline.publishing.sources import build as build_source
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.product import ProductFormat, Publish
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Target

NOW = datetime(2026, 11, 21, 3, 15, tzinfo=UTC)
CEPH, FILES, UNKNOWN = CloudStore("ceph", "rbd"), CloudStore("main", "file"), CloudStore("other")


def recipe(called: str = "tiny", **publish: Any) -> Recipe:
    (shipped,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    return shipped.model_copy(update={"name": called, "publish": Publish.model_validate(publish)})


def build(*formats: str, **publish: Any) -> BuildResult:
    signature = {"img_signature_certificate_uuid": "ours"}
    products = [
        ProductResult(name, Path(f"/nowhere/{name}"), 1000, {"sha512": name * 20}, {**signature, "img_signature": name})
        for name in formats
    ]
    return BuildResult(
        recipe(**publish), "run", products, {"os_distro": "cirros", "hw_architecture": "x86_64"}, {}, [], True, 1.0
    )


@pytest.mark.parametrize(
    ("made", "stores", "chosen"),
    [
        (("qcow2", "raw"), [FILES], "qcow2"),
        (("raw", "qcow2"), [FILES], "qcow2"),
        (("raw", "qcow2"), [UNKNOWN], "qcow2"),
        (("raw", "qcow2"), [], "qcow2"),
        (("qcow2", "raw"), [CEPH], "raw"),
        (("qcow2", "raw"), [FILES, CEPH], "raw"),
        (("qcow2",), [CEPH], "qcow2"),
        (("raw",), [FILES], "raw"),
        (("aki", "ari", "vmdk", "raw"), [FILES], "vmdk"),
        (("aki", "ari", "qcow2", "raw", "ami"), [CEPH], "ami"),
    ],
)
def test_ceph_gets_raw_and_others_get_another_format(
    made: tuple[str, ...], stores: list[CloudStore], chosen: str
) -> None:
    assert build_source.choose_product(build(*made), stores).format == chosen


def test_what_target_or_recipe_ask_for_goes_first() -> None:
    both = build("qcow2", "raw", format="raw")
    assert build_source.choose_product(both, [FILES]).format == "raw"
    assert build_source.choose_product(both, [CEPH], ProductFormat.QCOW2).format == "qcow2"
    with pytest.raises(PipelineError, match="makes no vmdk"):
        build_source.choose_product(both, [CEPH], ProductFormat.VMDK)
    with pytest.raises(PipelineError, match="aki is what a disk starts with"):
        build_source.choose_product(build("aki", "qcow2"), [CEPH], "aki")  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="makes no disk"):
        build_source.choose_product(build("aki"), [])


def test_the_signature_follows_the_format(home: Home) -> None:
    source = build_source.of_build(build("qcow2", "raw"), home, "me", NOW)
    for store, name in ((FILES, "qcow2"), (CEPH, "raw")):
        (desired,) = source.parts(Target(cloud="c"), [store])
        assert (desired.disk_format, desired.sha512) == (name, name * 20)
        assert desired.properties["img_signature"] == name


def test_kernel_and_ramdisk_go_before_the_disk_and_are_named_as_people_know_them(home: Home) -> None:
    source = build_source.of_build(build("qcow2", "aki", "ari", visibility="public", tags=("t",)), home, "me", NOW)
    parts = source.parts(Target(cloud="c", certificate="0" * 8 + "-0000-4000-8000-" + "0" * 12), [])
    assert [each.chain.part for each in parts] == [ImagePart.KERNEL, ImagePart.RAMDISK, ImagePart.DISK]
    kernel, ramdisk, disk = parts
    assert (kernel.name, ramdisk.name) == (f"{disk.name}-vmlinuz", f"{disk.name}-initrd")
    assert (kernel.disk_format, ramdisk.disk_format, kernel.container_format) == ("aki", "ari", "bare")
    assert kernel.properties["img_signature"] == "aki" and "os_distro" not in kernel.properties
    assert {each.properties["hw_architecture"] for each in parts} == {"x86_64"}
    assert kernel.properties["img_signature_certificate_uuid"] != "ours" and kernel.certificate == "ours"
    assert {each.visibility for each in parts} == {"public"}
    assert (kernel.min_disk, disk.min_disk > 0) == (0, True)
    assert kernel.dated_name == f"{disk.name}-vmlinuz-{disk.version}"


def test_formats_are_those_of_the_image_api(home: Home) -> None:
    for name, formats in (("ova", ("vmdk", "ova")), ("ami", ("ami", "ami")), ("vmdk", ("vmdk", "bare"))):
        (disk,) = build_source.of_build(build(name), home, "me", NOW).parts(Target(cloud="c"), [])
        assert (disk.disk_format, disk.container_format) == formats


def test_two_recipes_that_consumers_would_confuse_are_refused() -> None:
    name_conflicts.require_distinct([recipe("a"), recipe("b"), recipe("a")])
    name_conflicts.require_distinct(
        [recipe("a", visibility="public"), recipe("b"), recipe("c", visibility="community")]
    )
    with pytest.raises(PipelineError) as refused:
        name_conflicts.require_distinct(
            [recipe("a", visibility="public"), recipe("b", visibility="public"), recipe("c", name="b")]
        )
    assert list(refused.value.details) == [
        "a and b are both public images of cirros 0.7 x86_64",
        "b and c are both published as b",
    ]
