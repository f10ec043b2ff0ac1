"""Write Windows' answer file, without any guest."""

from __future__ import annotations

import base64
import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from pipeline.recipes.model.product import Firmware
from pipeline.steps.windows import plan, unattend
from tests.unit.steps.windows.shipped import NAMES, load

NS = "{urn:schemas-microsoft-com:unattend}"


WCM = "{http://schemas.microsoft.com/WMIConfig/2002/State}"


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
