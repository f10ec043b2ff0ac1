"""Read installation media of Red Hat's family: what they install, and where on them the installer is.

``.treeinfo`` is an INI file at the root of the media; its fields are those of productmd ("Treeinfo file format" in
its documentation), RHEL 6 having less of them.
"""

from __future__ import annotations

import configparser
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.base.errors import PipelineError
from pipeline.host.install.repodata import Repodata
from pipeline.host.media import iso

_HINT = "give the binary DVD, such as rhel-server-7.9-x86_64-dvd.iso; a boot ISO holds no packages"


@dataclass(frozen=True)
class TreeInfo:
    """What ``.treeinfo`` says. ``repositories`` are the folders that hold a ``repodata``, relative to the root."""

    family: str
    version: str
    architecture: str
    kernel: str
    initrd: str
    repositories: tuple[str, ...]

    @property
    def release(self) -> str:
        """What the media install, in words."""
        return f"{self.family} {self.version}"


@dataclass
class InstallTree:
    """Media that are open. ``label`` is the name of their volume."""

    info: TreeInfo
    label: str
    _medium: iso.Medium
    _repodata: Repodata | None = field(default=None)

    def extract_installer(self, folder: Path) -> tuple[Path, Path]:
        """Copy the installer's kernel and its initial RAM disk into ``folder``; return where they are."""
        kernel, initrd = folder / "vmlinuz", folder / "initrd.img"
        for path, target in ((self.info.kernel, kernel), (self.info.initrd, initrd)):
            if not self._medium.extract(path, target):
                raise PipelineError(f"the media name {path} in .treeinfo, but have no such file", hint=_HINT)
        return kernel, initrd

    @property
    def repodata(self) -> Repodata:
        """What packages and groups are on the media."""
        if self._repodata is None:
            parts = [Repodata.read(_Folder(self._medium, each)) for each in self.info.repositories]
            self._repodata = Repodata.together(parts)
        return self._repodata


@contextlib.contextmanager
def opened(media: Path) -> Iterator[InstallTree]:
    """Open the tree on an ISO file. Raises ``PipelineError`` when that is no installation medium of this family."""
    with iso.opened(media) as medium:
        text = medium.read(".treeinfo") or medium.read("treeinfo")
        if text is None:
            raise PipelineError(f"{media.name} is no installation medium: it has no .treeinfo", hint=_HINT)
        yield InstallTree(parse(text, media.name), medium.label, medium)


def parse(data: bytes, name: str = "media") -> TreeInfo:
    """Read ``.treeinfo``. Raises ``PipelineError`` that names what is missing."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(data.decode(errors="replace"))
    except configparser.Error as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"{name}: .treeinfo cannot be read: {reason}", hint=_HINT) from None

    def value_of(section: str, option: str) -> str:
        value = parser.get(section, option, fallback="").strip()
        if not value:
            raise PipelineError(f"{name}: .treeinfo says nothing of {option} in [{section}]", hint=_HINT)
        return value

    architecture = value_of("general", "arch")
    images = f"images-{architecture}"
    return TreeInfo(
        family=value_of("general", "family"),
        version=value_of("general", "version"),
        architecture=architecture,
        kernel=_inside(value_of(images, "kernel"), name),
        initrd=_inside(value_of(images, "initrd"), name),
        repositories=_repositories(parser, name),
    )


def _repositories(parser: configparser.ConfigParser, name: str) -> tuple[str, ...]:
    """Those of the variants (RHEL 6 names the ``repodata`` itself), else the root."""
    found = [
        parser.get(section, "repository")
        for section in parser.sections()
        if section.startswith("variant-") and parser.has_option(section, "repository")
    ]
    folders = [_inside(each.removesuffix("/").removesuffix("repodata") or ".", name) for each in found]
    return tuple(dict.fromkeys(folders)) or ("",)


def _inside(path: str, name: str) -> str:
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts:
        raise PipelineError(f"{name}: .treeinfo leads out of the media: {path[:80]}")
    return "" if str(plain) == "." else str(plain)


class _Folder:
    """A folder of the media, as a place to read repository metadata from."""

    def __init__(self, medium: iso.Medium, folder: str) -> None:
        self._medium = medium
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        return self._medium.read(f"{self._folder}/{path}".lstrip("/"))
