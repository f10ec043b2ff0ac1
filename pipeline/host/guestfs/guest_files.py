"""Work in the mounted file systems of an appliance in small ways: read, write, find, remove, run."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import appliance_shell, attributes, guest_process, guest_tree
from pipeline.host.guestfs.guest_tree import GuestTree

_LARGEST = 64 << 20
_ATTRIBUTES_HINT = "does the guest have immutable files (lsattr)? chattr -i in customize.commands makes them changeable"


class GuestFiles:
    """The mounted file systems of an appliance, and small ways of working in them.

    ``log`` gets what commands print; ``notes`` has what a person should know of the guest, in the order of events.
    """

    def __init__(self, handle: Any, log: IO[bytes]) -> None:
        self.handle = handle
        self.log = log
        self.notes: list[str] = []
        self._tree: GuestTree | None = None

    def note(self, text: str) -> None:
        """Note something a person should know, in the log, too."""
        shown = text.encode(errors="surrogateescape").decode(errors="replace")
        self.log.write(f"{shown}\n".encode())
        self.notes.append(shown)

    def exists(self, path: str) -> bool:
        """Return whether there is anything at ``path``, also a link that leads nowhere."""
        return bool(self.handle.exists(path) or self.handle.is_symlink(path))

    def tree(self) -> GuestTree:
        """Return every path there is. It is listed once, and again after a script ran or ``forget`` was called."""
        if self._tree is None:
            self._tree = guest_tree.read(self.handle)
        return self._tree

    def forget(self) -> None:
        """Have the paths listed anew when they are next needed: something changed them on another way."""
        self._tree = None

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match a shell pattern (with ``/`` behind folders if the pattern ends so)."""
        return self.tree().glob(pattern)

    def read(self, path: str) -> str:
        """Return a text file, with surrogate escapes for what is not UTF-8; empty when there is none.

        Raises ``PipelineError`` for one of more than 64 MiB.
        """
        if not _is_utf8(path):
            found = self.tree().target(path)
            data = b"" if found is None or self.tree().kinds.get(found) != "f" else self._read_raw(found)
        elif not self.handle.is_file(path, followsymlinks=True):
            return ""
        else:
            data = self._read(path)
        return data.decode(errors="surrogateescape")

    def _read(self, path: str) -> bytes:
        with contextlib.suppress(RuntimeError):  # larger than a message of the appliance, perhaps
            return bytes(self.handle.read_file(path))
        size = int(self.handle.filesize(path))
        if size > _LARGEST:
            raise PipelineError(f"{path} in the guest has {size} bytes; no text is read that has more than {_LARGEST}")
        with tempfile.NamedTemporaryFile() as file:
            self.handle.download(path, file.name)
            return Path(file.name).read_bytes()

    def _read_raw(self, real: str) -> bytes:
        names = appliance_shell.put_names(self.handle, [f".{real}"])
        return appliance_shell.read(self.handle, f"cd /sysroot; xargs -0 cat -- <{names}")

    def write(self, path: str, content: str | bytes, *, mode: int | None = None) -> None:
        """Write a file; one that is there keeps its mode and owner unless ``mode`` is given.

        A link that leads nowhere gives way to the file.
        """
        data = content.encode(errors="surrogateescape") if isinstance(content, str) else content
        if not _is_utf8(path):
            self._write_raw(path, data)
            return
        self.handle.mkdir_p(str(PurePosixPath(path).parent))
        if self.handle.is_symlink(path) and not self.handle.is_file(path, followsymlinks=True):
            self.note(f"{path} was a link to {self.handle.readlink(path)}, which is not there: it is a file now")
            self.change(path, lambda: self.handle.rm(path))
        # Larger ones would not fit into a message of the appliance's protocol (4 MiB).
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(data)
            self.change(path, lambda: self.handle.upload(file.name, path))
        if mode is not None:
            self.change(path, lambda: self.handle.chmod(mode, path))
        if self._tree is not None and not self.tree().real(path):
            self.forget()

    def _write_raw(self, path: str, data: bytes) -> None:
        """Replace the contents of a file whose name is not UTF-8: libguestfs takes no such name."""
        real = self.tree().target(path)
        if real is None:
            raise PipelineError(f"there is no file {path!r} in the guest")
        new = appliance_shell.put(self.handle, "new", data)
        names = appliance_shell.put_names(self.handle, [f".{real}"])
        script = f"cd /sysroot; xargs -0 sh -c 'cat {new} >\"$1\"' sh <{names}; rm {new}"
        appliance_shell.read(self.handle, script)

    def change(self, path: str, act: Callable[[], object]) -> None:
        """Do something to a path; where its attributes or its folder's forbid that, without them, and put them back."""
        try:
            act()
        except RuntimeError as error:
            if attributes.REFUSED not in str(error):
                raise
            with self.changeable([path, str(PurePosixPath(path).parent)]) as lifted:
                if not lifted:
                    raise
                act()

    @contextlib.contextmanager
    def changeable(self, paths: Iterable[str]) -> Iterator[dict[str, str]]:
        """Take attributes that forbid changes from paths while the block lasts; provides path → letters of those."""
        found = (self.tree().target(path) for path in paths)
        lifted = attributes.lift(self.handle, [path for path in found if path is not None])
        for text in attributes.notes(lifted):
            self.note(text)
        try:
            yield lifted
        finally:
            # An appliance that has died has its own error, which this one must not hide.
            with contextlib.suppress(RuntimeError):
                attributes.put_back(self.handle, lifted)

    def replace_line(self, path: str, pattern: str, line: str) -> None:
        """Replace the lines of a text file that match ``pattern`` by ``line``, which is added if there are none."""
        lines = self.read(path).splitlines()
        rest = [each for each in lines if not re.match(pattern, each)]
        location = next((index for index, each in enumerate(lines) if re.match(pattern, each)), len(rest))
        self.write(path, "".join(f"{each}\n" for each in [*rest[:location], line, *rest[location:]]))

    def run(self, script: str, what: str) -> str:
        """Run a shell script in the guest's root; return what it printed, with surrogate escapes.

        What it leaves running is told and ended. Raises ``PipelineError`` when it fails, with its last words.
        """
        self.log.write(f"$ {script}\n".encode(errors="surrogateescape"))
        self.forget()
        done = guest_process.run(self.handle, f"set -eu\n{script}\n")
        self.log.write(done.output)
        if done.dropped:
            self.note(f"{what} printed {done.dropped} bytes more than the {guest_process.MOST >> 20} MiB that are kept")
        for name in done.left:
            self.note(f"{what} left a program running, which was ended: {name}")
        text = done.output.decode(errors="surrogateescape")
        if done.status != 0:
            lines = [line for line in done.output.decode(errors="replace").splitlines() if line.strip()]
            raise PipelineError(
                f"{what} failed in the guest with status {done.status}",
                details=lines[-20:],
                hint=_ATTRIBUTES_HINT if any(attributes.REFUSED in line for line in lines[-20:]) else None,
            )
        return text

    def has_command(self, name: str) -> bool:
        """Return whether the guest has the program ``name``."""
        return any(self.exists(f"{folder}/{name}") for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"))

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files and whole folders, immutable ones, too."""
        tree = self.tree()
        found = [real for path in paths if (real := tree.real(path))]
        if not found:
            return
        names = appliance_shell.put_names(self.handle, (f".{real}" for real in found))
        remove = f"cd /sysroot; xargs -0 -r rm -rf -- <{names}"
        try:
            appliance_shell.read(self.handle, remove)
        except PipelineError as error:
            if not any(attributes.REFUSED in line for line in error.details):
                raise
            folders = {real.rpartition("/")[0] for real in found}
            lifted = attributes.lift(self.handle, folders, below=found)
            names = appliance_shell.put_names(self.handle, (f".{real}" for real in found))
            appliance_shell.read(self.handle, remove)
            for text in attributes.notes(lifted):
                self.note(text)
            attributes.put_back(self.handle, lifted)
        for real in found:
            tree.remove(real)


def _is_utf8(path: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in path)
