"""Render the answer file of Windows Setup (autounattend.xml) from a recipe.

Passes and components are those of Microsoft's "Unattended Windows Setup Reference". The file holds the password of the
build's administrator, which is random, used by nobody else, and gone with the medium.
"""

from __future__ import annotations

import base64
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pipeline.recipes.model.product import Firmware
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.windows import WindowsInstall
from pipeline.steps.windows.plan import PHASES, START

_UNATTEND = "urn:schemas-microsoft-com:unattend"
_STATE = "http://schemas.microsoft.com/WMIConfig/2002/State"
_ACTION, _KEY = "wcm:action", "wcm:keyValue"
_SIGNER = "31bf3856ad364e35"
# Letters in Windows PE depend on what is attached; paths that do not exist are passed over.
_LETTERS = "DEFGHI"
BOOT_DRIVERS = ("viostor", "vioscsi", "NetKVM")
_MIB_OF_SYSTEM, _MIB_OF_ESP, _MIB_OF_MSR = 500, 260, 128
# Marks what follows as an administrator's password (the reference's "AdministratorPassword").
_SALT = "AdministratorPassword"


def render(recipe: Recipe, install: WindowsInstall, firmware: Firmware, password: str) -> bytes:
    """Return the file, in UTF-8."""
    # Written as Microsoft's own tools do, without a prefix: not every reader of Windows takes another one.
    root = Element("unattend", {"xmlns": _UNATTEND, "xmlns:wcm": _STATE})
    made = _Answers(root)
    _windows_pe(made, install, firmware)
    _specialize(made, install)
    _oobe(made, install, password)
    indent(root, "  ")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root)


class _Answers:
    """Passes and components by name, in the order in which they are asked for."""

    def __init__(self, root: Element) -> None:
        self._root = root
        self._passes: dict[str, Element] = {}

    def component(self, configuration_pass: str, name: str) -> Element:
        """Return a new component of a pass."""
        if configuration_pass not in self._passes:
            self._passes[configuration_pass] = SubElement(self._root, "settings", {"pass": configuration_pass})
        about = {
            "name": name,
            "processorArchitecture": "amd64",
            "publicKeyToken": _SIGNER,
            "language": "neutral",
            "versionScope": "nonSxS",
        }
        return SubElement(self._passes[configuration_pass], "component", about)


def _windows_pe(made: _Answers, install: WindowsInstall, firmware: Firmware) -> None:
    locale = made.component("windowsPE", "Microsoft-Windows-International-Core-WinPE")
    _fill(_child(locale, "SetupUILanguage"), UILanguage=install.language)
    _fill(locale, **_languages(install))
    drivers = made.component("windowsPE", "Microsoft-Windows-PnpCustomizationsWinPE")
    paths = _child(drivers, "DriverPaths")
    for driver, letter in ((driver, letter) for driver in BOOT_DRIVERS for letter in _LETTERS):
        entry = _child(paths, "PathAndCredentials", {_ACTION: "add", _KEY: f"{driver}-{letter}"})
        _fill(entry, Path=f"{letter}:\\drivers\\{driver}")
    setup = made.component("windowsPE", "Microsoft-Windows-Setup")
    disk = _disk(setup, firmware)
    image = _child(_child(setup, "ImageInstall"), "OSImage")
    source = _child(_child(image, "InstallFrom"), "MetaData", {_ACTION: "add"})
    _fill(source, Key="/IMAGE/NAME", Value=install.edition)
    _fill(_child(image, "InstallTo"), DiskID="0", PartitionID=str(disk))
    _fill(image, WillShowUI="OnError")
    user = _child(setup, "UserData")
    if install.product_key:
        _fill(_child(user, "ProductKey"), Key=install.product_key, WillShowUI="OnError")
    _fill(user, AcceptEula="true", FullName="Build", Organization="Build")


def _disk(setup: Element, firmware: Firmware) -> int:
    """Declare the partitions; the last one fills the disk and gets Windows. Returns its number."""
    configuration = _child(setup, "DiskConfiguration")
    _fill(configuration, WillShowUI="OnError")
    disk = _child(configuration, "Disk", {_ACTION: "add"})
    _fill(disk, DiskID="0", WillWipeDisk="true")
    create, modify = _child(disk, "CreatePartitions"), _child(disk, "ModifyPartitions")
    partitions: list[tuple[dict[str, str], dict[str, str]]] = [({"Extend": "true", "Type": "Primary"}, _NTFS_WINDOWS)]
    if firmware is Firmware.UEFI:
        partitions.insert(0, ({"Size": str(_MIB_OF_MSR), "Type": "MSR"}, {}))
        partitions.insert(0, ({"Size": str(_MIB_OF_ESP), "Type": "EFI"}, {"Format": "FAT32", "Label": "System"}))
    else:
        system = {"Active": "true", "Format": "NTFS", "Label": "System"}
        partitions.insert(0, ({"Size": str(_MIB_OF_SYSTEM), "Type": "Primary"}, system))
    for number, (made, formatted) in enumerate(partitions, 1):
        _fill(_child(create, "CreatePartition", {_ACTION: "add"}), Order=str(number), **made)
        entry = _child(modify, "ModifyPartition", {_ACTION: "add"})
        _fill(entry, Order=str(number), PartitionID=str(number), **formatted)
    return len(partitions)


_NTFS_WINDOWS = {"Format": "NTFS", "Label": "Windows", "Letter": "C"}


def _specialize(made: _Answers, install: WindowsInstall) -> None:
    shell = made.component("specialize", "Microsoft-Windows-Shell-Setup")
    _fill(shell, ComputerName="*", TimeZone="UTC")
    if install.remote_desktop:
        session = made.component("specialize", "Microsoft-Windows-TerminalServices-LocalSessionManager")
        _fill(session, fDenyTSConnections="false")
        stations = made.component("specialize", "Microsoft-Windows-TerminalServices-RDP-WinStationExtensions")
        _fill(stations, UserAuthentication="1")
        firewall = made.component("specialize", "Networking-MPSSVC-Svc")
        group = _child(_child(firewall, "FirewallGroups"), "FirewallGroup", {_ACTION: "add", _KEY: "RemoteDesktop"})
        _fill(group, Active="true", Group="@FirewallAPI.dll,-28752", Profile="all")
    _fill(made.component("specialize", "Microsoft-Windows-Security-SPP-UX"), SkipAutoActivation="true")
    explorer = made.component("specialize", "Microsoft-Windows-IE-ESC")
    _fill(explorer, IEHardenAdmin="false", IEHardenUser="true")
    manager = made.component("specialize", "Microsoft-Windows-ServerManager-SvrMgrNc")
    _fill(manager, DoNotOpenServerManagerAtLogon="true")


def _oobe(made: _Answers, install: WindowsInstall, password: str) -> None:
    _fill(made.component("oobeSystem", "Microsoft-Windows-International-Core"), **_languages(install))
    shell = made.component("oobeSystem", "Microsoft-Windows-Shell-Setup")
    out_of_box = _child(shell, "OOBE")
    _fill(out_of_box, HideEULAPage="true", HideLocalAccountScreen="true", HideOEMRegistrationScreen="true")
    _fill(out_of_box, HideOnlineAccountScreens="true", HideWirelessSetupInOOBE="true", ProtectYourPC="3")
    encoded = base64.b64encode(f"{password}{_SALT}".encode("utf-16-le")).decode()
    _fill(_child(_child(shell, "UserAccounts"), _SALT), Value=encoded, PlainText="false")
    logon = _child(shell, "AutoLogon")
    same = base64.b64encode(f"{password}Password".encode("utf-16-le")).decode()
    _fill(_child(logon, "Password"), Value=same, PlainText="false")
    _fill(logon, Enabled="true", LogonCount=str(len(PHASES) + 1), Username="Administrator")
    command = _child(_child(shell, "FirstLogonCommands"), "SynchronousCommand", {_ACTION: "add"})
    _fill(command, Order="1", CommandLine=START, Description="Build the image", RequiresUserInput="false")


def _languages(install: WindowsInstall) -> dict[str, str]:
    return dict.fromkeys(("InputLocale", "SystemLocale", "UILanguage", "UserLocale"), install.language)


def _child(parent: Element, name: str, attributes: dict[str, str] | None = None) -> Element:
    return SubElement(parent, name, attributes or {})


def _fill(parent: Element, **values: str) -> None:
    for name, value in values.items():
        _child(parent, name).text = value
