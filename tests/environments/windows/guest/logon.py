"""The starts from the disk: specialize, the logons of the build, sysprep."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from tests.environments.windows.guest import cloudbase
from tests.environments.windows.guest.actions import GENERALIZED, carry_out
from tests.environments.windows.guest.answers import Answers, decoded
from tests.environments.windows.guest.machine import WINDOWS, asked_for, inside, leave, serial, window
from tests.environments.windows.guest.registry import Software
from tests.environments.windows.guest.windows_pe import STATE

LOGON = r"Microsoft\Windows NT\CurrentVersion\Winlogon"
RUN_ONCE = r"Microsoft\Windows\CurrentVersion\RunOnce"
_SHELL = "Microsoft-Windows-Shell-Setup"
_START = re.compile(
    r"cmd /c for %d in \((?P<letters>[A-Z ]+)\) do if exist %d:\\(?P<file>[\w\\.]+) "
    r"powershell -NoProfile -ExecutionPolicy Bypass -File %d:\\(?P=file)"
)
_AGAIN = "stand-in "


def start(media: dict[str, Path]) -> NoReturn:
    """Go on where the registry says."""
    with Software() as software:
        state = software.get(STATE, "ImageState")
    serial(f"stand-in: Windows from the disk, {state}")
    if state == "IMAGE_STATE_UNDEPLOYABLE":
        if asked_for("setup-begins-anew"):
            leave("reboot")
        _specialize()
    if state == GENERALIZED:
        cloudbase.first_start(media)
    _log_on(media)


def _specialize() -> NoReturn:
    answers = Answers(WINDOWS / "Windows/Panther/unattend.xml")
    if (answers.text("specialize", _SHELL, "ComputerName"), answers.text("specialize", _SHELL, "TimeZone")) != (
        "*",
        "UTC",
    ):
        window("the computer has no name, or no time zone")

    def said(path: str) -> str:
        return answers.text("oobeSystem", _SHELL, path)

    if (said("AutoLogon/Enabled"), said("AutoLogon/Username")) != ("true", "Administrator"):
        window("Type a password for the built-in administrator account")
    password = decoded(said("AutoLogon/Password/Value"), "Password")
    other = decoded(said("UserAccounts/AdministratorPassword/Value"), "AdministratorPassword")
    if password != other or len(password) < 20:
        window("the user name or password is incorrect")
    with Software() as software:
        software.set(STATE, "ImageState", "IMAGE_STATE_COMPLETE")
        software.set(LOGON, "AutoAdminLogon", "1")
        software.set(LOGON, "DefaultPassword", password)
        software.set(LOGON, "AutoLogonCount", said("AutoLogon/LogonCount"))
        software.set(RUN_ONCE, "FirstLogon", said("FirstLogonCommands/SynchronousCommand/CommandLine"))
    leave("reboot")


def _log_on(media: dict[str, Path]) -> NoReturn:
    with Software() as software:
        left = int(software.get(LOGON, "AutoLogonCount") or "0")
        if left < 1:
            window("Press Ctrl+Alt+Delete to sign in")
        software.set(LOGON, "AutoLogonCount", str(left - 1))
        commands = software.values(RUN_ONCE)
        for name in commands:
            software.forget(RUN_ONCE, name)
    if len(commands) != 1:
        window("the desktop of Administrator")
    (command,) = commands.values()
    script = Path(command.removeprefix(_AGAIN)) if command.startswith(_AGAIN) else _find(command, media)
    if script is None:
        window(f"'{command}' is not recognized as an internal or external command")
    try:
        carry_out(script)
    except (OSError, ValueError, KeyError) as error:  # setup.ps1 tells any failure so
        serial(f"BUILD-FAILED: {error}")
        window("the desktop of Administrator")
    with Software() as software:
        software.set(RUN_ONCE, "ImageBuild", f"{_AGAIN}{script}")
    leave("reboot")


def _find(command: str, media: dict[str, Path]) -> Path | None:
    match = _START.fullmatch(command)
    letters = match["letters"].split() if match else []
    for letter in letters:
        if match and letter in media and (found := inside(media[letter], match["file"])):
            return found
    return None
