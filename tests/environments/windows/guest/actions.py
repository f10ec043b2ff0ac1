"""What setup.ps1 does inside Windows, done from the same plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.environments.windows.guest.answers import Answers
from tests.environments.windows.guest.machine import WINDOWS, asked_for, inside, leave, serial
from tests.environments.windows.guest.registry import Software
from tests.environments.windows.guest.windows_pe import STATE

_MSI = bytes.fromhex("D0CF11E0A1B11AE1")
GENERALIZED = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
_UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
# Where each installer puts its program, and how it registers it.
_PACKAGES = {
    "qemu-ga-x86_64.msi": ("Program Files/Qemu-ga", "QEMU guest agent", "107.0.1", "RedHat"),
    "cloudbase-init.msi": (
        "Program Files/Cloudbase Solutions/Cloudbase-Init/conf",
        "Cloudbase-Init 1.1.6",
        "1.1.6.0",
        "Cloudbase Solutions Srl",
    ),
}
Action = dict[str, Any]


def carry_out(script: Path) -> None:
    """One phase of the plan beside the script ``setup.ps1``; the last one does not return. Raises ``ValueError``."""
    here = script.parent
    plan = json.loads((here / "plan.json").read_text())
    with Software() as software:
        phase = int(software.get("ImageBuild", "Phase") or "0")
    for action in plan["phases"][phase]:
        about = "".join(str(action.get(name, "")) for name in ("folder", "file", "value", "path"))
        serial(f"build: phase {phase}, {action['do']} {about}")
        _ACTIONS[action["do"]](action, here)
    with Software() as software:
        software.set("ImageBuild", "Phase", str(phase + 1))


def _driver(action: Action, here: Path) -> None:
    folder = inside(here.parent, action["folder"])
    if folder is None or not list(folder.glob("*.inf")):
        raise ValueError(f"pnputil: no driver in {action['folder']}")


def _msi(action: Action, here: Path) -> None:
    file = inside(here, action["file"])
    if file is None or not file.read_bytes().startswith(_MSI):
        raise ValueError(f"msiexec: {action['file']} could not be opened")
    location, name, version, publisher = _PACKAGES[file.name]
    folder = WINDOWS / location
    folder.mkdir(parents=True, exist_ok=True)
    with Software() as software:
        for key, value in (("DisplayName", name), ("DisplayVersion", version), ("Publisher", publisher)):
            software.set(f"{_UNINSTALL}\\{name}", key, value)
    if file.name.startswith("qemu-ga"):
        (folder / "qemu-ga.exe").write_bytes(b"MZ")
    elif "RUN_SERVICE_AS_LOCAL_SYSTEM=1" not in action["properties"]:
        raise ValueError("msiexec: cloudbase-init would run as another user")


def _copy(action: Action, here: Path) -> None:
    source, target = inside(here, action["file"]), _on_disk(action["to"])
    if source is None:
        raise ValueError(f"Copy-Item: there is no {action['file']}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _service(action: Action, here: Path) -> None:
    if not (WINDOWS / "Program Files/Cloudbase Solutions").is_dir():
        raise ValueError(f"sc: there is no service {action['name']}")


def _forget(action: Action, here: Path) -> None:
    with Software() as software:
        software.forget(action["key"].removeprefix("HKLM:\\SOFTWARE\\"), action["value"])


def _remove(action: Action, here: Path) -> None:
    _on_disk(action["path"]).unlink(missing_ok=True)


def _trim(action: Action, here: Path) -> None:
    """Nothing to see from outside."""


def _sysprep(action: Action, here: Path) -> None:
    answers = _on_disk(action["answers"])
    if not answers.is_file():
        raise ValueError(f"sysprep: {action['answers']} is missing")
    Answers(answers)
    logs = WINDOWS / "Windows/System32/Sysprep/Panther"
    logs.mkdir(parents=True, exist_ok=True)
    if asked_for("sysprep-fails"):
        (logs / "setuperr.log").write_text("Error SYSPRP Package Microsoft.App was installed for a user only\n")
    else:
        (logs / "setuperr.log").write_text("")
        # The passes of the next start read the answers from here.
        shutil.copyfile(answers, WINDOWS / "Windows/Panther/unattend.xml")
        with Software() as software:
            software.set(STATE, "ImageState", GENERALIZED)
    leave("poweroff")


def _on_disk(path: str) -> Path:
    return WINDOWS / path.removeprefix("C:\\").replace("\\", "/")


_ACTIONS: dict[str, Callable[[Action, Path], None]] = {
    "driver": _driver,
    "msi": _msi,
    "copy": _copy,
    "service": _service,
    "forget": _forget,
    "remove": _remove,
    "trim": _trim,
    "sysprep": _sysprep,
}
