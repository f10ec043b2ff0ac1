"""Read what Windows Setup wrote to the disk before it failed: its own logs, without starting anything from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.steps.step import Context
from pipeline.steps.windows import check

# Where Setup logs errors while it copies, once the new system runs, and when it rolls back.
_LOGS = (
    "/$WINDOWS.~BT/Sources/Panther/setuperr.log",
    "/$WINDOWS.~BT/Sources/Rollback/setuperr.log",
    "/Windows/Panther/setuperr.log",
    "/Windows/Panther/UnattendGC/setuperr.log",
    "/Windows/System32/Sysprep/Panther/setuperr.log",
)


def guest_report(context: Context) -> list[str]:
    """Return the last complaints of each log; empty where there is none, or the disk cannot be read."""
    appliance = Appliance(context.accelerator, context.home.cache / "appliance", context.folder, context.log)
    try:
        with appliance.launched([Drive(context.disk, "qcow2", read_only=True)]) as handle:
            return [line for device in _ntfs(handle) for line in _read(handle, device)]
    except PipelineError as error:
        return [f"the disk could not be read: {error.message}"]


def _ntfs(handle: Any) -> list[str]:
    return sorted(device for device, kind in handle.list_filesystems().items() if kind == "ntfs")


def _read(handle: Any, device: str) -> Iterator[str]:
    try:
        handle.mount_ro(device, "/")
    except RuntimeError:  # a file system that Setup had not finished
        return
    for path in _LOGS:
        try:
            found = str(handle.case_sensitive_path(path))
            log = check.text(handle.read_file(found))
        except RuntimeError:
            continue
        yield from check.complaints(path.lstrip("/"), log)
    handle.umount_all()
