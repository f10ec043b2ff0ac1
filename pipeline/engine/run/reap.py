"""Remove what dead runs left: processes, guests, mounts, loop devices, half-made files, and nothing else.

Everything a run makes carries its owner's mark (``base.owner``) in its name, or in its environment; what the mark's
owner, still alive, has is left alone, and so is everything without a mark.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.run import orphans
from pipeline.host.guestfs import appliance
from pipeline.host.install import libvirt_cleanup
from pipeline.host.system import process

TEMPORARY = "pipeline-run-"


def reap(home: Home, store: CacheStore) -> list[str]:
    """Remove what dead owners left on this machine; say of each thing what it was."""
    removed = [f"ended process {orphan.pid} ({orphan.command[:80]})" for orphan in orphans.end(_is_dead)]
    for virsh in libvirt_cleanup.running():
        removed += libvirt_cleanup.remove(virsh, _is_dead)
    removed += [*_mounts(), *_loop_devices()]
    removed += [f"removed {path}" for path in (*store.sweep(), *_temporary_folders(), *_swept(home))]
    removed += [f"removed {path}" for path in appliance.sweep(store.root / "appliance")]
    removed += [f"run {name} was killed" for name in _killed_runs(home)]
    return removed


def temporary_folder(mark: str) -> Path:
    """Return a folder for temporary files of whoever has ``mark``; short, since sockets' names must
    be. Not made yet.
    """
    return Path(tempfile.gettempdir()) / f"{TEMPORARY}{mark}"


def _is_dead(mark: str) -> bool:
    owner = Owner.find(mark)
    return owner is not None and not owner.is_alive()


def _mounts() -> Iterator[str]:
    """Unmount what is mounted on a marked place; the innermost first."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        location = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        if _is_dead(location):
            with contextlib.suppress(PipelineError):
                process.run(["umount", "--lazy", location], timeout=30)
                yield f"unmounted {location}"


def _loop_devices() -> Iterator[str]:
    """Detach loop devices whose file is marked."""
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError, PipelineError):
            backing = file.read_text().strip()
            if _is_dead(backing):
                device = f"/dev/{file.parts[3]}"
                process.run(["losetup", "--detach", device], timeout=30)
                yield f"detached {device} ({backing})"


def _swept(home: Home) -> Iterator[Path]:
    """Files that a dead process was about to put anywhere in the home.

    The cache looks after itself, and so does the image service below its own folder.
    """
    for location, names, _ in os.walk(home.root):
        folder = Path(location)
        yield from atomic.sweep(folder)
        names[:] = [name for name in names if folder / name != home.cache and folder != home.service]


def _temporary_folders() -> Iterator[Path]:
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        if _is_dead(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                yield folder


def _killed_runs(home: Home) -> Iterator[str]:
    """Find runs whose process died without a word, and say so in their journal."""
    for file in home.runs.glob("*/run.json"):
        with contextlib.suppress(OSError, ValueError):
            head = json_text.loads(file.read_text())
            if head.get("status") == "running" and _is_dead(head.get("owner", "")):
                atomic.write_text(file, json.dumps({**head, "status": "killed"}, indent=1) + "\n")
                yield file.parent.name
