"""Plan what is done inside Windows after Setup: actions as data, carried out there by ``setup.ps1``.

Each phase ends with a restart, the last one with sysprep, which powers the guest off.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.recipes.model.windows import WindowsInstall

HERE = Path(__file__).parent
FOLDER = "build"
SCRIPT, PLAN = "setup.ps1", "plan.json"
INSTALLED = "C:\\Program Files\\Cloudbase Solutions\\Cloudbase-Init"
FAILED = "BUILD-FAILED"
AGENT = "qemu-ga-x86_64.msi"
CLOUDBASE = "cloudbase-init.msi"
# Loaded once Windows runs; what Windows PE needs is in ``answers.BOOT_DRIVERS``.
LATER_DRIVERS = ("vioserial", "Balloon", "viorng", "pvpanic")
# The media's letter is not known beforehand.
START = (
    f"cmd /c for %d in (D E F G H I) do if exist %d:\\{FOLDER}\\{SCRIPT} "
    f"powershell -NoProfile -ExecutionPolicy Bypass -File %d:\\{FOLDER}\\{SCRIPT}"
)
_AUTO_LOGON = "HKLM:\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Winlogon"
Action = dict[str, Any]


def _drivers_and_agent() -> list[Action]:
    drivers: list[Action] = [{"do": "driver", "folder": f"drivers\\{name}"} for name in LATER_DRIVERS]
    return [*drivers, {"do": "msi", "file": f"packages\\{AGENT}", "properties": []}]


def _cloudbase() -> list[Action]:
    properties = ["LOGGINGSERIALPORTNAME=COM1", "RUN_SERVICE_AS_LOCAL_SYSTEM=1"]
    return [
        {"do": "msi", "file": f"packages\\{CLOUDBASE}", "properties": properties},
        {"do": "copy", "file": "conf\\cloudbase-init.conf", "to": f"{INSTALLED}\\conf\\cloudbase-init.conf"},
        {
            "do": "copy",
            "file": "conf\\cloudbase-init-unattend.conf",
            "to": f"{INSTALLED}\\conf\\cloudbase-init-unattend.conf",
        },
        {"do": "copy", "file": "conf\\Unattend.xml", "to": f"{INSTALLED}\\conf\\Unattend.xml"},
        # The service starts once Setup has ended in the guest that is made from the image, not before.
        {"do": "copy", "file": "conf\\SetupComplete.cmd", "to": "C:\\Windows\\Setup\\Scripts\\SetupComplete.cmd"},
        {"do": "service", "name": "cloudbase-init", "start": "demand"},
    ]


def _leave_no_trace() -> list[Action]:
    values = ("AutoAdminLogon", "AutoLogonCount", "DefaultUserName", "DefaultPassword", "DefaultDomainName")
    return [
        *({"do": "forget", "key": _AUTO_LOGON, "value": value} for value in values),
        {"do": "remove", "path": "C:\\Windows\\Panther\\unattend.xml"},
        {"do": "remove", "path": "C:\\Windows\\Panther\\autounattend.xml"},
        {"do": "remove", "path": "C:\\Windows\\System32\\Sysprep\\unattend.xml"},
        {"do": "trim"},
        {"do": "sysprep", "answers": f"{INSTALLED}\\conf\\Unattend.xml"},
    ]


PHASES = (_drivers_and_agent(), [*_cloudbase(), *_leave_no_trace()])


def files(install: WindowsInstall) -> dict[str, bytes]:
    """Return what ``setup.ps1`` needs on the answer medium, by path."""
    conf = HERE / "conf"
    found = {f"{FOLDER}/{SCRIPT}": (HERE / "guest" / SCRIPT).read_bytes()}
    found[f"{FOLDER}/{PLAN}"] = json.dumps({"failed": FAILED, "phases": PHASES}, indent=1).encode()
    for file in sorted(conf.iterdir()):
        text = file.read_text().replace("{{ username }}", install.cloud_user)
        # Programs of Windows read lines that end as theirs do.
        found[f"{FOLDER}/conf/{file.name}"] = text.replace("\n", "\r\n").encode()
    return found
