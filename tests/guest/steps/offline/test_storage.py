"""Systems on LVM and btrfs keep everything but what sysprep takes away, and start; those on RAID are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.build import build
from pipeline.engine.run.options import BuildOptions
from pipeline.host.guestfs import scrub
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.offline import selinux, sysprep, volumes
from pipeline.steps.offline.step import OfflineStep
from tests.guest.conftest import context_for
from tests.standins import cloud_images, guest_trees, storage_guests
from tests.standins.cloud_images import LEFT_OVER

pytestmark = pytest.mark.guest

CHANGED = {*LEFT_OVER, "/var/lib/cloud/instance", "/srv/caf\udce9.bak", "/.autorelabel"}
MENU = "/boot/grub2/grub.cfg"


@pytest.fixture
def appliance(tmp_path: Path, appliance_cache: Path) -> Appliance:
    (tmp_path / "appliance").mkdir()
    return Appliance("tcg", appliance_cache, tmp_path / "appliance", (tmp_path / "log").open("w+b"))


def recipe(name: str, disk: Path) -> dict[str, Any]:
    return {
        "name": name,
        "os": {"type": "linux", "distro": "almalinux", "version": "9.6", "admin_user": "cloud-user"},
        "disk": {"size": f"{storage_guests.GUESTS[name].size >> 20}MiB"},
        "install": {"method": "image", "file": disk.name},
        "products": [{"format": "qcow2"}],
        "boot_test": {"memory": "512MiB", "timeout": "10m"},
    }


def require_no_others(name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Nothing but what sysprep is for differs, and the hard things are there at all."""
    expected = CHANGED | ({MENU} if name == "lvm-boot" else set()) | ({"/etc/fstab.bak"} if name == "btrfs" else set())
    found = guest_trees.changes(before, after)
    assert set(found) == expected, {path: found.get(path) for path in set(found) ^ expected}
    odd = {
        path: after[path] for path in ("/srv/caf\udce9.txt", "/srv/two", "/srv/shared", "/etc/issue", "/srv/journal")
    }
    assert odd["/srv/two"][-2] == ("/srv/one", "/srv/two") and dict(odd["/srv/two"][5]) == {"user.origin": "elsewhere"}
    assert {"system.posix_acl_access", "security.selinux"} <= set(dict(odd["/srv/shared"][5]))
    assert (odd["/etc/issue"][-1], odd["/srv/journal"][-1]) == ("i", "a")


@pytest.mark.parametrize("name", ["lvm-boot", pytest.param("btrfs", marks=pytest.mark.long)])
def test_a_system_keeps_what_it_has(name: str, appliance: Appliance, tmp_path: Path) -> None:
    """All in one launch: it is made, read, changed as the offline stage does when nothing is asked for, read again."""
    raw = storage_guests.partitioned(name, tmp_path)
    wanted = Recipe.model_validate({**recipe(name, raw), "install": {"method": "image", "supplied": "an image"}})
    with appliance.launched([Drive(raw, "raw")]) as handle:
        storage_guests.fill(name, GuestFiles(handle, appliance.log), tmp_path)
        handle.umount_all()
        system = GuestSystem.open(handle, appliance.log)
        before = guest_trees.read_mounted(handle, appliance.scratch)
        sysprep.apply(system, wanted)
        renewed = volumes.renew(system, wanted)
        assert selinux.relabel_at_start(system)
        after = guest_trees.read_mounted(handle, appliance.scratch)
        handle.umount_all()
        scrubbed = scrub.scrub(handle, handle.list_filesystems())
    require_no_others(name, before, after)
    assert renewed == (1 if name == "lvm-boot" else 0)
    assert "free extents" in scrubbed["/dev/sda2" if name == "btrfs" else "/dev/rhel/root"]


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", sorted(storage_guests.GUESTS))
def test_it_is_built_booted_and_signed(name: str, appliance: Appliance, tmp_path: Path) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    made = storage_guests.make(name, tmp_path, appliance).rename(recipes / f"{name}.qcow2")
    before = guest_trees.read(made, appliance)
    (recipes / f"{name}.yaml").write_text(yaml.safe_dump(recipe(name, made)))
    home = Home(tmp_path / "home", appliance.cache.parent)
    (result,) = build(RecipeFolder(recipes).load(name), BuildOptions(home=home, locks=recipes, accelerator="tcg"))
    assert result.error is None, (result.error, result.error.details)
    assert result.facts["boot_test"]["firmware"]["bios"]["powered_off"]
    assert all(product.signature for product in result.products)
    require_no_others(name, before, guest_trees.read(result.product("qcow2").path, appliance))
    said = result.documents["boot-bios-serial.log"].read_text(errors="replace")
    assert f"standin: root on {'/dev/vda2' if name == 'btrfs' else '/dev/mapper/rhel-root'}" in said
    assert (storage_guests.FOUND_BY_IDS in said) == (name != "btrfs"), "GRUB's ids are those of the volumes"
    told = " ".join(result.facts["offline"]["told"])
    assert ("the ids of LVM stay" in told) == (name == "lvm")


@pytest.mark.long
def test_a_cloud_image_keeps_what_it_has(appliance: Appliance, tmp_path: Path, monkeypatch: Any) -> None:
    """As a distribution makes it: an EFI system partition, /boot on its own; nothing is asked for."""
    made = cloud_images.make("almalinux-9", tmp_path, 2 << 30, appliance)
    monkeypatch.chdir(tmp_path)
    before, disk = guest_trees.read(made, appliance), tmp_path / "overlay.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", made, disk])
    wanted = {**recipe("lvm", made), "disk": {"size": "2GiB"}}
    OfflineStep().run(context_for(Recipe.model_validate(wanted), tmp_path / "offline", disk))
    found = guest_trees.changes(before, guest_trees.read(disk, appliance))
    assert set(found) == {*LEFT_OVER, "/var/lib/cloud/instance", "/.autorelabel"}


def test_lvm_on_raid_and_thin_pools_are_refused_by_name(appliance: Appliance, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(160 << 20)
    process.run(["sfdisk", "--quiet", raw], stdin=b"label: gpt\nsize=40M\nsize=40M\nsize=70M\n")
    with appliance.launched([Drive(raw, "raw")]) as handle:
        handle.pvcreate("/dev/sda3")
        handle.vgcreate("thin", ["/dev/sda3"])
        handle.debug("sh", ["lvm lvcreate -q -y --type thin-pool -L 40M -n pool thin 2>/dev/null"])
        with pytest.raises(PipelineError, match=r"no plain pieces of it: thin/pool \(thin-pool\)"):
            GuestSystem.open(handle, appliance.log)
        handle.md_create("array", ["/dev/sda1", "/dev/sda2"], level="raid1")
        (array,) = handle.list_md_devices()
        handle.pvcreate(array)
        handle.vgcreate("group", [array])
        with pytest.raises(PipelineError, match=rf"the disk has software RAID \({array}\)"):
            GuestSystem.open(handle, appliance.log)
