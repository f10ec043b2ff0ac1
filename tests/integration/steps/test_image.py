"""Recipes that start from a ready-made image: what is taken, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.image.packing.kinds import Packing
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.overrides import with_source
from pipeline.steps.image import InstallImage
from tests.guest.conftest import context_for, tiny_recipe
from tests.unit.image.integrity import images
from tests.unit.image.packing import files


def image_at(path: Path, *options: str, size: str = "8M") -> Path:
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, size])
    return path


def install(tmp_path: Path, size: str = "16MiB", **method: Any) -> Path:
    (tmp_path / "run").mkdir(exist_ok=True)
    recipe = tiny_recipe(disk={"size": size}, install={"method": "image", **method})
    context = context_for(recipe, tmp_path / "run")
    InstallImage().run(context)
    return context.disk


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def recipes_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in recipes are relative to their folder; without a folder, to where we are."""
    monkeypatch.chdir(tmp_path)


def test_the_disk_gets_the_recipes_size(tmp_path: Path) -> None:
    image_at(tmp_path / "image")
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", tmp_path / "image"])
    disk = install(tmp_path, file="image")
    assert json.loads(process.run(["qemu-img", "info", "--output=json", disk]).stdout)["virtual-size"] == 16 << 20
    assert "Pattern" not in process.run(["qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 64k", disk]).stdout


def test_a_larger_image_is_refused(tmp_path: Path) -> None:
    image_at(tmp_path / "image", size="32M")
    with pytest.raises(PipelineError, match=r"the image has a disk of 32 MiB, disk\.size is 16 MiB"):
        install(tmp_path, file="image")


def test_a_file_must_be_the_one_that_is_pinned(tmp_path: Path) -> None:
    good, other = image_at(tmp_path / "good"), image_at(tmp_path / "other", size="9M")
    pinned = {"urls": ["https://example.org/x.img"], "sha256": digest(good)}
    install(tmp_path, file="good", download=pinned)
    with pytest.raises(PipelineError, match="other is not the image that the recipe names: it has sha256"):
        install(tmp_path, file="other", download=pinned)
    assert other.exists()


def test_hostile_images_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    image_at(tmp_path / "backed", "-u", "-F", "raw", "-b", "/etc/hostname")
    with pytest.raises(PipelineError) as caught:
        install(tmp_path, file="backed")
    assert "backing" in str(caught.value)
    (tmp_path / "text").write_text("<html>404</html>" * 100)
    with pytest.raises(PipelineError, match="declared qcow2, its content is raw"):
        install(tmp_path, file="text")


def test_the_key_follows_the_bytes_not_their_place(tmp_path: Path) -> None:
    first, second = image_at(tmp_path / "first"), tmp_path / "second"
    second.write_bytes(first.read_bytes())
    pinned = {"urls": ["https://example.org/x.img"], "sha256": digest(first)}
    step = InstallImage()
    keys = [
        step.inputs(tiny_recipe(install={"method": "image", **options}))
        for options in (
            {"file": "first"},
            {"file": "second"},
            {"download": pinned},
            {"file": "first", "download": pinned},
        )
    ]
    assert all(key == keys[0] for key in keys)


def test_a_file_given_by_a_person(tmp_path: Path) -> None:
    (cirros,) = RecipeFolder(CHECKOUT / "recipes").load("cirros-0.6.3")
    file = image_at(tmp_path / "mine.img")
    given = with_source(cirros, file)
    assert InstallImage().inputs(given)["sha256"] == digest(file)
    with pytest.raises(PipelineError, match=r"mine\.img is not the image that the recipe names: it has \d+ bytes"):
        InstallImage().run(context_for(given, tmp_path))
    with pytest.raises(PipelineError, match="there is no such file"):
        with_source(cirros, tmp_path / "absent")
    with pytest.raises(PipelineError, match="takes no file: it is installed by the method tiny"):
        with_source(tiny_recipe(), file)


def test_some_origin_is_needed() -> None:
    with pytest.raises(ValueError, match="give download, release, file or supplied"):
        tiny_recipe(install={"method": "image"})


@pytest.mark.parametrize("version", ["0.5.2", "0.6.2", "0.6.3"])
def test_the_cirros_recipes_say_what_cirros_is(version: str) -> None:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load(f"cirros-{version}")
    assert recipe.os.version == version
    assert "hw_qemu_guest_agent" not in recipe.properties
    wanted = recipe.install.download  # type: ignore[union-attr]
    assert wanted is not None
    assert all(f"cirros-{version}-x86_64-disk.img" in url for url in wanted.urls)
    assert len({url.split("/")[2] for url in wanted.urls}) == 2


def test_a_damaged_image_is_refused(tmp_path: Path) -> None:
    image = image_at(tmp_path / "image")
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 3M", image])
    os.truncate(image, image.stat().st_size * 95 // 100)
    with pytest.raises(PipelineError, match="the file ends before the image does"):
        install(tmp_path, file="image")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.make_disk(tmp_path_factory.mktemp("disk") / "disk.raw")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("kind", images.KINDS)
def test_each_kind_is_taken_whole_and_refused_when_cut(kind: str, packed: bool, disk: Path, tmp_path: Path) -> None:
    disk_format, path = images.make(kind, disk, tmp_path / "made")

    def taken(data: bytes) -> Path:
        if packed:
            files.packed_file(tmp_path / "image", Packing.GZIP, data)
        else:
            (tmp_path / "image").write_bytes(data)
        return install(tmp_path, file="image", format=disk_format, size="24MiB")

    data = path.read_bytes()
    made = taken(data)
    assert images.holds(made, "qcow2", disk)
    made.unlink()
    with pytest.raises(PipelineError, match="the file ends before the image does"):
        taken(data[: len(data) * 7 // 10 // 512 * 512])
    assert not made.exists()


def test_a_raw_image_is_one(tmp_path: Path) -> None:
    image_at(tmp_path / "image")
    with pytest.raises(PipelineError, match="declared raw, its content is qcow2"):
        install(tmp_path, file="image", format="raw")


def test_half_a_sector_is_filled_up_and_told(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\7" * 1000)
    disk = install(tmp_path, file="image", format="raw")
    assert "Pattern" not in process.run(["qemu-io", "-f", "qcow2", "-c", "read -P 7 0 1000", disk]).stdout
    assert "Pattern" not in process.run(["qemu-io", "-f", "qcow2", "-c", "read -P 0 1000 24", disk]).stdout


@pytest.mark.parametrize("packing", list(Packing))
def test_one_layer_is_unpacked(packing: Packing, tmp_path: Path) -> None:
    image = image_at(tmp_path / "image")
    process.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", image])
    path = files.packed_file(tmp_path / "packed", packing, image.read_bytes())
    (tmp_path / "run").mkdir()
    recipe = tiny_recipe(disk={"size": "16MiB"}, install={"method": "image", "file": "packed"})
    context = context_for(recipe, tmp_path / "run")
    facts = InstallImage().run(context)
    assert facts["unpacked"] == {"packing": str(packing), "packed_sha256": digest(path), "sha256": digest(image)}
    assert "Pattern" not in process.run(["qemu-io", "-f", "qcow2", "-c", "read -P 7 1M 64k", context.disk]).stdout
    assert not list((tmp_path / "run").rglob("unpacked*"))


def test_what_is_unpacked_has_room_on_the_disk(tmp_path: Path) -> None:
    files.packed_file(tmp_path / "packed", Packing.GZIP, bytes(200 << 20))
    with pytest.raises(PipelineError, match="becomes larger than"):
        install(tmp_path, file="packed", format="raw")
