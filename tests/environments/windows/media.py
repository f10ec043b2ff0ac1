"""The stand-in's media: a Windows ISO in UDF with a real WIM, the drivers' ISO, an installer that is none."""

from __future__ import annotations

import gzip
import importlib.util
import io
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hivex
import pycdlib

from pipeline.host.media import fat, iso
from pipeline.host.media.file_tree import FileTree
from pipeline.host.media.initramfs import Archive
from pipeline.host.system import kernel, process
from pipeline.host.system.kernel import module_name, read_module
from tests.environments import hives

GUEST = Path(__file__).parent / "guest"
_MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "sr_mod",
    "ata_piix",
    "ahci",
    "isofs",
    "udf",
    "fuse",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859-1",
    "evdev",
    "button",
)
_PROGRAMS = ("wimlib-imagex", "ntfs-3g", "mkntfs", "mkfs.fat", "sfdisk")
_NOT_NEEDED = ("test", "idlelib", "tkinter", "lib2to3", "ensurepip", "distutils", "pydoc_data", "asyncio", "unittest")
# The distribution's own, which hivex is bound to.
_PYTHON = Path("/usr/bin/python3").resolve()
_CONVERTERS = next(Path("/usr/lib").glob("*/gconv"), Path("/usr/lib64/gconv"))
_STANDARD_LIBRARY = Path("/usr/lib") / _PYTHON.name
_DRIVERS = ("viostor", "vioscsi", "NetKVM", "vioserial", "Balloon", "viorng", "pvpanic")
MSI = bytes.fromhex("D0CF11E0A1B11AE1")
# Two sectors that file(1) takes for a 64-bit Windows program: libguestfs looks at cmd.exe for the architecture.
_PE = (
    b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
)
_PE += struct.pack("<H", 0x20B).ljust(400, b"\0")
_SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
_GRUB = Path("/usr/lib/grub/i386-pc")

_ISOLINUX = """DEFAULT setup
PROMPT 0
TIMEOUT 0
LABEL setup
  LINUX /vmlinuz
  INITRD /initrd.gz
  APPEND quiet console=tty0
"""
_LOADER = b"default setup.conf\ntimeout 0\n"
_ENTRY = b"title setup\nlinux /vmlinuz\ninitrd /initrd.gz\noptions quiet console=tty0\n"


@dataclass(frozen=True)
class Release:
    """What the media claim to hold."""

    year: str
    build: int
    editions: Sequence[str]
    language: str = "en-US"


def windows_iso(target: Path, folder: Path, release: Release, *, extra: Sequence[str] = ()) -> Path:
    """Media that boot by BIOS and by UEFI into the stand-in. ``extra`` names failures that are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    wim = install_wim(folder / "install.wim", folder, release)
    # A real loader reads some hundred MiB before anything is shown.
    boot = folder / "boot.wim"
    with boot.open("wb") as file:
        file.truncate(80 << 20)
    newest, ramdisk = kernel.newest(), folder / "initrd.gz"
    ramdisk.write_bytes(_ramdisk(newest))
    efi = _efi_image(folder / "efi.img", newest.vmlinuz, ramdisk)
    made = pycdlib.PyCdlib()
    made.new(interchange_level=3, udf="2.60", vol_ident="SSS_X64FRE")
    made.add_directory("/SOURCES", udf_path="/sources")
    names: dict[str, Path | bytes] = {"install.wim": wim, "boot.wim": boot, **dict.fromkeys(extra, b"x")}
    names["lang.ini"] = f"[Available UI Languages]\r\n{release.language} = 3\r\n".encode()
    for number, (name, content) in enumerate(names.items()):
        _add(made, f"/SOURCES/F{number}.;1", content, f"/sources/{name}")
    syslinux = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
    for plain, content in (
        ("/ISOLINUX.BIN;1", Path("/usr/lib/ISOLINUX/isolinux.bin")),
        ("/LDLINUX.C32;1", syslinux),
        ("/ISOLINUX.CFG;1", _ISOLINUX.encode()),
        ("/VMLINUZ.;1", newest.vmlinuz),
        ("/INITRD.GZ;1", ramdisk),
        ("/EFI.IMG;1", efi),
    ):
        _add(made, plain, content, "/" + plain.strip("/").partition(";")[0].rstrip(".").lower())
    _add_loaders(made, folder)
    made.add_eltorito("/ISOLINUX.BIN;1", bootcatfile="/BOOT.CAT;1", boot_info_table=True, boot_load_size=4)
    # A size of one sector means "to the end" to UEFI; the field could not say the real one.
    made.add_eltorito("/EFI.IMG;1", bootcatfile="/BOOT.CAT;1", efi=True, boot_load_size=1)
    made.write(str(target))
    made.close()
    return target


def without_loader(target: Path, wim: Path, *, entry: bool = False) -> Path:
    """Media with an image, but nothing that a firmware could start; with ``entry`` they promise that there is."""
    made = pycdlib.PyCdlib()
    made.new(interchange_level=3, udf="2.60", vol_ident="SSS_X64FRE")
    made.add_directory("/SOURCES", udf_path="/sources")
    _add(made, "/SOURCES/F0.;1", wim, "/sources/install.wim")
    if entry:
        _add(made, "/BOOT.IMG;1", b"\0" * 2048, "/boot.img")
        made.add_eltorito("/BOOT.IMG;1", bootcatfile="/BOOT.CAT;1", boot_load_size=4)
        made.add_eltorito("/BOOT.IMG;1", bootcatfile="/BOOT.CAT;1", efi=True, boot_load_size=1)
    made.write(str(target))
    made.close()
    return target


def install_wim(target: Path, folder: Path, release: Release) -> Path:
    """A WIM with one image for each edition, as wimlib makes it, said to be Windows by its index."""
    root = folder / "windows"
    config = root / "Windows/System32/config"
    config.mkdir(parents=True, exist_ok=True)
    (root / "Program Files").mkdir(exist_ok=True)
    (root / "Windows/System32/cmd.exe").write_bytes(_PE)
    version = r"Microsoft\Windows NT\CurrentVersion"
    name = f"Windows Server {release.year} Standard"
    said = {"ProductName": name, "CurrentBuildNumber": str(release.build), "CurrentVersion": "6.3"}
    hives.make(config / "SOFTWARE", {version: {**said, "InstallationType": "Server"}})
    parameters = r"ControlSet001\Services\Tcpip\Parameters"
    system = hives.make(config / "SYSTEM", {"Select": {}, parameters: {"Hostname": "standin"}})
    _choose_control_set(system)
    for edition in release.editions:
        action = "append" if target.exists() else "capture"
        words: list[str | Path] = ["wimlib-imagex", action, root, target, edition]
        facts = {
            "WINDOWS/ARCH": "9",
            "WINDOWS/LANGUAGES/LANGUAGE": release.language,
            "WINDOWS/LANGUAGES/DEFAULT": release.language,
            "WINDOWS/VERSION/BUILD": str(release.build),
        }
        process.run([*words, *(f"--image-property={key}={value}" for key, value in facts.items())])
    return target


def _choose_control_set(system: Path) -> None:
    """``Select\\Current`` is a number; it names the set of services that counts."""
    hive = hivex.Hivex(str(system), write=True)
    select = hive.node_get_child(hive.root(), "Select")
    hive.node_set_value(select, {"key": "Current", "t": 4, "value": struct.pack("<I", 1)})
    hive.commit(None)


def drivers_iso(target: Path, code: str, *, without: Sequence[str] = ()) -> Path:
    """The layout of the virtio-win project's media."""
    files: dict[str, bytes | Path] = {
        f"{driver}/{code}/amd64/{driver.lower()}.{ending}": b"; a driver\n"
        for driver in _DRIVERS
        if driver not in without
        for ending in ("inf", "sys", "cat")
    }
    files["guest-agent/qemu-ga-x86_64.msi"] = MSI
    iso.write(target, "virtio-win", files)
    return target


def _ramdisk(newest: kernel.Kernel) -> bytes:
    archive = Archive()
    archive.add_file("init", (GUEST / "init.sh").read_bytes(), 0o755)
    for file in sorted(GUEST.glob("*.py")):
        archive.add_file(f"tests/environments/windows/guest/{file.name}", file.read_bytes())
    archive.add_file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
    order = newest.load_order(*(name for name in _MODULES if newest.has(name)))
    for module in order:
        archive.add_file(f"modules/{module_name(module)}.ko", read_module(module))
    archive.add_file("modules/order", "".join(f"{module_name(module)}.ko\n" for module in order).encode())
    programs = [_PYTHON, *(_program(name) for name in _PROGRAMS)]
    extension = next(Path("/usr/lib/python3/dist-packages").glob("libhivexmod*.so"))
    dynamic = [
        each
        for each in (_STANDARD_LIBRARY / "lib-dynload").glob("*.so")
        if each.name.startswith(("termios", "_json", "_posix"))
    ]
    for program in programs:
        archive.add_file(f"usr/bin/{program.name}", program.read_bytes(), 0o755)
    archive.add_link("usr/bin/python3", _PYTHON.name)
    for library in sorted({found for file in (*programs, extension, *dynamic) for found in _libraries(file)}):
        archive.add_file(str(library).lstrip("/"), library.read_bytes(), 0o755)
    for file in dynamic:
        archive.add_file(f"usr/lib/{_PYTHON.name}/lib-dynload/{file.name}", file.read_bytes(), 0o755)
    archive.add_file(f"usr/lib/{_PYTHON.name}/{extension.name}", extension.read_bytes(), 0o755)
    # hivex reads names and texts of the registry by iconv(3), which loads what it needs from here.
    for converter in sorted(path for path in _CONVERTERS.rglob("*") if path.is_file()):
        if converter.name in ("UTF-16.so", "ISO8859-1.so") or converter.name.startswith("gconv-modules"):
            archive.add_file(str(converter).lstrip("/"), converter.read_bytes(), 0o755)
    archive.add_file(f"usr/lib/{_PYTHON.name.replace('.', '')}.zip", _standard_library())
    return gzip.compress(archive.finish(), 1)


def _program(name: str) -> Path:
    return next(found for folder in ("/usr/bin", "/usr/sbin", "/sbin") if (found := Path(folder, name)).exists())


def _libraries(file: Path) -> Iterator[Path]:
    """Where the loader looks for what a program needs."""
    for word in process.run(["ldd", file]).stdout.split():
        if word.startswith("/") and not word.endswith(":"):
            yield Path(word)


def _standard_library() -> bytes:
    content = io.BytesIO()
    home, hivex = _STANDARD_LIBRARY, Path("/usr/lib/python3/dist-packages")
    with zipfile.ZipFile(content, "w") as packed:
        for file in sorted(home.rglob("*.py")):
            parts = file.relative_to(home).parts
            if parts[0] not in _NOT_NEEDED and "__pycache__" not in parts:
                # As bytecode where the distribution has it: an emulated processor takes long to make it at each start.
                ready = Path(importlib.util.cache_from_source(str(file)))
                packed.write(*((ready, "/".join(parts) + "c") if ready.exists() else (file, "/".join(parts))))
        for file in sorted((hivex / "hivex").glob("*.py")):
            packed.write(file, f"hivex/{file.name}")
    return content.getvalue()


def _efi_image(target: Path, vmlinuz: Path, ramdisk: Path) -> Path:
    tree = FileTree()
    tree.add_file("/EFI/BOOT/BOOTX64.EFI", _SYSTEMD_BOOT)
    tree.add_file("/loader/loader.conf", _LOADER)
    tree.add_file("/loader/entries/setup.conf", _ENTRY)
    tree.add_file("/vmlinuz", vmlinuz)
    tree.add_file("/initrd.gz", ramdisk)
    size = (vmlinuz.stat().st_size + ramdisk.stat().st_size + (4 << 20)) // (1 << 20) << 20
    fat.write(target, size, tree, label="EFI", serial=1, start=0, time=0)
    return target


def _add_loaders(made: pycdlib.PyCdlib, folder: Path) -> None:
    """What the installed disk is started by, as real media carry it in their images."""
    core, start = folder / "core.img", folder / "grub.cfg"
    start.write_text("set root=(hd0,msdos1)\nlinux /vmlinuz quiet console=tty0\ninitrd /initrd.gz\nboot\n")
    modules = ("biosdisk", "part_msdos", "ntfs", "linux", "boot")
    words: list[str | Path] = [
        "grub-mkimage",
        "-O",
        "i386-pc",
        "-d",
        _GRUB,
        "-p",
        "/",
        "-c",
        start,
        "-o",
        core,
        *modules,
    ]
    process.run(words)
    for name in ("EFI", "BIOS"):
        made.add_directory(f"/{name}", udf_path=f"/{name.lower()}")
    for plain, content, path in (
        ("/EFI/BOOT.EFI;1", _SYSTEMD_BOOT, "/efi/bootx64.efi"),
        ("/EFI/LOADER.CNF;1", _LOADER, "/efi/loader.conf"),
        ("/EFI/SETUP.CNF;1", _ENTRY, "/efi/setup.conf"),
        ("/BIOS/BOOT.IMG;1", _GRUB / "boot.img", "/bios/boot.img"),
        ("/BIOS/CORE.IMG;1", core, "/bios/core.img"),
    ):
        _add(made, plain, content, path)


def _add(made: pycdlib.PyCdlib, plain: str, content: Path | bytes, udf: str) -> None:
    if isinstance(content, Path):
        made.add_file(str(content), plain, udf_path=udf)
    else:
        made.add_fp(io.BytesIO(content), len(content), plain, udf_path=udf)
