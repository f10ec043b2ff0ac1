"""Small systems to fill images with, as archives.

Enterprise Linux has busybox for its programs and a real RPM database; Debian is Debian's smallest system with apt, so
that packages are really installed. Both start, and apply their seed as the tiny guest does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.host.system import kernel, process
from tests.standins.enterprise_linux import packages
from tests.standins.enterprise_linux.files import Files

# Who it is, where the tests find it.
_READY = """. /etc/os-release
echo "standin: $PRETTY_NAME, host $(cat /etc/hostname), datasource $(cat /run/seed/source)" > /dev/console
"""
_SPEC = """Name: standin
Version: 1
Release: 1
Summary: Stand-in
License: Apache-2.0
%description
Stand-in.
{packages}
"""
_PACKAGE = """%package -n {name}
Summary: Stand-in
AutoReqProv: no
%description -n {name}
Stand-in.
%files -n {name}
"""
_OF_ROOT = ("init", "poweroff", "reboot", "halt", "getty", "modprobe")
_TAR = ("tar", "--numeric-owner", "--owner=0", "--group=0")


def _starting() -> Files:
    files = Files(merged=True)
    packages.starting(files, kernel.newest("cloud"))
    files.script("/etc/rc.d/S99-ready", _READY)
    files.script("/usr/bin/growpart", 'echo "$*"\n')
    return files


def _enterprise_root(archive: Path) -> None:
    files = _starting()
    packages.small_system(files)
    files.file("/usr/share/zoneinfo/Etc/UTC", Path("/usr/share/zoneinfo/Etc/UTC"))
    for program in ("qemu-ga", "systemctl"):
        files.script(f"/usr/bin/{program}", f"echo {program}\n")
    root = archive.with_name("enterprise")
    files.write(root)
    _install_packages(archive.with_name("rpms"), root, ["kernel-core", "cloud-init", "qemu-guest-agent"])
    process.run([*_TAR, "--create", "-f", archive, "-C", root, "."])


def _install_packages(folder: Path, root: Path, names: Sequence[str]) -> None:
    """Into the RPM database; there is nothing in them."""
    folder.mkdir()
    spec = folder / "standin.spec"
    spec.write_text(_SPEC.format(packages="".join(_PACKAGE.format(name=name) for name in names)))
    process.run(["rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", f"_topdir {folder}", spec])
    built = sorted((folder / "RPMS/x86_64").iterdir())
    database = ["--root", str(root), "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"]
    process.run(["rpm", *database, "--install", "--justdb", "--nodeps", "--nosignature", *built])


def _debian(archive: Path) -> None:
    mirror = "http://deb.debian.org/debian"
    words = ["mmdebstrap", "--variant=apt", "--mode=root", "--include=ca-certificates,tzdata"]
    process.run([*words, "bookworm", archive, mirror], env={"TMPDIR": str(archive.parent)}, timeout=900)
    there = [Path(line) for line in process.run(["tar", "--list", "-f", archive]).stdout.splitlines()]
    programs = {path.name for path in there if path.parent.name in ("bin", "sbin")}
    files = _starting()
    # Where Debian has a program of that name, it is the one.
    for applet in process.run(["/bin/busybox", "--list"]).stdout.split():
        if applet not in programs:
            files.link(f"/usr/{'sbin' if applet in _OF_ROOT else 'bin'}/{applet}", "/usr/bin/busybox")
    files.file("/usr/bin/busybox", Path("/bin/busybox"), 0o755)
    root = archive.with_name("more")
    files.write(root)
    process.run([*_TAR, "--append", "-f", archive, "-C", root, "."])


MAKERS: Mapping[str, Callable[[Path], None]] = {"enterprise": _enterprise_root, "debian": _debian}
