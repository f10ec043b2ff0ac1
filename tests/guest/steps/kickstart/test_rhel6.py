"""Release 6 from its media to a signed product, without libvirt; what the guide asks for is in it, and it boots.

Its packages come through a subscription, by an activation key; those of release 7 come from a mirror.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.build import build
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.kickstart import InstallEngine, Subscription
from pipeline.recipes.model.overrides import with_source
from pipeline.steps.image import InstallImage
from pipeline.steps.offline.step import OfflineStep
from tests.guest.conftest import context_for
from tests.guest.steps.kickstart import image_facts
from tests.guest.steps.kickstart.stock import Stock

pytestmark = [pytest.mark.guest, pytest.mark.long, pytest.mark.timeout(1200)]

KEY = "the-activation-key"


@pytest.fixture(scope="module")
def built(six: Stock, kept: Path) -> Iterator[tuple[BuildResult, Home]]:
    home = Home(kept / "home-6", kept / "home-6/cache")
    key = Subscription(organization="rhsm-org", activation_key="rhsm-key", repositories=("rhel-6-server-rpms",))
    recipe = six.recipe("rhel6", InstallEngine.QEMU, subscription=key, repositories=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_HOME", str(home.root))
        patch.setenv("PIPELINE_SECRET_RHSM_ORG", "1234")
        patch.setenv("PIPELINE_SECRET_RHSM_KEY", KEY)
        (result,) = build([recipe], BuildOptions(home=home, accelerator="tcg"))
    yield result, home


@pytest.fixture(scope="module")
def image(built: tuple[BuildResult, Home]) -> Path:
    result, home = built
    assert result.is_good, result.error
    return home.artifacts / "rhel6/rhel6.qcow2"


def test_it_boots(built: tuple[BuildResult, Home]) -> None:
    result, _ = built
    assert result.is_good, result.error
    assert result.facts["boot_test"]["firmware"]["bios"]["powered_off"]


def test_the_golden_facts_of_the_guide(image: Path, appliance_cache: Path, kept: Path) -> None:
    with image_facts.opened(image, appliance_cache, kept / "look-6") as system:
        facts = image_facts.common(system)
        menu = system.read("/boot/grub/grub.conf")
        kernels = [line for line in menu.splitlines() if line.lstrip().startswith("kernel ")]
        facts |= {
            "no generated rules": system.read("/etc/udev/rules.d/75-persistent-net-generator.rules") == "#\n",
            "console": bool(kernels)
            and all(line.count("console=tty0 console=ttyS0,115200n8") == 1 for line in kernels),
            "serial menu": menu.startswith("serial --unit=0 --speed=115200\nterminal --timeout=1 serial console\n"),
            "names of the menu": system.handle.readlink("/etc/grub.conf") == "../boot/grub/grub.conf"
            and system.handle.readlink("/boot/grub/menu.lst") == "./grub.conf",
            "consoles": "ACTIVE_CONSOLES=/dev/tty1\n" in system.read("/etc/sysconfig/init"),
            "release": (system.identity.distro, system.identity.major, system.identity.minor) == ("rhel", 6, 10),
            "packages": {"kernel", "cloud-init", "cloud-utils-growpart"} <= set(system.packages() or {}),
            "growth in the initramfs": "dracut-modules-growroot" in (system.packages() or {}),
            "file system": system.handle.vfs_type("/dev/sda1") == "ext4",
            "no log of the installer": system.glob("/root/install.log*") == [],
        }
    assert [name for name, holds in facts.items() if not holds] == []


def test_the_activation_key_is_nowhere(image: Path, built: tuple[BuildResult, Home], kept: Path) -> None:
    plain = kept / "plain-6.raw"
    process.run(["qemu-img", "convert", "-O", "raw", image, plain])
    _, home = built
    files = [plain, *(path for path in home.root.rglob("*") if path.is_file() and not path.is_symlink())]
    assert [path for path in files if image_facts.has(path, KEY.encode())] == []
    plain.unlink()


def test_a_ready_image_customised(image: Path, appliance_cache: Path, tmp_path: Path) -> None:
    """The guide's other way."""
    (shipped,) = RecipeFolder(CHECKOUT / "recipes").load("rhel6-guest-image")
    context = context_for(with_source(shipped, image), tmp_path)
    InstallImage().run(context)
    facts = OfflineStep().run(context)
    assert (facts["inspection"]["distro"], facts["relabel"]) == ("rhel", True)
    with image_facts.opened(context.disk, appliance_cache, tmp_path / "look") as system:
        found = image_facts.common(system)
        rules = system.read("/etc/udev/rules.d/75-persistent-net-generator.rules")
    assert [name for name, holds in found.items() if not holds] == []
    assert rules == "#\n"
