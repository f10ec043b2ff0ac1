"""Prove offline that an installed Windows can be an image: one that powered off is not yet generalised."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.guestfs.hive import Hive
from pipeline.host.guestfs.hive import opened as opened_hive
from pipeline.steps.windows.plan import INSTALLED

GENERALIZED = "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"
_STATE = "Microsoft/Windows/CurrentVersion/Setup/State"
_LOGON = "Microsoft/Windows NT/CurrentVersion/Winlogon"
_VERSION = "Microsoft/Windows NT/CurrentVersion"
_LOGS = ("Windows/System32/Sysprep/Panther/setuperr.log", "Windows/Panther/setuperr.log")
# Sysprep leaves a copy of its own answers in the first of these: that one belongs there, the build's does not.
_LEFT_BEHIND = ("Windows/Panther/unattend.xml", "Windows/Panther/autounattend.xml")
_OF_THE_BUILD = re.compile(r"<(AutoLogon|AdministratorPassword|DiskConfiguration)\b")
_CONF = ("cloudbase-init.conf", "cloudbase-init-unattend.conf", "Unattend.xml")


def require_generalized(system: GuestSystem) -> Mapping[str, Any]:
    """Return what Windows says of itself. Raises ``PipelineError`` with everything that is not as it must be."""
    if system.identity.type != "windows":
        raise PipelineError("what is on the disk is not Windows", hint="see the screenshot of the installation")
    files = _WindowsFiles(system)
    with opened_hive(system.handle, files.require("Windows/System32/config/SOFTWARE")) as software:
        state = _value(software, _STATE, "ImageState")
        problems = [*_state(state), *_logon(software), *_left_behind(files), *_cloudbase(files)]
        build = _value(software, _VERSION, "CurrentBuildNumber")
        product = _value(software, _VERSION, "ProductName")
    if problems:
        raise PipelineError(
            "Windows powered off, but it is not ready to be an image",
            details=[*problems, *_complaints(files)],
            hint="the logs of sysprep say why; an application installed for one user only is the usual reason",
        )
    return {"image_state": state, "build": build, "product": product}


def _state(state: str) -> Iterator[str]:
    if state != GENERALIZED:
        yield f"it was not generalised: its ImageState is {state or 'not set'}, not {GENERALIZED}"


def _logon(software: Hive) -> Iterator[str]:
    for name in ("DefaultPassword", "AutoAdminLogon"):
        if _value(software, _LOGON, name) not in ("", "0"):
            yield f"the build's logon is still there: {name} in {_LOGON}"


def _left_behind(files: _WindowsFiles) -> Iterator[str]:
    for path in _LEFT_BEHIND:
        found = build_answers(files.read(path))
        if found:
            yield f"the build's answer file is still there: {path} has {found}"


def build_answers(output: str) -> str | None:
    """Return what shows that an answer file is that of the build; ``None`` for what sysprep leaves
    to the next start.
    """
    found = _OF_THE_BUILD.search(output)
    return found[1] if found else None


def _cloudbase(files: _WindowsFiles) -> Iterator[str]:
    folder = INSTALLED.removeprefix("C:\\").replace("\\", "/")
    missing = [name for name in _CONF if not files.find(f"{folder}/conf/{name}")]
    if missing:
        yield f"cloudbase-init is not configured: no {', '.join(missing)}"
    if not files.find("Windows/Setup/Scripts/SetupComplete.cmd"):
        yield "cloudbase-init would never start: no Windows/Setup/Scripts/SetupComplete.cmd"


def _complaints(files: _WindowsFiles) -> Iterator[str]:
    for path in _LOGS:
        yield from complaints(PurePosixPath(path).name, files.read(path))


def text(data: bytes) -> str:
    """Return what a file of Windows says, in whichever encoding it is."""
    return data.decode("utf-16" if data[:2] == b"\xff\xfe" else "utf-8", errors="replace")


def complaints(name: str, log: str) -> list[str]:
    """Return the last complaints in the log ``name`` of Setup or of sysprep."""
    lines = [line for line in log.splitlines() if re.search(r"error|fail", line, re.IGNORECASE)]
    return [f"{name}: {line.strip()[:200]}" for line in lines[-5:]]


class _WindowsFiles:
    """Files of a Windows guest, by names without regard to case."""

    def __init__(self, system: GuestSystem) -> None:
        self._system = system

    def find(self, path: str) -> str | None:
        """How the file is spelt on the disk, or ``None`` without it."""
        try:
            found = str(self._system.handle.case_sensitive_path(f"/{path}"))
        except RuntimeError:
            return None
        # Of a path whose last part is missing, libguestfs returns what it would be.
        return found if self._system.exists(found) else None

    def require(self, path: str) -> str:
        found = self.find(path)
        if found is None:
            raise PipelineError(f"the installed Windows has no {path}", hint="the installation did not end well")
        return found

    def read(self, path: str) -> str:
        found = self.find(path)
        if found is None:
            return ""
        return text(self._system.handle.read_file(found))


def _value(hive: Hive, key: str, name: str) -> str:
    """Return a value of the registry as text; empty when there is no such key or value."""
    node: int | None = hive.root()
    for part in key.split("/"):
        node = hive.child(node, part) if node else None
    value = hive.value(node, name) if node else None
    if not value:
        return ""
    data = hive.data(value)
    if hive.kind(value) == 4:  # REG_DWORD
        return str(int.from_bytes(data[:4], "little"))
    return data.decode("utf-16-le", errors="replace").rstrip("\0")
