"""VMDK files that make some reader open another file, or that two readers read in two ways. Each trick stands alone."""

from __future__ import annotations

from collections.abc import Iterator

from tests.unit.image import vmdk_files as made
from tests.unit.image.vmdk_files import Fields, sparse, stream, stream_fields

_PARENT = 'parentFileNameHint="/etc/hostname"'
_UUID = "11111111-2222-3333-4444-555555555555"

# Lines that are added to a good descriptor.
_LINES = {
    "parent-hint": _PARENT,
    "parent-hint-in-comment": f"# {_PARENT}",
    "parent-hint-in-word": f"x{_PARENT}",
    "parent-hint-in-database": f"ddb.{_PARENT}",
    "parent-hint-in-value": 'ddb.comment = "parentFileNameHint"',
    "parent-hint-lower": 'parentfilenamehint="/etc/hostname"',
    "parent-hint-upper": 'PARENTFILENAMEHINT="/etc/hostname"',
    "parent-hint-spaced": 'parentFileNameHint = "/etc/hostname"',
    "parent-hint-tab": '\tparentFileNameHint="/etc/hostname"',
    "parent-hint-return": f"# a\r{_PARENT}",
    "second-parent-cid": "parentCID=12345678",
    "second-type": 'createType="monolithicFlat"',
    "second-type-other-case": 'CREATETYPE="monolithicFlat"',
    "type-in-comment": '# createType="monolithicFlat"',
    "second-version": "version=1",
    "change-tracking": 'changeTrackPath="/etc/hostname"',
    "native-snapshot": 'isNativeSnapshot="yes"',
    "unknown-key": 'snapshotOf="x"',
    "flat-extent": 'RW 8 FLAT "/etc/hostname" 0',
    "flat-extent-lower": 'rw 8 flat "/etc/hostname" 0',
    "flat-extent-indented": ' RW 8 FLAT "/etc/hostname" 0',
    "flat-extent-tab": 'RW\t8\tFLAT\t"/etc/hostname"\t0',
    "second-sparse-extent": 'RW 8 SPARSE "other.vmdk"',
    "zero-extent": "RW 8 ZERO",
    "vmfs-extent": 'RW 8 VMFSSPARSE "other.vmdk"',
    "no-access-extent": 'NOACCESS 8 SPARSE "other.vmdk"',
    "parent-uuid": f'ddb.uuid.parent="{_UUID}"',
    "parent-uuid-other-case": f'DDB.uuid.parent="{_UUID}"',
    "parent-uuid-mixed-case": f'ddb.uuid.Parent = "{_UUID}"',
    "parent-modification-uuid": f'ddb.uuid.parentmodification="{_UUID}"',
    "database-value-open": 'ddb.comment = "open',
    "database-value-bare": "ddb.comment = bare",
    "database-name-odd": 'ddb.com/ment = "x"',
    "control-character": "# \x1b[31m",
    "words": "anything else",
}
# Changes of a good descriptor's own words.
_CHANGES = {
    "extent-with-path": ("My disk 1.vmdk", "/etc/hostname"),
    "extent-with-backslash": ("My disk 1.vmdk", "C:\\\\disk.vmdk"),
    "extent-flat": ("SPARSE", "FLAT"),
    "extent-smaller": (str(made.CAPACITY), str(made.CAPACITY - 1)),
    "extent-larger": (str(made.CAPACITY), str(made.CAPACITY * 2)),
    "extent-with-offset": ('1.vmdk"', '1.vmdk" 0'),
    "no-extent": ("RW ", "# RW "),
    "type-flat": ('createType="', 'createType="monolithicFlat" "'),
    "type-other-case": ('createType="m', 'createType="M'),
    "type-two-gigabytes": ("monolithicSparse", "twoGbMaxExtentSparse"),
    "type-device": ("monolithicSparse", "fullDevice"),
    "type-stream-in-sparse": ("monolithicSparse", "streamOptimized"),
    "type-missing": ("createType=", "#createType "),
    "version-4": ("version=1", "version=4"),
    "parent-cid": ("parentCID=ffffffff", "parentCID=12345678"),
    "no-parent-cid": ("parentCID=ffffffff\n", ""),
    "no-cid": ("CID=123a7d14\nparent", "parent"),
    "key-other-case": ("CID=123a7d14", "cid=123a7d14"),
    "key-spaced": ("CID=123a7d14", "CID = 123a7d14"),
}
_HEADERS = {
    "no-capacity": {"capacity": 0},
    "descriptor-elsewhere": {"descriptor_offset": 2},
    "no-descriptor": {"descriptor_offset": 0, "descriptor_size": 0},
    "descriptor-without-end": {"descriptor_size": 1},
    "descriptor-beyond": {"descriptor_size": 1 << 40},
    "version-0": {"version": 0},
    "version-4": {"version": 4},
    "unknown-flag": {"flags": 3 | 1 << 5},
    "compressed-without-markers": {"flags": 3 | 1 << 16, "compression": 1},
    "unknown-compression": {"compression": 7},
    "grain-odd": {"grain": 100},
    "grain-huge": {"grain": 1 << 40},
    "tables-odd": {"entries": 4},
    "directory-at-end": {"directory": made.AT_END},
}
_FOOTERS = {
    "capacity": {"capacity": made.CAPACITY * 2},
    "descriptor": {"descriptor_offset": 3},
    "grain": {"grain": 64},
    "flags": {"flags": 0x30003},
    "compression": {"compression": 0},
    "version": {"version": 1},
}


def all_of_them() -> Iterator[tuple[str, bytes]]:
    """Each hostile file with the name of its trick."""
    for kind, build in (("monolithicSparse", sparse), ("streamOptimized", stream)):
        good = made.described(made.VMWARE, kind).decode()
        for name, line in _LINES.items():
            yield f"{kind}/{name}", build(f"{good}{line}\n".encode())
            yield f"{kind}/first-{name}", build(f"{line}\n{good}".encode())
        for name, (before, after) in _CHANGES.items():
            if before in good:
                yield f"{kind}/{name}", build(good.replace(before, after).encode())
        hidden = f'\0{_PARENT}\nRW 8 FLAT "/etc/hostname" 0\n'
        yield f"{kind}/behind-nul", build(f"{good}{hidden}".encode())
        yield f"{kind}/not-utf-8", build(good.encode() + b"# \x81\x8d\n")
        yield f"{kind}/nothing-but-nul", build(b"\0" * 100)
    for name, changed in _HEADERS.items():
        yield f"header/{name}", sparse(fields=Fields(**changed))  # type: ignore[arg-type]
    yield "header/line-ends", sparse(fields=Fields(line_ends=b"\n \n\n"))
    for name, changed in _FOOTERS.items():
        yield f"footer/{name}", stream(footer=stream_fields(**changed))
    whole = stream()
    yield "footer/cut", whole[:-512]
    yield "footer/appended", whole + bytes(512)
    yield "footer/points-to-footer", whole[:-1024] + stream_fields().pack() + whole[-512:]
    yield from _texts()


def _texts() -> Iterator[tuple[str, bytes]]:
    flat = 'createType="monolithicFlat"\nRW 8 FLAT "/etc/hostname" 0\n'
    plain = f"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n{flat}"
    pads = {
        "plain": "",
        "comments": "# nothing to see here\n" * 2000,
        "blanks": " \n" * 5000,
        "lines": "\n" * 100_000,
        "returns": "\r\n" * 3000,
        "latin-1": "# caf\xe9\n" * 200,
        "byte-order-mark": "\xef\xbb\xbf",
        "form-feed": "\f\v\n",
        "tabs": "\t\t\n" * 1000,
    }
    for name, pad in pads.items():
        yield f"text/{name}", (pad + plain).encode("latin-1")
        yield f"text/{name}-and-zeros", (pad + plain).encode("latin-1").ljust(1 << 20, b"\0") + bytes(1 << 20)
    yield "text/leading-zeros", bytes(512) + plain.encode()
    yield "text/without-comment", f"version=1\n{flat}".encode()
    yield "text/type-only", flat.encode()
    yield "text/type-other-case", plain.replace("createType", "CREATETYPE").encode()
    yield "text/sparse-extent", plain.replace("FLAT", "SPARSE").replace("monolithicFlat", "monolithicSparse").encode()
    yield "text/binary-behind", plain.encode() + b"\0" + bytes(range(256)) * 100
    yield "text/returns-only", plain.replace("\n", "\r").encode()
    yield "text/esx-2", b"COWD\1\0\0\0\3\0\0\0".ljust(4096, b"\0")
