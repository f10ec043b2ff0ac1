"""Find which package of this machine a file came from, so that whoever gets an image learns what it was made of."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

_DPKG, _RPM = "/var/lib/dpkg/status", "/usr/lib/sysimage/rpm/rpmdb.sqlite"
_MERGED = ("bin", "sbin", "lib", "lib64")


@dataclass(frozen=True, order=True)
class SystemPackage:
    """An installed package. ``kind`` is deb or rpm, ``namespace`` the distribution's id as in os-release(5)."""

    kind: str
    namespace: str
    name: str
    version: str
    architecture: str
    epoch: str = ""

    @property
    def url(self) -> str:
        """Its package URL (https://github.com/package-url/purl-spec)."""
        return self._url().to_string()

    def url_of(self, file: Path) -> str:
        """Return the URL of one file in it."""
        return self._url(str(file).lstrip("/")).to_string()

    def _url(self, subpath: str | None = None) -> PackageURL:
        qualifiers = {"arch": self.architecture, **({"epoch": self.epoch} if self.epoch else {})}
        return PackageURL(self.kind, self.namespace, self.name, self.version, qualifiers, subpath)


def packages(files: Iterable[Path]) -> dict[Path, SystemPackage]:
    """Return the package of each of ``files`` that has one. Remembered as long as nothing is installed or removed."""
    return dict(_packages(tuple(sorted(set(files))), _state(_DPKG), _state(_RPM)))


def materials(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Return ``files`` as a step's ``dependencies``: each with the URL of its package, and its own SHA-256."""
    taken = sorted(set(files))
    known = packages(taken)
    return [
        {
            "name": str(file),
            "uri": known[file].url_of(file) if file in known else file.as_uri(),
            "digest": {"sha256": _sha256(file)},
        }
        for file in taken
    ]


@functools.lru_cache(maxsize=64)
def _packages(files: tuple[Path, ...], *states: int) -> Mapping[Path, SystemPackage]:
    if not files:
        return {}
    try:
        distribution = platform.freedesktop_os_release()["ID"]
    except OSError:
        distribution = "linux"
    try:
        return _of_dpkg(files, distribution) if states[0] else _of_rpm(files, distribution)
    except PipelineError:
        # A machine without a package manager that we know: its files have their digests all the same.
        return {}


def _of_dpkg(files: Iterable[Path], distribution: str) -> dict[Path, SystemPackage]:
    names = {file: _names(file) for file in files}
    listed = process.run(["dpkg-query", "--search", *{name for each in names.values() for name in each}], check=False)
    owner_of = {}
    for line in listed.stdout.splitlines():
        owner, separator, name = line.partition(": ")
        if separator and not owner.startswith("diversion by"):
            owner_of[name] = owner.partition(",")[0]
    owners = {file: owner_of[name] for file, each in names.items() for name in each if name in owner_of}
    if not owners:
        return {}
    form = "-f=${binary:Package}\t${Package}\t${Version}\t${Architecture}\n"
    versions = process.run(["dpkg-query", "-W", form, *sorted(set(owners.values()))], check=False).stdout
    known = {}
    for line in versions.splitlines():
        shown, name, version, architecture = line.split("\t")
        known[shown.partition(":")[0]] = SystemPackage("deb", distribution, name, version, architecture)
    return {file: known[short] for file, owner in owners.items() if (short := owner.partition(":")[0]) in known}


def _of_rpm(files: Iterable[Path], distribution: str) -> dict[Path, SystemPackage]:
    found = {}
    form = "%{NAME}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"
    for file in files:
        for name in _names(file):
            query = process.run(["rpm", "-qf", "--qf", form, name], check=False)
            fields = query.stdout.partition("\n")[0].split("\t")
            if query.status == 0 and len(fields) == 4:
                package = SystemPackage("rpm", distribution, fields[0], fields[2], fields[3])
                found[file] = package if fields[1] == "0" else replace(package, epoch=fields[1])
                break
    return found


def _names(file: Path) -> list[str]:
    """How a package may call the file: where /bin is a link to /usr/bin, packages still say either."""
    names = dict.fromkeys((str(file), str(file.resolve())))
    for name in list(names):
        parts = name.split("/")
        if parts[1] in _MERGED:
            names[f"/usr{name}"] = None
        elif parts[1] == "usr" and parts[2] in _MERGED:
            names[name.removeprefix("/usr")] = None
    return list(names)


def _state(database: str) -> int:
    try:
        return Path(database).stat().st_mtime_ns
    except OSError:
        return 0


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
