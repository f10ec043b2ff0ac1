"""Windows recipes on media that stand in for Microsoft's: recipes and the pipeline's code are the real ones."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.owner import Owner
from pipeline.engine.build import build
from pipeline.engine.record.events import Event, StepSaid
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.host.diagnosis.stall import StallPolicy
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.media import iso
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.overrides import with_source
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.windows import WindowsInstall, WindowsRelease
from pipeline.steps.windows import check, lint, run
from pipeline.steps.windows.step import InstallWindows
from tests.environments.daemon import free_port
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
    "hw_architecture": "x86_64",
    "os_type": "windows",
    "os_distro": "windows",
    "os_admin_user": "Administrator",
    "hypervisor_type": "qemu",
    "hw_cdrom_bus": "ide",
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


# A recipe of one's own: that of the release, as small as its stand-in. The kernel of that one, made for clouds, has no
# AHCI: on a q35 it would not see its media.
OWN = """extends: {name}
disk: {{size: 1GiB}}
install: {{memory: 2GiB, timeout: 40m}}
boot_test: {{memory: 1GiB, timeout: 15m}}
properties: {{hw_machine_type: pc, hw_cdrom_bus: ide}}
"""


@dataclass
class Bench:
    """Media and companions for one recipe, in a folder that is laid out as a checkout is."""

    recipe: Recipe
    home: Home
    folder: Path
    media: Path

    @classmethod
    def make(
        cls, folder: Path, name: str, *, starts: bool = True, without: tuple[str, ...] = (), extra: tuple[str, ...] = ()
    ) -> Bench:
        """``starts=False`` saves the time for media that no guest is to be started from."""
        home = Home(folder / "home", folder / "home" / "cache")
        (home.root / "media").mkdir(parents=True)
        media.drivers_iso(home.root / "media" / "virtio-win.iso", CODES[name], without=without)
        (home.root / "media" / "CloudbaseInitSetup_x64.msi").write_bytes(media.MSI)
        iso_file, making = folder / f"{name}.iso", folder / "making"
        if starts:
            media.windows_iso(iso_file, making, RELEASES[name], extra=extra)
        else:
            making.mkdir()
            wim = media.install_wim(making / "install.wim", making, RELEASES[name])
            media.without_loader(iso_file, wim, entry=True)
        recipes = folder / "recipes"
        shutil.copytree(CHECKOUT / "recipes", recipes)
        (recipes / f"own-{name}.yaml").write_text(OWN.format(name=name))
        (recipe,) = RecipeFolder(recipes).load(f"own-{name}")
        return cls(with_source(recipe, iso_file), home, folder, iso_file)

    def run(self, recipe: Recipe, stall_policy: float = 600) -> dict[str, Any]:
        location = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        location.mkdir()
        context = context_for(recipe, location, stall_policy=StallPolicy(stall_policy))
        try:
            return dict(InstallWindows().run(context))
        finally:
            assert guests_of(location) == []

    def inv(self, *words: str) -> str:
        """What ``./inv`` says in this checkout."""
        code = self.folder / "pipeline"
        if not code.exists():
            shutil.copytree(CHECKOUT / "pipeline", code, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(CHECKOUT / "requirements", self.folder / "requirements")
            for name in ("tasks.py", "pyproject.toml"):
                shutil.copy(CHECKOUT / name, self.folder)
        environment = {"PYTHONPATH": str(self.folder), "PIPELINE_HOME": str(self.home.root), "HOME": str(self.folder)}
        command = [sys.executable, "-m", "pipeline.cli", *words]
        return process.run(command, cwd=self.folder, env=environment, timeout=900).stdout

    def openstack(self, *words: str) -> str:
        """What the OpenStack client says of the bundled cloud."""
        command = [sys.executable, "-m", "openstackclient.shell", "--os-cloud", "bundled", *words]
        environment = {"OS_CLIENT_CONFIG_FILE": str(self.home.root / "clouds.yaml"), "HOME": str(self.folder)}
        return process.run(command, cwd=self.folder, env=environment, timeout=120).stdout


@dataclass
class Told:
    """A monitor that keeps what the steps say."""

    said: Counter[str] = field(default_factory=Counter)

    def event(self, event: Event) -> None:
        if isinstance(event, StepSaid):
            self.said[event.text] += 1

    def tick(self) -> None:
        """It has no clock."""

    def close(self) -> None:
        """It has no terminal."""


@dataclass(frozen=True)
class Built:
    bench: Bench
    result: BuildResult
    told: Told


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Builds an image of a release, once."""

    @functools.cache
    def make(name: str) -> Built:
        ready, told = Bench.make(tmp_path_factory.mktemp(name), name), Told()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PIPELINE_HOME", str(ready.home.root))
            (result,) = build([ready.recipe], BuildOptions(home=ready.home, monitors=(told,)))
        return Built(ready, result, told)

    return make


def wanted_of(name: str) -> dict[str, str]:
    """The properties that the image of a release has."""
    machine = BIOS if name == "windows-2012-r2" else UEFI
    return {**COMMON, **machine, "os_version": RELEASES[name].year, "hw_machine_type": "pc"}


def guests_of(folder: Path) -> list[str]:
    """The running guests that this process started."""
    mark = Owner.current().mark
    found = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.is_dir()]
    return [line.decode() for line in found if mark.encode() in line and b"qemu-system" in line]


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """The media of a release, in the test's own home."""
    return functools.partial(Bench.make, tmp_path)


def wim_of(ready: Bench) -> Path:
    """The image file on the media."""
    target = ready.folder / "copy.wim"
    with iso.opened(ready.recipe.install.file.path) as medium:  # type: ignore[union-attr]
        medium.extract("sources/install.wim", target)
    return target


@pytest.mark.long
@pytest.mark.parametrize("name", list(RELEASES))
def test_the_whole_way_to_a_signed_image(built: Callable[[str], Built], name: str) -> None:
    """BIOS with virtio-blk, UEFI with virtio-scsi: the prompt, restarts, sysprep, the proof, a guest, a signature."""
    ready, result, said = built(name).bench, built(name).result, built(name).told.said
    assert result.error is None, result.error
    facts = result.facts["install"]
    assert facts["image_state"] == check.GENERALIZED
    assert facts["build"] == str(RELEASES[name].build)
    assert facts["edition"] == ready.recipe.install.edition  # type: ignore[union-attr]
    assert {key: result.properties.get(key) for key in wanted_of(name)} == wanted_of(name)
    (booted,) = result.facts["boot_test"]["firmware"].values()
    assert booted["powered_off"]
    (product,) = result.products
    assert product.signature
    bill = json.loads(result.documents["qcow2.cdx.json"].read_text())
    assert {(each["name"], each["version"]) for each in bill["components"]} == {
        ("QEMU guest agent", "107.0.1"),
        ("Cloudbase-Init 1.1.6", "1.1.6.0"),
    }
    done = {text: count for text, count in said.items() if text.startswith("inside Windows: phase")}
    assert any("sysprep" in text for text in done)
    assert set(done.values()) == {1}, "what is done inside is told once"


@pytest.mark.long
@pytest.mark.parametrize("name", ["windows-2012-r2", "windows-2022"])
def test_cloudbase_init_is_configured_in_the_finished_image(built: Callable[[str], Built], name: str) -> None:
    ready, result = built(name).bench, built(name).result
    disk = Drive(result.product("qcow2").path, "qcow2", read_only=True)
    with (ready.folder / "log").open("wb") as log:
        appliance = Appliance("tcg", ready.home.cache / "appliance", ready.folder, log)
        with appliance.launched([disk]) as handle:
            system = GuestSystem.open(handle, log)
            conf = "/Program Files/Cloudbase Solutions/Cloudbase-Init/conf"
            early, later = (system.read(f"{conf}/cloudbase-init{each}.conf") for each in ("-unattend", ""))
            started = system.read("/Windows/Setup/Scripts/SetupComplete.cmd")
            answers = system.read("/Windows/Panther/unattend.xml")
    assert "allow_reboot=false\r\n" in early and "NetworkConfigPlugin" not in early
    assert "username=Administrator\r\n" in later and "NetworkConfigPlugin" in later
    assert all("logging_serial_port_settings=COM1,115200,N,8\r\n" in each for each in (early, later))
    assert all("services.configdrive.ConfigDriveService," in each for each in (early, later))
    assert "sc config cloudbase-init start= auto" in started
    assert "cloudbase-init-unattend.conf" in answers and "AdministratorPassword" not in answers


@pytest.mark.long
@pytest.mark.server
def test_it_is_published_as_a_user_does(built: Callable[[str], Built]) -> None:
    """``./inv publish`` with ``--source``, to the bundled service, and what the OpenStack client says of it there."""
    name, ready, result = "own-windows-2022", built("windows-2022").bench, built("windows-2022").result
    assert result.error is None, result.error
    ready.home.service.mkdir(parents=True)
    (ready.home.service / "settings.yaml").write_text(f"listen: 127.0.0.1:{free_port()}\n")
    try:
        assert "nothing to do" in ready.inv("plan", name, "--source", str(ready.media))
        told = ready.inv("publish", name, "--source", str(ready.media), "--ci")
        assert name in told
        shown = json.loads(ready.openstack("image", "show", name, "-f", "json"))
    finally:
        ready.inv("service.stop", "--now")
    product = result.product("qcow2")
    about = {key: shown[key] for key in ("status", "disk_format", "size", "min_disk", "min_ram")}
    assert about == {"status": "active", "disk_format": "qcow2", "size": product.size, "min_disk": 40, "min_ram": 2048}
    assert {"golden", "windows"} <= set(shown["tags"])
    wanted = {**wanted_of("windows-2022"), **product.signature, "os_hash_value": product.digests["sha512"]}
    assert {key: shown["properties"].get(key) for key in wanted} == wanted


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
        ready.run(ready.recipe, stall_policy=60)
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
    with pytest.raises(PipelineError, match=r"^virtio-win\.iso is missing: https://fedorapeople") as caught:
        InstallWindows().inputs(ready.recipe)
    assert caught.value.hint == f"put it into {ready.home.root / 'media'}"
    (ready.home.root / "media" / "CloudbaseInitSetup_x64.msi").unlink()
    with pytest.raises(PipelineError, match=r"virtio-win\.iso is missing.*; CloudbaseInitSetup_x64\.msi is missing"):
        InstallWindows().inputs(ready.recipe)
