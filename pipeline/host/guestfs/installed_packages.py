"""List what software is installed in a guest, read from its package databases without running any of it.

Debian's ``status`` (and ``status.d`` of images without dpkg), Alpine's ``installed``, RPM's database in each of its
formats. The files come from the image, so every field may be missing or absurd.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from pipeline.base.errors import PipelineError
from pipeline.host.system import sandbox

_DPKG = ("/var/lib/dpkg/status", "/var/lib/dpkg/status.d")
_APK = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_RPM = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_RPM_FILES = ("rpmdb.sqlite", "Packages", "Packages.db")
_RPM_FIELDS = ("NAME", "EPOCHNUM", "VERSION", "RELEASE", "ARCH", "LICENSE", "VENDOR", "SOURCERPM")
_MAX_FIELD = 4096
_MAX_PACKAGES = 100_000
_SOURCE = re.compile(r"(?P<name>\S+)(?: \((?P<version>\S+)\))?")


class GuestFileReader(Protocol):
    """The files of a guest that is not running."""

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; ``None`` when there is no such plain file."""

    def names(self, folder: str) -> Sequence[str]:
        """Return the names in a folder; none when there is no such folder."""


@dataclass(frozen=True, order=True)
class InstalledPackage:
    """One installed package. ``kind``: deb, apk, rpm, or generic for programs that no package manager knows."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    epoch: str = ""
    source: str = ""
    license: str = ""
    vendor: str = ""

    def as_data(self) -> dict[str, str]:
        """Return it as JSON data, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value}


def installed(files: GuestFileReader) -> list[InstalledPackage]:
    """Return everything the guest's package managers have installed, sorted. Raises ``PipelineError`` on a broken
    database.
    """
    found = sorted({*_dpkg(files), *_apk(files), *_rpm(files)})
    if len(found) > _MAX_PACKAGES:
        raise PipelineError(f"the image lists {len(found)} packages; more than {_MAX_PACKAGES} is not believed")
    return found


def _dpkg(files: GuestFileReader) -> Iterator[InstalledPackage]:
    status, folder = _DPKG
    texts = [files.read(status) or b""]
    # Images without dpkg have a file a package, and next to it one with checksums.
    texts += [
        files.read(f"{folder}/{name}") or b"" for name in sorted(files.names(folder)) if not name.endswith(".md5sums")
    ]
    for number, text in enumerate(texts):
        for fields in _stanzas(text):
            if number == 0 and not fields.get("Status", "").endswith(" installed"):
                continue
            if fields.get("Package") and fields.get("Version"):
                source = _SOURCE.match(fields.get("Source", ""))
                yield InstalledPackage(
                    "deb",
                    fields["Package"],
                    fields["Version"],
                    architecture=fields.get("Architecture", ""),
                    source=source["name"] if source else "",
                    vendor=fields.get("Maintainer", ""),
                )


def _stanzas(data: bytes) -> Iterator[dict[str, str]]:
    """Yield the fields of each paragraph (deb822); continuation lines are left out, nothing needed stands there."""
    fields: dict[str, str] = {}
    for line in [*data.decode(errors="replace").splitlines(), ""]:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace() and ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()[:_MAX_FIELD]


def _apk(files: GuestFileReader) -> Iterator[InstalledPackage]:
    for path in _APK:
        for fields in _stanzas(files.read(path) or b""):
            if fields.get("P") and fields.get("V"):
                yield InstalledPackage(
                    "apk",
                    fields["P"],
                    fields["V"],
                    architecture=fields.get("A", ""),
                    source=fields.get("o", ""),
                    license=fields.get("L", ""),
                    vendor=fields.get("m", ""),
                )


def _rpm(files: GuestFileReader) -> Iterator[InstalledPackage]:
    for folder in _RPM:
        present = [name for name in files.names(folder) if name in _RPM_FILES]
        if present:
            with tempfile.TemporaryDirectory(prefix="rpmdb-") as copy:
                for name in present:
                    (Path(copy) / name).write_bytes(files.read(f"{folder}/{name}") or b"")
                yield from _query_rpm(Path(copy))
            return


def _query_rpm(database: Path) -> Iterator[InstalledPackage]:
    # Even a query locks the database, so rpm gets a copy that it may write to.
    query = "\\t".join(f"%{{{field}}}" for field in _RPM_FIELDS) + "\\n"
    words = ["rpm", "--dbpath", sandbox.INSIDE_OUT, "-qa", "--qf", query]
    bounds = sandbox.SandboxLimits(memory=2 << 30, seconds=120, written=1 << 30, processes=16)
    finished = sandbox.run(words, readable={}, out=database, bounds=bounds, whole_system=True, timeout=180, check=False)
    if finished.status != 0:
        reason = (finished.stderr.strip().splitlines() or [f"status {finished.status}"])[-1]
        raise PipelineError(f"the image's RPM database cannot be read: {reason}", hint="install the package rpm here")
    for line in finished.stdout.splitlines():
        values = [value[:_MAX_FIELD] if value != "(none)" else "" for value in line.split("\t")]
        if len(values) != len(_RPM_FIELDS) or values[0] == "gpg-pubkey":
            continue
        name, epoch, version, release, architecture, license_text, vendor, source = values
        yield InstalledPackage(
            "rpm",
            name,
            f"{version}-{release}",
            architecture=architecture,
            epoch="" if epoch == "0" else epoch,
            source=source,
            license=license_text,
            vendor=vendor,
        )
