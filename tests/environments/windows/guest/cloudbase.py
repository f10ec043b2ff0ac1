"""The first start of a guest made from the image: the answers sysprep left, then cloudbase-init as it is configured."""

from __future__ import annotations

import configparser
import json
import re
import select
import struct
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import NoReturn

from tests.environments.windows.guest.answers import Answers
from tests.environments.windows.guest.machine import WINDOWS, inside, leave, serial, window
from tests.environments.windows.guest.registry import Software
from tests.environments.windows.guest.windows_pe import STATE

_CONF = "Program Files/Cloudbase Solutions/Cloudbase-Init/conf"
_CONFIG_DRIVE = "cloudbaseinit.metadata.services.configdrive.ConfigDriveService"
_KEY_POWER, _EVENT = 116, struct.Struct("qqHHi")


def first_start(media: dict[str, Path]) -> NoReturn:
    """Specialise, skip the questions, run cloudbase-init twice; then wait for the power button."""
    answers = Answers(WINDOWS / "Windows/Panther/unattend.xml")
    path = "RunSynchronous/RunSynchronousCommand/Path"
    command = answers.text("specialize", "Microsoft-Windows-Deployment", path)
    named = re.search(r'--config-file "C:\\([^"]+)"', command)
    if named is None or not (unattend := WINDOWS / named[1].replace("\\", "/")).is_file():
        window(f"Windows could not finish configuring the system: {command!r}")
    early = _configuration(unattend)
    if early["allow_reboot"] != "false" or "NetworkConfigPlugin" in early["plugins"]:
        window("cloudbase-init restarts within specialize")
    _set_host_name(early, media)
    questions = ("OOBE/SkipMachineOOBE", "OOBE/SkipUserOOBE")
    if any(answers.text("oobeSystem", "Microsoft-Windows-Shell-Setup", each) != "true" for each in questions):
        window("Customize settings: type a password for the built-in administrator account")
    with Software() as software:
        software.set(STATE, "ImageState", "IMAGE_STATE_COMPLETE")
    if "net start cloudbase-init" not in (WINDOWS / "Windows/Setup/Scripts/SetupComplete.cmd").read_text():
        window("Press Ctrl+Alt+Delete to sign in")
    with ExitStack() as stack:
        buttons = _open_buttons(stack)
        _run_user_data(_configuration(WINDOWS / _CONF / "cloudbase-init.conf"), media)
        _wait_until_pressed(buttons)
    leave("poweroff")


def _configuration(file: Path) -> configparser.SectionProxy:
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(file.read_text())
    return read["DEFAULT"]


def _metadata(conf: configparser.SectionProxy, media: dict[str, Path]) -> Path | None:
    """The folder of the config drive, if cloudbase-init is to look for it."""
    if _CONFIG_DRIVE not in conf["metadata_services"].split(",") or conf["config_drive_cdrom"] != "true":
        return None
    return next((found for location in media.values() if (found := inside(location, "openstack/latest"))), None)


def _set_host_name(conf: configparser.SectionProxy, media: dict[str, Path]) -> None:
    folder = _metadata(conf, media)
    if folder is None or "SetHostNamePlugin" not in conf["plugins"]:
        return
    name = json.loads((folder / "meta_data.json").read_text())["hostname"]
    with Software("SYSTEM") as system:
        system.set(r"ControlSet001\Services\Tcpip\Parameters", "Hostname", name[:15])
    _log(conf, f"Setting hostname: {name[:15]}")


def _run_user_data(conf: configparser.SectionProxy, media: dict[str, Path]) -> None:
    folder = _metadata(conf, media)
    script = inside(folder, "user_data") if folder and "userdata.UserDataPlugin" in conf["plugins"] else None
    lines = script.read_text().splitlines() if script else []
    if not lines or not lines[0].startswith("rem cmd"):
        _log(conf, "no user data to run")
        return
    said = [line.removeprefix("@echo ") for line in lines if line.startswith("@echo ")]
    _log(conf, f"User_data stdout: {' '.join(said)}")


def _log(conf: configparser.SectionProxy, text: str) -> None:
    if conf["logging_serial_port_settings"].startswith("COM1,"):
        serial(f"cloudbase-init: {text}")


def _open_buttons(stack: ExitStack) -> list[FileIO]:
    """The power buttons. What is pressed while nobody has them open is lost."""
    names = Path("/sys/class/input").glob("event*/device/name")
    found = [name.parents[1].name for name in names if name.read_text().strip() == "Power Button"]
    if not found:
        window("there is no power button")
    return [stack.enter_context(FileIO(f"/dev/input/{name}")) for name in found]


def _wait_until_pressed(buttons: list[FileIO]) -> None:
    while True:
        for button in select.select(buttons, [], [])[0]:
            _, _, _, code, value = _EVENT.unpack(button.read(_EVENT.size) or bytes(_EVENT.size))
            if (code, value) == (_KEY_POWER, 1):
                return
