"""The answer file and the plan, without any guest."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.product import Firmware
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.windows import WindowsInstall
from pipeline.steps.windows import check, plan, unattend
from pipeline.steps.windows.lint import _hardware, _start

NS = "{urn:schemas-microsoft-com:unattend}"
WCM = "{http://schemas.microsoft.com/WMIConfig/2002/State}"
NAMES = ["windows-2012-r2", "windows-2016", "windows-2019", "windows-2022"]


def load(name: str) -> tuple[Recipe, WindowsInstall]:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load(name)
    assert isinstance(recipe.install, WindowsInstall)
    return recipe, recipe.install


def rendered(name: str, firmware: Firmware = Firmware.UEFI) -> ElementTree.Element:
    recipe, install = load(name)
    return ElementTree.fromstring(unattend.render(recipe, install, firmware, "a password"))


def component(root: ElementTree.Element, configuration_pass: str, name: str) -> ElementTree.Element:
    found = root.find(f"{NS}settings[@pass='{configuration_pass}']/{NS}component[@name='{name}']")
    assert found is not None
    return found


def values(root: ElementTree.Element, path: str) -> list[str]:
    return [each.text or "" for each in root.findall("/".join(f"{NS}{part}" for part in path.split("/")))]


@pytest.mark.parametrize("name", NAMES)
def test_every_component_is_named_as_windows_names_it(name: str) -> None:
    for each in rendered(name).iter(f"{NS}component"):
        about = {key: value for key, value in each.attrib.items() if key != "name"}
        assert about == {
            "processorArchitecture": "amd64",
            "publicKeyToken": "31bf3856ad364e35",
            "language": "neutral",
            "versionScope": "nonSxS",
        }


def test_elements_have_no_prefix_and_attributes_the_one_of_microsofts_tools() -> None:
    recipe, install = load("windows-2022")
    said = unattend.render(recipe, install, Firmware.UEFI, "a password").decode()
    assert set(re.findall(r"</?([a-zA-Z0-9]+:)", said)) == set()
    assert set(re.findall(r" ([a-zA-Z0-9]+):\w+=", said)) == {"xmlns", "wcm"}


def test_passes_come_once_each() -> None:
    passes = Counter(each.get("pass") for each in rendered("windows-2022"))
    assert passes == {"windowsPE": 1, "specialize": 1, "oobeSystem": 1}


def test_drivers_are_looked_for_under_every_letter_for_both_buses() -> None:
    entries = component(rendered("windows-2022"), "windowsPE", "Microsoft-Windows-PnpCustomizationsWinPE")
    paths = values(entries, "DriverPaths/PathAndCredentials/Path")
    for driver in ("viostor", "vioscsi", "NetKVM"):
        assert [f"{letter}:\\drivers\\{driver}" for letter in "DEFGHI"] == [path for path in paths if driver in path]
    keys = [each.get(f"{WCM}keyValue") for each in entries.iter(f"{NS}PathAndCredentials")]
    assert len(set(keys)) == len(keys) and None not in keys


@pytest.mark.parametrize(
    ("firmware", "types", "windows_on"),
    [(Firmware.BIOS, ["Primary", "Primary"], "2"), (Firmware.UEFI, ["EFI", "MSR", "Primary"], "3")],
)
def test_partitions_follow_the_firmware(firmware: Firmware, types: list[str], windows_on: str) -> None:
    setup = component(rendered("windows-2022", firmware), "windowsPE", "Microsoft-Windows-Setup")
    disk = "DiskConfiguration/Disk"
    assert values(setup, f"{disk}/CreatePartitions/CreatePartition/Type") == types
    assert values(setup, f"{disk}/CreatePartitions/CreatePartition/Extend") == ["true"]
    assert values(setup, "ImageInstall/OSImage/InstallTo/PartitionID") == [windows_on]
    active = values(setup, f"{disk}/ModifyPartitions/ModifyPartition/Active")
    assert active == (["true"] if firmware is Firmware.BIOS else [])


def test_the_edition_is_asked_for_by_its_name_on_the_media() -> None:
    setup = component(rendered("windows-2012-r2"), "windowsPE", "Microsoft-Windows-Setup")
    metadata = "ImageInstall/OSImage/InstallFrom/MetaData"
    assert values(setup, f"{metadata}/Key") == ["/IMAGE/NAME"]
    assert values(setup, f"{metadata}/Value") == ["Windows Server 2012 R2 SERVERSTANDARD"]
    assert values(setup, "UserData/AcceptEula") == ["true"]
    assert values(setup, "UserData/ProductKey") == []


def test_passwords_are_written_as_windows_encodes_them() -> None:
    shell = component(rendered("windows-2022"), "oobeSystem", "Microsoft-Windows-Shell-Setup")
    (administrator,) = values(shell, "UserAccounts/AdministratorPassword/Value")
    (logon,) = values(shell, "AutoLogon/Password/Value")
    assert base64.b64decode(administrator).decode("utf-16-le") == "a passwordAdministratorPassword"
    assert base64.b64decode(logon).decode("utf-16-le") == "a passwordPassword"
    assert int(values(shell, "AutoLogon/LogonCount")[0]) > len(plan.PHASES) - 1


def test_the_plan_ends_with_sysprep_and_forgets_the_logon_before() -> None:
    done = [action["do"] for phase in plan.PHASES for action in phase]
    assert done[-1] == "sysprep"
    assert done.count("sysprep") == 1
    forgotten = {action["value"] for action in plan.PHASES[-1] if action["do"] == "forget"}
    assert {"DefaultPassword", "AutoAdminLogon"} <= forgotten


def test_the_script_knows_every_action_of_the_plan() -> None:
    _, install = load("windows-2022")
    files = plan.files(install)
    script = files["build/setup.ps1"].decode()
    for phase in json.loads(files["build/plan.json"])["phases"]:
        for action in phase:
            assert f"'{action['do']}' {{" in script
            if action["do"] == "copy":
                assert f"build/{action['file']}".replace("\\", "/") in files
    assert b"username=Administrator\r\n" in files["build/conf/cloudbase-init.conf"]
    assert all(b"{{" not in files[name] for name in files if "/conf/" in name)


@pytest.mark.parametrize("name", NAMES)
def test_the_recipes_ask_for_what_windows_needs(name: str) -> None:
    recipe, install = load(name)
    assert list(_hardware(recipe)) == []
    properties = recipe.image_properties
    assert properties["os_type"] == "windows"
    assert properties["hw_time_hpet"] == "false"
    assert properties["hw_pointer_model"] == "usbtablet"
    assert properties["hw_firmware_type"] == ("bios" if name == "windows-2012-r2" else "uefi")
    assert install.edition.startswith(f"Windows Server {recipe.os.version} ")


def test_cloudbase_init_does_not_restart_within_setup_and_leaves_the_network_alone() -> None:
    said = (plan.HERE / "conf" / "cloudbase-init-unattend.conf").read_text()
    assert {"allow_reboot=false", "stop_service_on_exit=false", "check_latest_version=false"} <= set(said.splitlines())
    assert "networkconfig" not in said


@pytest.mark.parametrize("name", NAMES)
def test_the_builds_answers_are_told_from_those_that_sysprep_leaves(name: str) -> None:
    recipe, install = load(name)
    ours = unattend.render(recipe, install, Firmware.UEFI, "a password")
    assert check.build_answers(check.text(ours))
    assert check.build_answers(check.text(ours.decode().encode("utf-16")))
    left = (plan.HERE / "conf" / "Unattend.xml").read_bytes()
    assert not check.build_answers(check.text(left))


def test_the_last_complaints_of_a_log_are_kept() -> None:
    log = "\r\n".join(["Info fine", *(f"Error number {number}" for number in range(9)), "Info the end"])
    assert check.complaints("setuperr.log", log) == [f"setuperr.log: Error number {number}" for number in range(4, 9)]
    assert check.complaints("setuperr.log", "") == []


@pytest.mark.parametrize(
    ("name", "starts", "said"),
    [
        ("windows-2012-r2", {"bios"}, []),
        ("windows-2022", {"bios", "uefi"}, []),
        ("windows-2022", {"bios"}, ["uefi cannot start the.iso; only bios can"]),
        ("windows-2012-r2", set(), ["bios cannot start the.iso; no firmware can"]),
    ],
)
def test_media_must_start_with_the_recipes_firmware(name: str, starts: set[str], said: list[str]) -> None:
    recipe, _ = load(name)
    assert list(_start(recipe, starts, "the.iso")) == [f"properties.hw_firmware_type: {each}" for each in said]


def test_sysprep_that_gives_up_ends_the_build() -> None:
    script = (plan.HERE / "guest" / "setup.ps1").read_text()
    assert (
        script.index("Sysprep.exe") < script.index(f"-ne '{check.GENERALIZED}'") < script.index('throw "sysprep left')
    )
