"""What recipes say about unattended installations, and what they may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.kickstart import InstallEngine, KickstartInstall
from pipeline.recipes.model.overrides import with_engine, with_source
from pipeline.steps.image import InstallImage
from pipeline.steps.kickstart.step import InstallKickstart
from tests.unit.steps.kickstart.kickstarts import recipe

SHIPPED = RecipeFolder(CHECKOUT / "recipes")
ACCOUNT = {"username": "user", "password": "pass"}


@pytest.mark.parametrize("name", ["rhel7", "rhel6", "centos7", "rhel7-guest-image", "rhel6-guest-image"])
def test_the_shipped_recipes_are_good(name: str) -> None:
    (found,) = SHIPPED.load(name)
    assert found.customize.cloud_init is not None
    assert found.products[0].compression == "zlib"


@pytest.mark.parametrize(("name", "step"), [("rhel7", InstallKickstart()), ("rhel6-guest-image", InstallImage())])
def test_what_cannot_be_fetched_is_asked_for(name: str, step: Any) -> None:
    (found,) = SHIPPED.load(name)
    with pytest.raises(PipelineError) as caught:
        step.inputs(found)
    assert "needs a file that cannot be fetched: rhel-" in caught.value.message
    assert caught.value.hint == f"./inv build {name} --source FILE, or ./inv publish {name} --source FILE"


def test_a_file_and_an_engine_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "dvd.iso").write_bytes(b"x")
    (found,) = SHIPPED.load("rhel7")
    install = with_engine(with_source(found, tmp_path / "dvd.iso"), "qemu").install
    assert isinstance(install, KickstartInstall)
    assert (install.engine, install.file and install.file.path.name) == (InstallEngine.QEMU, "dvd.iso")
    with pytest.raises(PipelineError, match="there is no such engine"):
        with_engine(found, "vmware")
    (tiny,) = SHIPPED.load("tiny")
    with pytest.raises(PipelineError, match="recipe tiny runs no installer"):
        with_engine(tiny, "qemu")


def test_centos_is_derived() -> None:
    (centos,) = SHIPPED.load("centos7")
    (rhel,) = SHIPPED.load("rhel7")
    assert isinstance(centos.install, KickstartInstall) and isinstance(rhel.install, KickstartInstall)
    assert centos.install.kickstart == rhel.install.kickstart
    assert centos.install.subscription is None
    assert (centos.os.distro, centos.os.admin_user) == ("centos", "centos")


@pytest.mark.parametrize(
    ("install", "said"),
    [
        ({"supplied": None}, "give download, file or supplied"),
        ({"subscription": {"username": "user"}}, "give either username and password"),
        ({"subscription": {**ACCOUNT, "organization": "o", "activation_key": "k"}}, "give either username"),
        ({"subscription": {**ACCOUNT, "password": "Tr0ub4dor&3"}}, "is not a secret's name"),
        ({"network": "bridge:virbr0"}, "only virt-install with connection: system"),
        ({"network": "user,hostfwd=tcp::22-:22"}, "is not a network"),
        ({"repositories": [{"name": "x", "url": "http://x/ --install"}]}, "has no spaces"),
        ({"repositories": [{"name": "x;reboot", "url": "http://x/"}]}, "is not a name"),
        ({"packages": ["kernel\n%end"]}, "is not a package's name"),
        ({"memory": "64MiB"}, "greater than or equal"),
    ],
)
def test_what_makes_no_sense_is_refused(install: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(install=install)


def test_a_bridge_of_the_machines_libvirt() -> None:
    found = recipe(install={"connection": "system", "network": "bridge:virbr0"}).install
    assert isinstance(found, KickstartInstall)
    assert found.network == "bridge:virbr0"


@pytest.mark.parametrize("name", ["rhel7", "rhel6", "centos7", "rhel7-guest-image", "rhel6-guest-image"])
def test_a_shipped_recipe_says_the_whole_hardware(name: str) -> None:
    # What the guide lists in place of libosinfo's data; a disk on virtio-blk has no controller.
    (recipe,) = SHIPPED.load(name)
    said = recipe.image_properties
    listed = {
        "os_distro",
        "os_version",
        "hw_cdrom_bus",
        "hw_disk_bus",
        "hw_vif_model",
        "hw_video_model",
        "hypervisor_type",
    }
    assert listed <= said.keys()
    assert ("hw_scsi_model" in said) == (said["hw_disk_bus"] == "scsi")
    assert said["hw_architecture"] == said["architecture"]


@pytest.mark.parametrize("name", ["windows-2012-r2", "windows-2016", "windows-2019", "windows-2022"])
def test_so_does_one_of_windows(name: str) -> None:
    test_a_shipped_recipe_says_the_whole_hardware(name)
