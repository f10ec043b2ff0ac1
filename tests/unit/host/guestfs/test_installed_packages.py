from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.installed_packages import InstalledPackage, installed


class Files:
    """A guest's files in a dictionary."""

    def __init__(self, **files: bytes) -> None:
        self.files = {path.replace("__", "/"): data for path, data in files.items()}

    @classmethod
    def of(cls, files: dict[str, bytes]) -> Files:
        made = cls()
        made.files = files
        return made

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def names(self, folder: str) -> list[str]:
        return [path.rpartition("/")[2] for path in self.files if path.rpartition("/")[0] == folder]


DPKG = b"""Package: bash
Status: install ok installed
Architecture: amd64
Source: bash (5.2-1)
Version: 5.2.15-2+b2
Maintainer: Matthias Klose <doko@debian.org>
Description: shell
 with a long
 text: that is no field

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 1:2024a-0"""


def test_dpkg() -> None:
    found = installed(Files.of({"/var/lib/dpkg/status": DPKG}))
    assert found == [
        InstalledPackage(
            "deb", "bash", "5.2.15-2+b2", "amd64", source="bash", vendor="Matthias Klose <doko@debian.org>"
        ),
        InstalledPackage("deb", "tzdata", "1:2024a-0", "all"),
    ]


def test_images_without_dpkg() -> None:
    files = {
        "/var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 12\nArchitecture: amd64\n",
        "/var/lib/dpkg/status.d/base.md5sums": b"Package: not\nVersion: 1\n",
    }
    assert installed(Files.of(files)) == [InstalledPackage("deb", "base-files", "12", "amd64")]


def test_apk() -> None:
    text = b"C:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\nm:Somebody\n\nP:busybox\nV:1.36\n"
    assert installed(Files.of({"/lib/apk/db/installed": text})) == [
        InstalledPackage("apk", "busybox", "1.36"),
        InstalledPackage("apk", "musl", "1.2.4-r2", "x86_64", source="musl", license="MIT", vendor="Somebody"),
    ]


@given(st.binary(max_size=500))
def test_rubbish_never_breaks_the_reader(data: bytes) -> None:
    paths = ["/var/lib/dpkg/status", "/lib/apk/db/installed", "/var/lib/dpkg/status.d/x"]
    for package in installed(Files.of(dict.fromkeys(paths, data))):
        assert package.name and package.version


RPMS = pytest.mark.skipif(not shutil.which("rpmbuild"), reason="rpm is not installed (package rpm)")


@pytest.fixture(scope="module")
def rpm_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real RPM database with one package in it."""
    folder = tmp_path_factory.mktemp("rpm")
    (folder / "p.spec").write_text(
        "Name: hello\nVersion: 2.10\nRelease: 3%{?dist}\nEpoch: 1\nSummary: x\nLicense: GPLv3+\nVendor: Us\n"
        "BuildArch: noarch\n%description\nx\n%files\n"
    )
    define = ["--define", f"_topdir {folder}", "--define", "_build_id_links none"]
    subprocess.run(["rpmbuild", "-bb", *define, folder / "p.spec"], check=True, capture_output=True)
    (built,) = (folder / "RPMS").rglob("*.rpm")
    database = folder / "db"
    words: list[str | Path] = [
        "rpm",
        "--dbpath",
        database,
        "--justdb",
        "--nodeps",
        "--noscripts",
        "--ignorearch",
        "-i",
        built,
    ]
    subprocess.run(words, check=True, capture_output=True)
    return database


@RPMS
@pytest.mark.subprocess
@pytest.mark.parametrize("folder", ["/var/lib/rpm", "/usr/lib/sysimage/rpm"])
def test_rpm(rpm_database: Path, folder: str) -> None:
    files = {f"{folder}/{path.name}": path.read_bytes() for path in rpm_database.iterdir()}
    (package,) = installed(Files.of(files))
    assert (package.kind, package.name, package.version) == ("rpm", "hello", "2.10-3")
    assert (package.epoch, package.architecture, package.license, package.vendor) == ("1", "noarch", "GPLv3+", "Us")
    assert package.source.startswith("hello-2.10")


@RPMS
@pytest.mark.subprocess
def test_a_broken_rpm_database_is_told() -> None:
    with pytest.raises(PipelineError, match="RPM database cannot be read"):
        installed(Files.of({"/var/lib/rpm/rpmdb.sqlite": b"rubbish" * 1000}))
