"""The answer file, read as strictly as can be: what is not known here is refused."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.etree import ElementTree

from tests.environments.windows.guest.machine import window

NS = "{urn:schemas-microsoft-com:unattend}"
WCM = "{http://schemas.microsoft.com/WMIConfig/2002/State}"
_ABOUT = {
    "processorArchitecture": "amd64",
    "publicKeyToken": "31bf3856ad364e35",
    "language": "neutral",
    "versionScope": "nonSxS",
}
# Components by pass, and the elements each may have at its top.
_KNOWN: dict[str, dict[str, set[str]]] = {
    "windowsPE": {
        "Microsoft-Windows-International-Core-WinPE": {
            "SetupUILanguage",
            "InputLocale",
            "SystemLocale",
            "UILanguage",
            "UserLocale",
        },
        "Microsoft-Windows-PnpCustomizationsWinPE": {"DriverPaths"},
        "Microsoft-Windows-Setup": {"DiskConfiguration", "ImageInstall", "UserData"},
    },
    "specialize": {
        "Microsoft-Windows-Shell-Setup": {"ComputerName", "TimeZone"},
        "Microsoft-Windows-TerminalServices-LocalSessionManager": {"fDenyTSConnections"},
        "Microsoft-Windows-TerminalServices-RDP-WinStationExtensions": {"UserAuthentication"},
        "Networking-MPSSVC-Svc": {"FirewallGroups"},
        "Microsoft-Windows-Security-SPP-UX": {"SkipAutoActivation"},
        "Microsoft-Windows-IE-ESC": {"IEHardenAdmin", "IEHardenUser"},
        "Microsoft-Windows-ServerManager-SvrMgrNc": {"DoNotOpenServerManagerAtLogon"},
        "Microsoft-Windows-Deployment": {"RunSynchronous"},
    },
    "oobeSystem": {
        "Microsoft-Windows-International-Core": {"InputLocale", "SystemLocale", "UILanguage", "UserLocale"},
        "Microsoft-Windows-Shell-Setup": {"OOBE", "UserAccounts", "AutoLogon", "FirstLogonCommands"},
    },
    "generalize": {"Microsoft-Windows-PnpSysprep": {"PersistAllDeviceInstalls"}},
}


class Answers:
    """An unattend document. Every mistake in it is a window."""

    def __init__(self, path: Path) -> None:
        try:
            self.root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError as error:
            window(f"the answer file {path.name} is not valid: {error}")
        # Known as Microsoft's tools write it: whether Setup takes another prefix is not known here.
        if self.root.tag != f"{NS}unattend" or "<unattend " not in path.read_text():
            window("the answer file is not an unattend document")
        for settings in self.root:
            known = _KNOWN.get(settings.get("pass", ""))
            if settings.tag != f"{NS}settings" or known is None:
                window(f"unknown pass {settings.get('pass')}")
            for component in settings:
                self._check(component, known)

    def component(self, configuration_pass: str, name: str) -> ElementTree.Element:
        """A component that has to be there."""
        for settings in self.root:
            for component in settings:
                if settings.get("pass") == configuration_pass and component.get("name") == name:
                    return component
        return window(f"the answer file has no {name} in {configuration_pass}")

    def text(self, configuration_pass: str, name: str, path: str) -> str:
        """What an element of a component says; empty without it."""
        return (self.component(configuration_pass, name).findtext(_tags(path)) or "").strip()

    def all(self, configuration_pass: str, name: str, path: str) -> list[ElementTree.Element]:
        """All elements of a component at a path."""
        return self.component(configuration_pass, name).findall(_tags(path))

    @staticmethod
    def _check(component: ElementTree.Element, known: dict[str, set[str]]) -> None:
        name = component.get("name", "")
        about = {key: value for key, value in component.attrib.items() if key != "name"}
        if component.tag != f"{NS}component" or name not in known or about != _ABOUT:
            window(f"unknown component {name}")
        unknown = {child.tag.removeprefix(NS) for child in component} - known[name]
        if unknown:
            window(f"{name} knows no {', '.join(sorted(unknown))}")


def facts(element: ElementTree.Element) -> dict[str, str]:
    """The children of an element as texts."""
    return {child.tag.removeprefix(NS): child.text or "" for child in element}


def decoded(value: str, salt: str) -> str:
    """A password as Setup encodes it; empty when it is not so."""
    text = base64.b64decode(value).decode("utf-16-le")
    return text.removesuffix(salt) if text.endswith(salt) else ""


def _tags(path: str) -> str:
    return "/".join(f"{NS}{part}" for part in path.split("/"))
