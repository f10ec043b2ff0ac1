"""What goes into a package: files, links and folders, and programs with their libraries."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.host.system import process

_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)$")


def libraries(program: Path) -> list[Path]:
    listing = process.run(["ldd", program], check=False).stdout
    return [Path(match[1]) for line in listing.splitlines() if (match := _LIBRARY.search(line.strip()))]


@dataclass
class Files:
    """Paths in the guest. ``merged``: /bin, /sbin, /lib and /lib64 are links into /usr, as in release 7."""

    merged: bool
    entries: dict[str, tuple[str, bytes | Path | str, int]] = field(default_factory=dict)

    def location(self, path: str) -> str:
        first = path.strip("/").partition("/")[0]
        return f"/usr{path}" if self.merged and first in ("bin", "sbin", "lib", "lib64") else path

    def folder(self, path: str, mode: int = 0o755) -> None:
        self.entries[self.location(path)] = ("folder", b"", mode)

    def file(self, path: str, content: str | bytes | Path, mode: int = 0o644) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.entries[self.location(path)] = ("file", data, mode)

    def link(self, path: str, target: str) -> None:
        self.entries[self.location(path)] = ("link", target, 0o777)

    def script(self, path: str, text: str) -> None:
        self.file(path, f"#!/bin/sh\n{text}", 0o755)

    def program(self, path: str, source: str | Path | None = None) -> None:
        """A program of this machine under another name, with its libraries."""
        name = str(source or Path(path).name)
        found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert found, f"{name} is not installed"
        self.file(path, Path(found).resolve(), 0o755)
        for library in libraries(Path(found)):
            self.file(str(library), library.resolve(), 0o755)

    def tree(self, folder: Path, at: str = "", *, mode: int | None = None) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                own = 0o755 if path.read_bytes()[:2] == b"#!" else 0o644
                self.file(f"{at}/{path.relative_to(folder)}", path, mode or own)

    def write(self, root: Path) -> None:
        for path, (kind, content, mode) in sorted(self.entries.items()):
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                target.mkdir(exist_ok=True)
            elif target.is_symlink() or target.exists():
                continue  # another package has it, too
            elif kind == "link":
                target.symlink_to(str(content))
                continue
            elif isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content if isinstance(content, bytes) else content.encode())
            target.chmod(mode)

    def listing(self) -> str:
        """For the ``%files`` of a spec."""
        return "".join(
            f"{'%dir ' if kind == 'folder' else ''}%attr({mode:04o},root,root) {path}\n"
            if kind != "link"
            else f"{path}\n"
            for path, (kind, _, mode) in sorted(self.entries.items())
        )
