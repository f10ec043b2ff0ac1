"""Images that mean harm, and the harmless ones they are made from; each made once a test session by qemu-img."""

from __future__ import annotations

import shutil
import struct
import subprocess
import uuid
from pathlib import Path

from tests.unit.image import vmdk_files

SIZE = "16M"


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def patched(source: Path, target: Path, offset: int, data: bytes) -> Path:
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return target


def text_vmdk(kind: str, extent: str | Path) -> str:
    """A VMDK that is nothing but a descriptor naming a file of the host."""
    head = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
    return f'{head}createType="{kind}"\nRW 8 FLAT "{extent}" 0\n'


def make_harmless(folder: Path) -> dict[str, Path]:
    """One image of each format, declared name → file."""
    made = {name: folder / f"ok.{name}" for name in ("qcow2", "vmdk", "vhd", "vhdx", "vdi", "raw", "gpt")}
    qemu_img("create", "-f", "qcow2", made["qcow2"], SIZE)
    qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicSparse", made["vmdk"], SIZE)
    qemu_img("create", "-f", "vpc", "-o", "force_size=on", made["vhd"], SIZE)
    qemu_img("create", "-f", "vhdx", made["vhdx"], SIZE)
    qemu_img("create", "-f", "vdi", made["vdi"], SIZE)
    made["raw"].write_bytes(bytes(1 << 20) + b"data" * 1000)
    made["gpt"].write_bytes(bytes(16 << 20))
    subprocess.run(["sgdisk", "-n", "1:2048:20000", made["gpt"]], check=True, capture_output=True)
    return made


def make_hostile(folder: Path, ok: dict[str, Path]) -> dict[str, tuple[str, Path, str]]:
    """Name → (declared format, file, the reason it must be refused for)."""
    q, v = ok["qcow2"], ok["vmdk"]
    made: dict[str, tuple[str, Path, str]] = {}

    def add(name: str, declared: str, path: Path, reason: str) -> None:
        made[name] = (declared, path, reason)

    def created(name: str, *words: str) -> Path:
        qemu_img("create", *words, folder / name, SIZE)
        return folder / name

    json_spec = 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/hostname"}}'
    for name, backing in (("abs", "/etc/hostname"), ("json", json_spec), ("nbd", "nbd://127.0.0.1:10809/x")):
        add(
            f"backing-{name}",
            "qcow2",
            created(f"b-{name}.qcow2", "-f", "qcow2", "-u", "-F", "raw", "-b", backing),
            "unsafe",
        )
    add("backing-as-raw", "raw", folder / "b-abs.qcow2", "unsafe")
    data = folder / "datafile.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={folder}/d.raw,data_file_raw=on", data, SIZE)
    qemu_img("amend", "-f", "qcow2", "-o", "data_file=/etc/hostname", data)
    add("data-file", "qcow2", data, "unsafe")
    add(
        "extended-l2",
        "qcow2",
        created("l2.qcow2", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k"),
        "unsafe",
    )
    add("qcow1", "qcow2", created("q1.qcow", "-f", "qcow"), "unsafe")
    add(
        "encrypted",
        "qcow2",
        created(
            "enc.qcow2",
            "-f",
            "qcow2",
            "--object",
            "secret,id=s,data=pw",
            "-o",
            "encrypt.format=aes,encrypt.key-secret=s",
        ),
        "encrypted",
    )
    for kind in ("monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"):
        add(f"vmdk-{kind}", "vmdk", created(f"{kind}.vmdk", "-f", "vmdk", "-o", f"subformat={kind}"), "unsafe")
    add("qed", "qed", created("x.qed", "-f", "qed"), "unsafe")
    add("feature-bit", "qcow2", patched(q, folder / "bit.qcow2", 72, b"\0\0\1\0\0\0\0\0"), "unsafe")
    add("version-4", "qcow2", patched(q, folder / "v4.qcow2", 4, b"\0\0\0\4"), "unsafe")
    add("huge", "qcow2", patched(q, folder / "huge.qcow2", 24, b"\x40" + bytes(7)), "damaged")
    add("vmdk-huge", "vmdk", _huge_vmdk(folder / "huge.vmdk"), "too-large")
    add("vmdk-two-sizes", "vmdk", patched(v, folder / "sizes.vmdk", 12, struct.pack("<Q", 1 << 50)), "unsafe")
    add("l1-bomb", "qcow2", patched(q, folder / "l1.qcow2", 36, b"\x7f\xff\xff\xff"), "damaged")
    add("corrupt", "qcow2", patched(q, folder / "corrupt.qcow2", 72, bytes(7) + b"\2"), "damaged")
    add("dirty", "qcow2", patched(q, folder / "dirty.qcow2", 72, bytes(7) + b"\1"), "damaged")
    add("vmdk-footer", "vmdk", patched(v, folder / "footer.vmdk", 56, b"\xff" * 8), "unsafe")
    add("qcow2+vdi", "qcow2", patched(q, folder / "poly.qcow2", 64, b"\x7f\x10\xda\xbe"), "ambiguous")
    for name, source, length, reason in (
        ("qcow2-header", q, 300, "truncated"),
        ("qcow2-tables", q, 70_000, "truncated"),
        ("vhdx", ok["vhdx"], 1000, "truncated"),
    ):
        path = folder / f"trunc-{name}"
        path.write_bytes(source.read_bytes()[:length])
        add(f"truncated-{name}", "vhdx" if name == "vhdx" else "qcow2", path, reason)
    add("mislabelled", "qcow2", ok["raw"], "mismatch")
    add("vdi-as-qcow2", "qcow2", ok["vdi"], "mismatch")
    for kind in ("monolithicFlat", "monolithicSparse"):
        path = folder / f"text-{kind}.vmdk"
        path.write_text(text_vmdk(kind, "/etc/hostname"))
        add(f"text-{kind}", "vmdk", path, "unsafe")
        add(f"text-{kind}-as-raw", "raw", path, "unsafe")
    hybrid = patched(ok["gpt"], folder / "hybrid.raw", 0, b"")
    subprocess.run(["sgdisk", "-h", "1", hybrid], check=True, capture_output=True)
    add("hybrid-mbr", "raw", hybrid, "unsafe")
    for name, source, offset, change in (
        ("vhd-differencing", ok["vhd"], 60, struct.pack(">I", 4)),
        ("vhd-fixed-with-header", ok["vhd"], 60, struct.pack(">I", 2)),
        ("vhd-parent-uuid", ok["vhd"], 512 + 40, b"1234567890abcdef"),
        ("vhd-parent-locator", ok["vhd"], 512 + 576, b"W2ru"),
        ("vdi-undo", ok["vdi"], 0x4C, struct.pack("<I", 3)),
        ("vdi-differencing", ok["vdi"], 0x4C, struct.pack("<I", 4)),
        ("vdi-link", ok["vdi"], 0x1A8, b"1234567890abcdef"),
        ("vdi-parent", ok["vdi"], 0x1B8, b"1234567890abcdef"),
        ("vhdx-has-parent", ok["vhdx"], _item(ok["vhdx"], "CAA16737-FA36-4D43-B3B6-33F0AA44E76B") + 4, b"\2"),
        ("vhdx-locator", ok["vhdx"], *_renamed_item(ok["vhdx"])),
    ):
        path = patched(source, folder / f"{name}.image", offset, change)
        add(name, name.partition("-")[0], path, "unsafe")
        add(f"{name}-as-raw", "raw", path, "unsafe")
    return made


def _huge_vmdk(path: Path) -> Path:
    sectors = 1 << 50
    described = vmdk_files.described(vmdk_files.VMWARE, "monolithicSparse", sectors)
    path.write_bytes(vmdk_files.sparse(described, vmdk_files.Fields(capacity=sectors)))
    return path


def _entry(vhdx: Path, name: str) -> tuple[int, int]:
    """Where the table of a VHDX's metadata has an item, and where the item lies; QEMU lays the table at 3 MiB."""
    table = 3 << 20
    data = vhdx.read_bytes()[table : table + (128 << 10)]
    at = data.index(uuid.UUID(name).bytes_le)
    return table + at, table + int(struct.unpack_from("<I", data, at + 16)[0])


def _item(vhdx: Path, name: str) -> int:
    return _entry(vhdx, name)[1]


def _renamed_item(vhdx: Path) -> tuple[int, bytes]:
    """The identifier of the disk becomes the item that names a parent."""
    at, _ = _entry(vhdx, "BECA12AB-B2E6-4523-93EF-C309E000C746")
    return at, uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C").bytes_le
