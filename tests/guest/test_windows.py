"""Windows recipes on media that stand in for Microsoft's: recipes and the pipeline's code are the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.owner import Owner
from pipeline.engine.build import build
from pipeline.engine.options import BuildOptions
from pipeline.host import iso
from pipeline.host.appliance import Appliance, Drive
from pipeline.host.guest_system import GuestSystem
from pipeline.host.stall import Policy
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Disk, Recipe
from pipeline.recipes.source import with_source
from pipeline.recipes.windows import WindowsInstall, WindowsRelease
from pipeline.steps.windows import check, lint, run
from pipeline.steps.windows.step import InstallWindows
from tests.environments.windows import media
from tests.guest.conftest import context_for

pytestmark = [pytest.mark.guest, pytest.mark.timeout(3600)]

RELEASES = {
    "windows-2012-r2": media.Release("2012 R2", 9600, ["Windows Server 2012 R2 SERVERSTANDARD"]),
    "windows-2016": media.Release("2016", 14393, ["Windows Server 2016 SERVERSTANDARD"]),
    "windows-2019": media.Release("2019", 17763, ["Windows Server 2019 SERVERSTANDARD"]),
    "windows-2022": media.Release(
        "2022", 20348, ["Windows Server 2022 SERVERSTANDARDCORE", "Windows Server 2022 SERVERSTANDARD"]
    ),
}
CODES = {"windows-2012-r2": "2k12R2", "windows-2016": "2k16", "windows-2019": "2k19", "windows-2022": "2k22"}
# What every image of Windows is published with.
COMMON = {
    "architecture": "x86_64",
    "os_type": "windows",
    "os_distro": "windows",
    "os_admin_user": "Administrator",
    "hw_vif_model": "virtio",
    "hw_rng_model": "virtio",
    "hw_qemu_guest_agent": "yes",
    "hw_pointer_model": "usbtablet",
    "hw_time_hpet": "false",
    "img_config_drive": "mandatory",
}
BIOS = {"hw_firmware_type": "bios", "hw_machine_type": "pc", "hw_disk_bus": "virtio", "hw_video_model": "qxl"}
UEFI = {
    "hw_firmware_type": "uefi",
    "hw_machine_type": "q35",
    "hw_disk_bus": "scsi",
    "hw_scsi_model": "virtio-scsi",
    "hw_video_model": "virtio",
}


@dataclass
class Bench:
    """Media and companions for one recipe."""

    recipe: Recipe
    home: Home
    folder: Path

    def changed(self, **changes: Any) -> Recipe:
        install = self.recipe.install.model_copy(update=changes)
        return self.recipe.model_copy(update={"install": install})

    def run(self, recipe: Recipe, patience: float = 600) -> dict[str, Any]:
        place = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        place.mkdir()
        context = context_for(recipe, place, patience=Policy(patience))
        try:
            return dict(InstallWindows().run(context))
        finally:
            assert guests_of(place) == []


def guests_of(folder: Path) -> list[str]:
    """The running guests that this process started."""
    mark = Owner.current().mark
    found = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.is_dir()]
    return [line.decode() for line in found if mark.encode() in line and b"qemu-system" in line]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIPELINE_CACHE", raising=False)

    def make(name: str, *, starts: bool = True, without: tuple[str, ...] = (), extra: tuple[str, ...] = ()) -> Bench:
        """``starts=False`` saves the time for media that no guest is to be started from."""
        home = Home.default()
        (home.root / "media").mkdir(parents=True)
        media.drivers_iso(home.root / "media" / "virtio-win.iso", CODES[name], without=without)
        (home.root / "media" / "CloudbaseInitSetup_x64.msi").write_bytes(media.MSI)
        (recipe,) = RecipeFolder(CHECKOUT / "recipes").load(name)
        iso_file, making = tmp_path / f"{name}.iso", tmp_path / "making"
        if starts:
            media.windows_iso(iso_file, making, RELEASES[name], extra=extra)
        else:
            making.mkdir()
            wim = media.install_wim(making / "install.wim", making, RELEASES[name])
            media.without_loader(iso_file, wim, entry=True)
        boot_test = recipe.boot_test.model_copy(update={"memory": 1 << 30, "timeout": 900})
        # The stand-in's kernel, made for clouds, has no AHCI: it would not see its media on a q35.
        properties = {**recipe.properties, "hw_machine_type": "pc"}
        changes = {"disk": Disk.model_validate({"size": "1GiB"}), "boot_test": boot_test, "properties": properties}
        small = recipe.model_copy(update=changes)
        return Bench(with_source(small, iso_file), home, tmp_path)

    return make


def wim_of(ready: Bench) -> Path:
    """The image file on the media."""
    target = ready.folder / "copy.wim"
    with iso.opened(ready.recipe.install.file.path) as medium:  # type: ignore[union-attr]
        medium.extract("sources/install.wim", target)
    return target


@pytest.mark.long
@pytest.mark.parametrize("name", ["windows-2012-r2", "windows-2022"])
def test_the_whole_way_to_a_signed_image(bench: Callable[..., Bench], name: str) -> None:
    """BIOS with virtio-blk, UEFI with virtio-scsi: the prompt, restarts, sysprep, the proof, a guest, a signature."""
    ready = bench(name)
    (result,) = build([ready.recipe], BuildOptions(home=ready.home))
    assert result.error is None, result.error
    facts = result.facts["install"]
    assert facts["image_state"] == check.GENERALIZED
    assert facts["build"] == str(RELEASES[name].build)
    assert facts["edition"] == ready.recipe.install.edition  # type: ignore[union-attr]
    bios = name == "windows-2012-r2"
    wanted = {**COMMON, **(BIOS if bios else UEFI), "os_version": RELEASES[name].year, "hw_machine_type": "pc"}
    assert {key: result.properties.get(key) for key in wanted} == wanted
    (booted,) = result.facts["boot_test"]["firmware"].values()
    assert booted["powered_off"]
    (product,) = result.products
    assert product.signature
    bill = json.loads(result.documents["cdx.json"].read_text())
    programs = {each["name"]: each["version"] for each in bill["components"]}
    assert {"QEMU guest agent", "Cloudbase-Init 1.1.6"} <= set(programs)
    appliance = Appliance("tcg", ready.home.cache / "appliance", ready.folder, (ready.folder / "log").open("wb"))
    with appliance.launched([Drive(product.path, "qcow2", read_only=True)]) as handle:
        system = GuestSystem.open(handle, appliance.log)
        conf = "/Program Files/Cloudbase Solutions/Cloudbase-Init/conf"
        said = system.read(f"{conf}/cloudbase-init-unattend.conf")
        assert "allow_reboot=false\r\n" in said and "NetworkConfigPlugin" not in said
        assert "username=Administrator" in system.read(f"{conf}/cloudbase-init.conf")
        assert "logging_serial_port_settings=COM1" in system.read(f"{conf}/cloudbase-init.conf")
        assert "sc config cloudbase-init start= auto" in system.read("/Windows/Setup/Scripts/SetupComplete.cmd")
        assert "AdministratorPassword" not in system.read("/Windows/Panther/unattend.xml")


@pytest.mark.long
def test_media_that_never_start_are_named(bench: Callable[..., Bench]) -> None:
    """They promise both firmware something to start, and hold zeros."""
    ready = bench("windows-2022")
    recipe = with_source(ready.recipe, media.without_loader(ready.folder / "dead.iso", wim_of(ready), entry=True))
    recipe = recipe.model_copy(update={"install": recipe.install.model_copy(update={"start_timeout": 60})})
    with pytest.raises(PipelineError) as caught:
        ready.run(recipe)
    assert "did not start within 60 s" in caught.value.message or "nothing to boot" in caught.value.message


@pytest.mark.long
def test_what_fails_inside_windows_is_told_at_once(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = bench("windows-2022")
    (ready.home.root / "media" / "CloudbaseInitSetup_x64.msi").write_text("<html>404</html>")
    with pytest.raises(PipelineError, match=r"inside Windows failed: msiexec: packages.cloudbase-init\.msi could not"):
        ready.run(ready.recipe)


@pytest.mark.long
def test_a_setup_that_fails_is_told_with_its_own_log(bench: Callable[..., Bench]) -> None:
    """The real one shows a window, and waits for somebody to click it."""
    ready = bench("windows-2022", extra=("setup-fails",))
    with pytest.raises(PipelineError, match="the guest is stuck before Windows powered itself off") as caught:
        ready.run(ready.recipe, patience=60)
    assert "the component store is corrupt" in caught.value.message
    assert "shows a window" in str(caught.value.hint)
    assert list(ready.folder.glob("run-*/evidence/install-screen.png"))


@pytest.mark.long
def test_a_guest_that_powered_off_is_not_yet_generalised(bench: Callable[..., Bench]) -> None:
    ready = bench("windows-2022", extra=("sysprep-fails",))
    with pytest.raises(PipelineError, match="Windows powered off, but it is not ready to be an image") as caught:
        ready.run(ready.recipe)
    told = "\n".join(caught.value.details)
    assert "it was not generalised: its ImageState is IMAGE_STATE_COMPLETE" in told
    assert "Microsoft.App was installed for a user only" in told


@pytest.mark.long
def test_a_setup_that_begins_anew_is_told(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_MOST_RESTARTS", 2)
    ready = bench("windows-2012-r2", extra=("setup-begins-anew",))
    with pytest.raises(PipelineError, match="Windows restarted more than 2 times"):
        ready.run(ready.recipe)


def test_media_that_no_firmware_starts_are_told_before_any_guest(bench: Callable[..., Bench]) -> None:
    ready = bench("windows-2022", starts=False)
    recipe = with_source(ready.recipe, media.without_loader(ready.folder / "dead.iso", wim_of(ready)))
    with pytest.raises(PipelineError) as caught:
        ready.run(recipe)
    (said,) = caught.value.details
    assert said == "properties.hw_firmware_type: uefi cannot start dead.iso; no firmware can"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edition": "Windows Server 2022 STANDARD"}, "the media have no 'Windows Server 2022 STANDARD'"),
        ({"language": "de-DE"}, "install.language: de-DE, but the media are en-US"),
        ({"release": WindowsRelease.V2019}, "2k19 has build 17763, the media have 20348"),
    ],
)
def test_a_recipe_that_does_not_fit_its_media_is_told_before_any_guest(
    bench: Callable[..., Bench], changes: dict[str, Any], said: str
) -> None:
    ready = bench("windows-2022", starts=False)
    install = ready.recipe.install.model_copy(update=changes)
    with pytest.raises(PipelineError, match="does not fit its media") as caught:
        ready.run(ready.recipe.model_copy(update={"install": install}))
    assert said in "\n".join(caught.value.details)
    if "edition" in changes:
        assert "did you mean 'Windows Server 2022 SERVERSTANDARD'?" in "\n".join(caught.value.details)


@pytest.mark.parametrize("name", list(RELEASES))
def test_every_recipe_fits_the_media_of_its_release(bench: Callable[..., Bench], name: str) -> None:
    ready = bench(name, starts=False)
    install = ready.recipe.install
    assert isinstance(install, WindowsInstall) and install.file
    image = lint.require(ready.recipe, install, install.file.path, ready.home.root / "media" / "virtio-win.iso")
    assert (image.name, image.build) == (install.edition, RELEASES[name].build)


def test_missing_drivers_are_told_before_any_guest(bench: Callable[..., Bench]) -> None:
    ready = bench("windows-2022", starts=False, without=("vioscsi",))
    with pytest.raises(PipelineError) as caught:
        ready.run(ready.recipe)
    assert list(caught.value.details) == ["install.drivers: virtio-win.iso has no driver in vioscsi/2k22/amd64"]


def test_missing_companions_are_named_with_their_place(bench: Callable[..., Bench]) -> None:
    ready = bench("windows-2022", starts=False)
    (ready.home.root / "media" / "virtio-win.iso").unlink()
    with pytest.raises(PipelineError, match=r"virtio-win\.iso is missing: https://fedorapeople") as caught:
        InstallWindows().inputs(ready.recipe)
    assert str(ready.home.root / "media") in str(caught.value.hint)
