"""Media with an installer, packages and their metadata; repositories for what the media lack."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.host.media import iso
from pipeline.host.media.initramfs import Archive
from pipeline.host.system import kernel, process
from pipeline.host.system.kernel import module_name, read_module
from tests.standins.enterprise_linux import packages
from tests.standins.enterprise_linux.files import Files

ANACONDA = Path(__file__).parents[1] / "anaconda"
_DRIVERS = (*packages._DISK_DRIVERS, "virtio_net", "isofs")
# What the media lack, as the real ones do.
ELSEWHERE = ("cloud-init", "cloud-utils-growpart", "dracut-modules-growroot")
_SPEC = """%define debug_package %{{nil}}
%define __spec_install_post %{{nil}}
%define _binary_payload w1.gzdio
%define _build_id_links none
Name: standin
Version: 1
Release: 1
Summary: Stand-in
License: Apache-2.0
AutoReqProv: no
%description
Stand-in.
{packages}
%install
cp -a {stage}/. %{{buildroot}}/
"""
_PACKAGE = """%package -n {name}
Version: {version}
Release: 1.el{major}
Summary: Stand-in for {name}
AutoReqProv: no
%description -n {name}
Stand-in for {name}.
%files -n {name} -f {listing}
"""
_TREEINFO = """[general]
family = {product}
timestamp = 1600266105.0
version = {release}
variant = Server
arch = x86_64
packagedir =
name = {product} {release}
repository = .

[stage2]
mainimage = {stage2}

[images-x86_64]
kernel = images/pxeboot/vmlinuz
initrd = images/pxeboot/initrd.img

[variant-Server]
id = Server
repository = {repository}
"""


@dataclass(frozen=True)
class Release:
    """What is stood in for. ``network``: the address of its Content Delivery Network, as the guest sees it."""

    major: int
    version: str
    product: str = "Red Hat Enterprise Linux"
    network: str = ""


@dataclass(frozen=True)
class Media:
    """The ISO file, and the folder with all packages, those that the media lack among them."""

    iso: Path
    packages: Path
    release: Release


def make_media(folder: Path, release: Release) -> Media:
    """Build the packages, their metadata, the installer, and the ISO file."""
    built = _build_packages(folder, release)
    on_media = folder / "media"
    (on_media / "Packages").mkdir(parents=True)
    for path in built.iterdir():
        if not path.name.startswith(ELSEWHERE):
            (on_media / "Packages" / path.name).hardlink_to(path)
    core = [packages.real_name(name, release.major) for name in packages.CORE]
    _index(on_media, release, core)
    files: dict[str, bytes | Path] = {
        str(path.relative_to(on_media)): path for path in sorted(on_media.rglob("*")) if path.is_file()
    }
    newest = kernel.newest("cloud")
    files["images/pxeboot/vmlinuz"] = newest.vmlinuz
    files["images/pxeboot/initrd.img"] = _installer(release)
    stage2 = "LiveOS/squashfs.img" if release.major >= 7 else "images/install.img"
    # Release 6 names the metadata's folder, not the repository's.
    repository = "." if release.major >= 7 else "repodata"
    said = _TREEINFO.format(product=release.product, release=release.version, stage2=stage2, repository=repository)
    files[".treeinfo"] = said.encode()
    files[".discinfo"] = f"1600266105.0\n{release.product} {release.version}\nx86_64\n".encode()
    target = folder / f"server-{release.version}-x86_64-dvd.iso"
    iso.write(target, f"RHEL-{release.version} Server.x86_64", files)
    return Media(target, built, release)


def make_repository(folder: Path, media: Media, names: Collection[str] = ELSEWHERE) -> Path:
    """A repository with what the media lack, to be served over HTTP."""
    (folder / "Packages").mkdir(parents=True)
    for path in media.packages.iterdir():
        if path.name.startswith(tuple(names)):
            (folder / "Packages" / path.name).hardlink_to(path)
    _index(folder, media.release, ())
    return folder


def _build_packages(folder: Path, release: Release) -> Path:
    stage, lists, top = folder / "stage", folder / "lists", folder / "rpmbuild"
    for path in (stage, lists, top):
        path.mkdir(parents=True)
    newest = kernel.newest("cloud")
    parts = []
    every = packages.all_packages(release.major, release.version, release.product, release.network, newest)
    for kind, files in every.items():
        name = packages.real_name(kind, release.major)
        files.write(stage)
        (lists / name).write_text(files.listing())
        version = (
            release.version if kind == "release" else newest.version.partition("-")[0] if kind == "kernel" else "1"
        )
        parts.append(_PACKAGE.format(name=name, version=version, major=release.major, listing=lists / name))
    spec = folder / "standin.spec"
    spec.write_text(_SPEC.format(packages="\n".join(parts), stage=stage))
    # As root only owners are right; fakeroot is not needed, since %attr names them.
    process.run(["rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", f"_topdir {top}", spec], timeout=300)
    built = top / "RPMS" / "x86_64"
    process.run(["rm", "-rf", top / "BUILDROOT", top / "BUILD", stage])
    return built


def _index(folder: Path, release: Release, core: Iterable[str]) -> None:
    wanted = "".join(f'      <packagereq type="mandatory">{name}</packagereq>\n' for name in core)
    comps = folder.with_name(f"{folder.name}-comps.xml")
    comps.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<comps>\n  <group>\n    <id>core</id>\n    <name>Core</name>\n'
        f"    <packagelist>\n{wanted}    </packagelist>\n  </group>\n</comps>\n"
    )
    words: list[str | Path] = [
        "createrepo_c",
        "--quiet",
        "--no-database",
        "--compress-type",
        "gz",
        "--general-compress-type",
        "gz",
    ]
    if core:
        words += ["--groupfile", comps]
    process.run([*words, folder], timeout=120)


def _installer(release: Release) -> bytes:
    """The installer's initial RAM disk."""
    newest = kernel.newest("cloud")
    files = Files(merged=False)
    files.file("/bin/busybox", Path("/bin/busybox"), 0o755)
    files.file("/init", ANACONDA / "init", 0o755)
    for name in ("commands", "stages"):
        files.file(f"/lib/{name}", ANACONDA / name)
    files.file("/etc/installer", f"release={release.version}\nmajor={release.major}\nproduct='{release.product}'\n")
    files.file("/etc/udhcpc.script", packages.TINY / "guest/etc/udhcpc.script", 0o755)
    files.file("/etc/mke2fs.conf", Path("/etc/mke2fs.conf"))
    files.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
    files.file("/etc/group", "root:x:0:\n")
    for path, source in (
        ("/usr/bin/rpm", "rpm"),
        ("/usr/sbin/mkfs.xfs", "mkfs.xfs"),
        ("/usr/sbin/mkfs.ext4", "mkfs.ext4"),
        ("/usr/sbin/blkid", "blkid"),
    ):
        files.program(path, source)
    packages.rpm_configuration(files)
    order = packages.insmod_order(newest, *_DRIVERS)
    for module in order:
        files.file(f"/modules/{module_name(module)}.ko", read_module(module))
    files.file("/modules/order", "".join(f"{module_name(module)}.ko\n" for module in order))
    archive = Archive()
    for path, (_, content, mode) in sorted(files.entries.items()):
        data = content.read_bytes() if isinstance(content, Path) else content
        archive.add_file(path.lstrip("/"), data if isinstance(data, bytes) else data.encode(), mode)
    return gzip.compress(archive.finish(), 1, mtime=0)
