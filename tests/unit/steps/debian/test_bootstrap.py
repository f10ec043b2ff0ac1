from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.debian import DebianInstall
from pipeline.steps.debian import bootstrap, disk
from pipeline.steps.debian.step import InstallDebian
from pipeline.steps.reproducible import identity
from tests.guest.conftest import tiny_recipe


def install(**options: Any) -> DebianInstall:
    return DebianInstall.model_validate({"method": "mmdebstrap", **options})


def test_every_source_names_the_keys_it_must_be_signed_with() -> None:
    lines = bootstrap.sources(install(keyring="/keys.gpg"), "http://a/debian", "http://b/security")
    assert lines == [
        "deb [signed-by=/keys.gpg] http://a/debian bookworm main",
        "deb [signed-by=/keys.gpg] http://a/debian bookworm-updates main",
        "deb [signed-by=/keys.gpg] http://b/security bookworm-security main",
    ]
    assert len(bootstrap.sources(install(), "http://a/debian", None)) == 2


def test_the_archives_indices_are_what_is_locked() -> None:
    mirrors = ("http://one/debian", "http://two/debian")
    recipe = tiny_recipe(install={"method": "mmdebstrap", "mirrors": mirrors})
    external_inputs = InstallDebian().external_inputs(recipe)
    assert [each.name for each in external_inputs] == [
        "debian bookworm",
        "debian bookworm-updates",
        "security bookworm-security",
    ]
    assert external_inputs[0].urls == tuple(f"{mirror}/dists/bookworm/InRelease" for mirror in mirrors)


@pytest.mark.subprocess
def test_the_partition_table_is_debians_and_always_the_same(tmp_path: Path) -> None:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load("debian-12")
    tables = []
    for name in ("first", "second"):
        disk.partition(tmp_path / name, recipe)
        with (tmp_path / name).open("rb") as file:
            tables.append(file.read(1 << 20))
    assert tables[0] == tables[1]
    entries = {number: tables[0][1024 + 128 * (number - 1) :][:128] for number in (1, 2, 14, 15)}
    starts = {number: int.from_bytes(entry[32:40], "little") for number, entry in entries.items()}
    assert starts[14] == 2048
    assert starts[14] < starts[15] < starts[1], "the root lies last, so that it can grow"
    assert not any(entries[2])


@pytest.mark.subprocess
def test_the_root_gets_onto_the_disk_with_its_owners_links_and_modes(tmp_path: Path) -> None:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load("debian-12")
    raw, tree = tmp_path / "disk.raw", tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/shadow").write_text("root:*:")
    (tree / "etc/shadow").chmod(0o640)
    (tree / "etc/again").hardlink_to(tree / "etc/shadow")
    (tree / "bin").symlink_to("usr/bin")
    disk.partition(raw, recipe)
    with (tmp_path / "log").open("wb") as log:
        disk.write_root(tree, raw, recipe, log)
    assert not tree.exists()
    alone = f"{raw}?offset={(1 + 127) << 20}"
    process.run(["e2fsck", "-fn", alone], timeout=60)

    def ask(request: str) -> str:
        return process.run(["debugfs", "-R", request, alone]).stdout

    assert ask("cat /etc/again") == "root:*:"
    assert "Mode:  0640" in ask("stat /etc/shadow") and "Links: 2" in ask("stat /etc/shadow")
    assert "User:     0   Group:     0" in ask("stat /")
    assert 'Fast link dest: "usr/bin"' in ask("stat /bin")
    assert str(identity("debian-12", "root file system")) in ask("stats -h")


@pytest.mark.subprocess
def test_a_root_that_does_not_fit_is_told_and_goes_all_the_same(tmp_path: Path) -> None:
    """Its files may belong to users that only the name space has: nobody could remove them later."""
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load("debian-12")
    raw, tree = tmp_path / "disk.raw", tmp_path / "tree"
    tree.mkdir()
    (tree / "more").write_bytes(bytes(range(256)) * (1 << 17))
    small = recipe.model_copy(update={"disk": recipe.disk.model_copy(update={"size": 152 << 20})})
    disk.partition(raw, small)
    with (tmp_path / "log").open("wb") as log, pytest.raises(PipelineError, match="mke2fs") as caught:
        disk.write_root(tree, raw, small, log)
    assert "disk.size" in str(caught.value)
    assert not tree.exists()


def test_what_packages_read_while_they_are_configured_names_the_disk_to_come() -> None:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load("debian-12")
    early = disk.early(recipe, install(kernel_arguments=["quiet"]))
    assert f"UUID={identity('debian-12', 'root file system')} / ext4" in early["/etc/fstab"]
    assert f"PARTUUID={identity('debian-12', 'esp')} /boot/efi vfat" in early["/etc/fstab"]
    assert 'GRUB_CMDLINE_LINUX="console=tty0 console=ttyS0,115200 quiet"' in early["/etc/default/grub"]
    assert "NoCloud, ConfigDrive, OpenStack" in early["/etc/cloud/cloud.cfg.d/90_datasources.cfg"]


def test_the_packages_of_the_last_run_are_kept_whole_and_others_go(tmp_path: Path) -> None:
    fetched, kept = tmp_path / "fetched", tmp_path / "kept"
    for folder, names in ((fetched, ("a_1.deb", "b_2.deb")), (kept, ("a_1.deb", "b_1.deb"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"{folder.name} {name}")
    (fetched / "lock").touch()
    bootstrap._keep(fetched, kept)
    assert {file.name for file in kept.iterdir()} == {"a_1.deb", "b_2.deb"}
    assert (kept / "b_2.deb").read_text() == "fetched b_2.deb"


def test_absent_keys_are_told_before_anything_runs(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        workplace = bootstrap.BootstrapDirs(tmp_path, tmp_path / "packages", log)
        with pytest.raises(PipelineError, match=r"the archive's keys are not here: /absent\.gpg") as caught:
            bootstrap.run(install(keyring="/absent.gpg"), [], {}, tmp_path / "root", workplace)
    assert "debian-archive-keyring" in str(caught.value.hint)
