"""Tricks with the headers of QCOW2, VHD, VHDX and VDI: another file is read, or is once the image was written to."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from pipeline.image.crc32c import crc32c

_NAMES = {
    "path": "/etc/hostname",
    "relative": "../../../../etc/hostname",
    "json": 'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/hostname"}}',
    "json-host-device": 'json:{"driver":"host_device","filename":"/dev/sda"}',
    "file": "file:/etc/hostname",
    "fat": "fat:/etc",
    "nbd": "nbd:unix:/run/nbd.sock:exportname=x",
    "https": "https://169.254.169.254/latest/meta-data",
    "ssh": "ssh://root@127.0.0.1/etc/shadow",
    "rbd": "rbd:images/other:conf=/etc/ceph/ceph.conf",
    "iscsi": "iscsi://127.0.0.1/iqn.x/0",
    "blkdebug": "blkdebug:/etc/hostname:x",
    "fd": "/dev/fdset/1",
    "nul-before": "\0/etc/hostname",
    "control": "/etc/host\x1b[31mname",
    "space": " /etc/hostname",
    "longest": "/" * 1010 + "etc/hostname",
}
_END, _BACKING_FORMAT, _DATA_FILE, _CRYPTO = 0, 0xE2792ACA, 0x44415441, 0x0537BE77
_DATA_FILE_BIT, _RAW_DATA_FILE_BIT = 1 << 2, 1 << 1  # incompatible, autoclear


def all_of_them(ok: dict[str, Path]) -> Iterator[tuple[str, str, bytes]]:
    """Name, declared format and bytes of each. ``ok``: the harmless images that they are made from."""
    qcow2 = ok["qcow2"].read_bytes()
    for name, text in _NAMES.items():
        yield f"qcow2/backing-{name}", "qcow2", with_backing(qcow2, text.encode())
        yield f"qcow2/data-file-{name}", "qcow2", with_data_file(qcow2, text.encode())
    hostname = b"/etc/hostname"
    yield "qcow2/backing-with-format", "qcow2", with_backing(qcow2, hostname, extensions=((_BACKING_FORMAT, b"raw"),))
    yield "qcow2/backing-of-version-2", "qcow2", with_backing(qcow2, hostname, version=2)
    yield "qcow2/backing-without-length", "qcow2", patched(qcow2, 8, struct.pack(">QI", 512, 0))
    yield "qcow2/backing-far-away", "qcow2", patched(qcow2, 8, struct.pack(">QI", 1 << 62, 20))
    yield "qcow2/data-file-without-name", "qcow2", with_bits(qcow2, _DATA_FILE_BIT)
    yield "qcow2/data-file-raw", "qcow2", with_data_file(qcow2, hostname, autoclear=_RAW_DATA_FILE_BIT)
    yield "qcow2/version-3-that-ends-early", "qcow2", patched(qcow2, 100, struct.pack(">I", 72))
    for bit in (5, 6, 31, 63):
        yield f"qcow2/unknown-bit-{bit}", "qcow2", with_bits(qcow2, 1 << bit)
    vhdx = ok["vhdx"].read_bytes()
    yield "vhdx/open-log", "vhdx", with_vhdx_headers(vhdx, 48, b"\1" * 16)
    yield "vhdx/other-log-version", "vhdx", with_vhdx_headers(vhdx, 64, b"\1\0")
    yield "vhdx/other-version", "vhdx", with_vhdx_headers(vhdx, 66, b"\2\0")
    vhd = ok["vhd"].read_bytes()
    for kind in (0, 1, 2, 4, 5, 6):
        yield f"vhd/kind-{kind}", "vhd", patched(vhd, 60, struct.pack(">I", kind))
        yield f"vhd/trailer-of-kind-{kind}", "vhd", patched(vhd, len(vhd) - 512 + 60, struct.pack(">I", kind))
    yield "vhd/parent-name", "vhd", patched(vhd, 512 + 64, "hostname".encode("utf-16-be"))
    yield "vhd/header-far-away", "vhd", patched(vhd, 16, struct.pack(">Q", 1 << 40))
    vdi = ok["vdi"].read_bytes()
    for kind in (0, 3, 4, 5, 1 << 31):
        yield f"vdi/kind-{kind}", "vdi", patched(vdi, 0x4C, struct.pack("<I", kind))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def with_bits(qcow2: bytes, incompatible: int, autoclear: int = 0) -> bytes:
    return patched(patched(qcow2, 72, struct.pack(">Q", incompatible)), 88, struct.pack(">Q", autoclear))


def with_extensions(qcow2: bytes, extensions: tuple[tuple[int, bytes], ...]) -> bytes:
    """Behind the header of version 3, where QEMU has put its own."""
    (at,) = struct.unpack_from(">I", qcow2, 100)
    made = b"".join(
        struct.pack(">II", kind, len(text)) + text.ljust(-(-len(text) // 8) * 8, b"\0") for kind, text in extensions
    )
    return patched(qcow2, at, made + struct.pack(">II", _END, 0))


def with_backing(
    qcow2: bytes, name: bytes, *, version: int = 3, extensions: tuple[tuple[int, bytes], ...] = ()
) -> bytes:
    at = 4096 - len(name) if len(name) > 1000 else 1024
    data = patched(with_extensions(qcow2, extensions), at, name)
    data = patched(data, 8, struct.pack(">QI", at, len(name)))
    return patched(data, 4, struct.pack(">I", version))


def with_data_file(qcow2: bytes, name: bytes, *, autoclear: int = 0) -> bytes:
    return with_bits(with_extensions(qcow2, ((_DATA_FILE, name),)), _DATA_FILE_BIT, autoclear)


def with_vhdx_headers(vhdx: bytes, at: int, new: bytes, where: tuple[int, ...] = (64 << 10, 128 << 10)) -> bytes:
    """With sound sums, so that readers believe it."""
    for start in where:
        header = patched(vhdx[start : start + 4096], at, new)
        header = patched(header, 4, bytes(4))
        vhdx = patched(vhdx, start, patched(header, 4, struct.pack("<I", crc32c(header))))
    return vhdx
