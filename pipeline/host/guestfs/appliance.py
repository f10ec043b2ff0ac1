"""Launch libguestfs: one appliance for everything that is done inside one disk image.

The appliance is a small guest with the image as its disk, so nothing of the image is ever mounted on this machine, and
an ordinary user can do it. Its first use on a machine builds it, which takes some seconds more.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.base.errors import PipelineError
from pipeline.base.owner import Owner
from pipeline.host.guestfs import guest_space, tar_stream
from pipeline.host.qemu import disk_full
from pipeline.host.qemu.accelerator import Accelerator
from pipeline.host.system import kernel

_HINT = "install libguestfs: Debian and Ubuntu: apt install libguestfs-tools python3-guestfs; then ./inv doctor"
_LOOK = "the step's log has all it said; ./inv doctor checks what it needs"
# guestfs(3), "SETTING CALLBACKS TO HANDLE EVENTS": library, appliance and warning messages.
_EVENTS = 0x0010 | 0x0020 | 0x0200
# libguestfs puts root's sockets here, whatever it is told (lib/tmpdirs.c in its source).
_SOCKETS = Path("/tmp")  # noqa: S108
_LABEL = "drive"
_DEVICE = re.compile(r"/dev/sd([a-z])(\d*)")
# What an emulated kernel does better without (kernel-parameters.txt): copying by "rep movsb", of which TCG makes a
# round for each byte (9*32+9 is ERMS, 18*32+4 FSRM: arch/x86/include/asm/cpufeatures.h), and guarding a branch
# predictor that is not there.
_EMULATED = "clearcpuid=297,580 mitigations=off"
# A second one costs an emulated kernel a quarter more work, and lets it get stuck before its first word, now and then.
_PROCESSORS = {"kvm": 2, "tcg": 1}
_launches = itertools.count()


@dataclass(frozen=True)
class Drive:
    """An image file the appliance works on."""

    path: Path
    format: str
    read_only: bool = False


@dataclass(frozen=True)
class Appliance:
    """How appliances run on this machine.

    ``cache`` keeps the built appliance between runs; ``scratch`` is private to this run, for one appliance at
    a time. ``memory`` is in bytes.
    """

    accelerator: str
    cache: Path
    scratch: Path
    log: IO[bytes]
    memory: int = 1280 << 20

    @contextlib.contextmanager
    def launched(self, drives: Sequence[Drive], *, network: bool = False) -> Iterator[Any]:
        """Launch a ``guestfs.GuestFS`` with ``drives`` in their order; closed, with all data written, at the end.

        Errors of libguestfs within the block come out as ``PipelineError`` with its words.
        """
        sweep(self.cache)
        with contextlib.ExitStack() as stack:
            stack.enter_context(_launch_noted(self.cache))
            handle, watch = self._launched(drives, network, stack)
            try:
                yield handle
                handle.umount_all()
                handle.shutdown()
            except (RuntimeError, PipelineError) as error:
                if watch.found or disk_full.is_full(self.scratch):
                    raise disk_full.disk_full_error(self.scratch, "the appliance's disk could not grow") from error
                if full := guest_space.explained(handle, error):
                    raise full from error
                if isinstance(error, PipelineError):
                    raise
                raise PipelineError(f"libguestfs: {_plain(error)}", hint="the step's log has the details") from error

    def _launched(
        self, drives: Sequence[Drive], network: bool, stack: contextlib.ExitStack
    ) -> tuple[Any, disk_full.DiskFullWatch]:
        before = self.log.seek(0, os.SEEK_END)
        try:
            return self._launch(drives, network, stack, verbose=False)
        except RuntimeError as error:
            if disk_full.KERNEL_TEXT in self._said_since(before):
                raise disk_full.disk_full_error(
                    self.cache, "the libguestfs appliance could not be made there"
                ) from error
            self.log.write(f"the appliance did not start ({_plain(error)}); once more, with all it says\n".encode())
        try:
            return self._launch(drives, network, stack, verbose=True)
        except RuntimeError as error:
            raise PipelineError(f"the libguestfs appliance did not start: {_plain(error)}", hint=_LOOK) from error

    def _launch(
        self, drives: Sequence[Drive], network: bool, stack: contextlib.ExitStack, *, verbose: bool
    ) -> tuple[Any, disk_full.DiskFullWatch]:
        handle = _new_handle()
        # It stays until the handle is closed, which waits for the appliance to write what it holds.
        watch = stack.enter_context(disk_full.DiskFullWatch())
        stack.callback(handle.close)
        handle.set_event_callback(self._note, _EVENTS)
        handle.set_verbose(verbose)
        self._configure(handle)
        handle.set_network(network)
        for letter, drive in zip(string.ascii_lowercase[: len(drives)], drives, strict=True):
            discard = {} if drive.read_only else {"discard": "enable"}
            handle.add_drive_opts(
                str(drive.path),
                format=drive.format,
                readonly=drive.read_only,
                cachemode="unsafe",
                label=f"{_LABEL}{letter}",
                **discard,
            )
        stack.callback(tar_stream.remove, self.scratch)
        with tar_stream.port(self.scratch) as options:
            for name, value in options:
                handle.config(name, value)
            handle.config("-qmp", watch.option)
            handle.launch()
        watch.begin()
        return handle, watch

    def _configure(self, handle: Any) -> None:
        newest = kernel.newest()
        # Ubuntu's kernels are closed to ordinary users; supermin has to be told of one that is not.
        os.environ["SUPERMIN_KERNEL"] = str(newest.vmlinuz)
        os.environ["SUPERMIN_MODULES"] = str(newest.modules_dir)
        cache = self.cache / newest.version
        cache.mkdir(parents=True, exist_ok=True)
        handle.set_backend("direct")
        handle.set_backend_settings(list(Accelerator(self.accelerator, None, "").guestfs_settings))
        handle.set_cachedir(str(cache))
        handle.set_tmpdir(str(self.scratch))
        # An ordinary user's sockets; longer paths do not fit into a socket's address (unix(7): 108 bytes).
        if len(str(self.scratch)) < 70:
            handle.parse_environment_list([f"XDG_RUNTIME_DIR={self.scratch}"])
        handle.set_memsize(self.memory >> 20)
        handle.set_smp(_PROCESSORS[self.accelerator])
        if self.accelerator == "tcg":
            handle.set_append(_EMULATED)

    def _said_since(self, position: int) -> str:
        """Return what is in the log behind ``position``: programs below libguestfs write there, too."""
        self.log.flush()
        with Path(self.log.name).open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")

    def _note(self, event: int, number: int, text: str, array: list[int]) -> None:
        self.log.write(text.encode(errors="replace") + (b"" if text.endswith("\n") else b"\n"))


def own_name(device: str) -> str:
    """Return the name that the appliance's own programs know a device of libguestfs's by.

    The kernel may call the first drive ``sdb``, and the appliance's own disk ``sda``; libguestfs translates that in its
    calls only, not in the commands of ``debug sh`` (guestfs(3), "DISK LABELS").
    """
    match = _DEVICE.fullmatch(device)
    return f"/dev/disk/guestfs/{_LABEL}{match[1]}{match[2]}" if match else device


def _new_handle() -> Any:
    try:
        import guestfs
    except ImportError:
        raise PipelineError("Python's bindings of libguestfs are not installed", hint=_HINT) from None
    return guestfs.GuestFS(python_return_dict=True)


@contextlib.contextmanager
def _launch_noted(cache: Path) -> Iterator[None]:
    """Note who has an appliance, so that ``sweep`` knows whose sockets a killed one left."""
    note = cache / "launches" / f"{Owner.current().mark}.{next(_launches)}"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def sweep(cache: Path) -> list[Path]:
    """Remove the socket folders that appliances of killed owners left in /tmp; return them.

    Such a folder was made after its owner's note, and nobody listens on its sockets any more.
    """
    dead = [note for note in (cache / "launches").glob("*") if not _is_alive(note)]
    if not dead:
        return []
    since = min(note.stat().st_mtime for note in dead)
    listening = Path("/proc/net/unix").read_text()
    removed = [
        folder
        for folder in _SOCKETS.glob("libguestfs??????")
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mtime >= since and f"{folder}/" not in listening
    ]
    for folder in removed:
        shutil.rmtree(folder, ignore_errors=True)
    for note in dead:
        note.unlink(missing_ok=True)
    return removed


def _is_alive(note: Path) -> bool:
    owner = Owner.find(note.name)
    return owner is not None and owner.is_alive()


def _plain(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
