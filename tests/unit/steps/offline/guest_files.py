"""Stand in for a guest's files."""

from __future__ import annotations

from typing import Any, cast

from pipeline.host.guestfs.guest_system import GuestSystem


class Files:
    """As much of a guest as is looked at."""

    def __init__(self, **files: str) -> None:
        self.files = {name.replace("_", "/"): text for name, text in files.items()}

    def read(self, path: str) -> str:
        return self.files.get(path, "")

    def exists(self, path: str) -> bool:
        return path in self.files

    def has_command(self, name: str) -> bool:
        return f"/bin/{name}" in self.files

    def write(self, path: str, content: Any, *, mode: int | None = None) -> None:
        self.files[path] = content


def guest(files: Files) -> GuestSystem:
    return cast(GuestSystem, files)
