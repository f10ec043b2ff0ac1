"""Release 7 from its media to a signed product, by the engine; what the guide asks for is in it, and it boots."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.engine.build import build
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.host.system import process
from pipeline.recipes.model.kickstart import InstallEngine
from tests.guest.steps.kickstart import image_facts
from tests.guest.steps.kickstart.stock import Stock

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def built(seven: Stock, kept: Path) -> Iterator[tuple[BuildResult, Home]]:
    home = Home(kept / "home-7", kept / "home-7/cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", f"http://127.0.0.1:{seven.port}")
        patch.setenv("PIPELINE_HOME", str(home.root))
        recipe = seven.recipe("rhel7", InstallEngine.VIRT_INSTALL)
        (result,) = build([recipe], BuildOptions(home=home, accelerator="tcg"))
    yield result, home


@pytest.fixture(scope="module")
def image(built: tuple[BuildResult, Home]) -> Path:
    result, home = built
    assert result.is_good, result.error
    return home.artifacts / "rhel7" / "rhel7.qcow2"


def test_it_is_built_booted_and_signed(built: tuple[BuildResult, Home]) -> None:
    result, home = built
    assert result.is_good, result.error
    names = {file.name for file in (home.artifacts / "rhel7").iterdir()}
    assert {"rhel7.qcow2"} <= names
    assert [product.format for product in result.products] == ["qcow2"]


def test_the_product_is_compressed(image: Path) -> None:
    said = process.run(["qemu-img", "check", "--output=json", image]).stdout
    assert '"compressed-clusters": 0,' not in said
    assert image.stat().st_size < 96 << 20


@pytest.fixture(scope="module")
def facts(image: Path, appliance_cache: Path, kept: Path) -> dict[str, object]:
    with image_facts.opened(image, appliance_cache, kept / "look-7") as system:
        found = image_facts.common(system)
        defaults = system.read("/etc/default/grub").splitlines()
        menu = system.read("/boot/grub2/grub.cfg")
        found |= {
            "console": defaults.count('GRUB_CMDLINE_LINUX_DEFAULT="console=tty0 console=ttyS0,115200n8"') == 1,
            "console in the menu": "net.ifnames=0 biosdevname=0" in menu
            and all("console=tty0 console=ttyS0,115200n8" in line for line in menu.splitlines() if "root=UUID" in line),
            "drivers for any bus": system.read("/etc/dracut.conf.d/90-any-hardware.conf") == 'hostonly="no"\n',
            "machine id": system.exists("/etc/machine-id") and system.read("/etc/machine-id") == "",
            "target": system.handle.readlink("/etc/systemd/system/default.target")
            == "/lib/systemd/system/multi-user.target",
            "release": (system.identity.distro, system.identity.major, system.identity.minor) == ("rhel", 7, 9),
            "packages": {"kernel", "cloud-init", "cloud-utils-growpart"} <= set(system.packages() or {}),
            "file system": system.handle.vfs_type("/dev/sda1") == "xfs",
        }
    return found


def test_the_golden_facts_of_the_guide(facts: dict[str, object]) -> None:
    assert [name for name, holds in facts.items() if not holds] == []


@pytest.mark.long
def test_virt_sysprep_finds_nothing_to_change(image: Path, kept: Path, appliance_cache: Path) -> None:
    copy = kept / "sysprepped.qcow2"
    shutil.copyfile(image, copy)
    before = _files(copy, appliance_cache, kept / "before")
    operations = process.run(["virt-sysprep", "--list-operations"]).stdout
    # It sets a new seed of chance and, where a host can, SELinux labels: neither is something that was left over.
    wanted = [line.split()[0] for line in operations.splitlines() if " * " in line and "customize" not in line]
    environment = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", "TMPDIR": str(kept)}
    words: list[str | Path] = [
        "virt-sysprep",
        "--format",
        "qcow2",
        "--operations",
        ",".join(wanted),
        "-a",
        copy,
        "--quiet",
    ]
    process.run(words, timeout=600, env=environment)
    after = _files(copy, appliance_cache, kept / "after")
    assert {path: state for path, state in after.items() if before.get(path) != state} == {}
    assert set(before) == set(after)


def _files(image: Path, cache: Path, scratch: Path) -> dict[str, str]:
    """Each file's digest; what every use of an image changes is left out."""
    with image_facts.opened(image, cache, scratch) as system:
        listing = scratch / "sums"
        system.handle.checksums_out("sha256", "/", str(listing))
        lines = [line.split(maxsplit=1) for line in listing.read_text().splitlines()]
        names = hashlib.sha256("\n".join(sorted(system.tree().kinds)).encode()).hexdigest()
    return {path: digest for digest, path in lines} | {"names of all files": names}


def test_an_unchanged_recipe_does_nothing(
    built: tuple[BuildResult, Home],
    seven: Stock,
    monkeypatch: pytest.MonkeyPatch,
    through_mirror: Callable[[Stock], None],
) -> None:
    first, home = built
    through_mirror(seven)
    monkeypatch.setenv("PIPELINE_HOME", str(home.root))
    (again,) = build([seven.recipe("rhel7", InstallEngine.VIRT_INSTALL)], BuildOptions(home=home, accelerator="tcg"))
    assert again.is_good
    assert not again.changed
    assert first.products == again.products
