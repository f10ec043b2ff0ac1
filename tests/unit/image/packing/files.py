"""Packed files, made by the standard library and by zstandard."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import zstandard

from pipeline.image.packing.kinds import Packing


def tarred(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def packed(packing: Packing, data: bytes, name: str = "disk.img") -> bytes:
    match packing:
        case Packing.GZIP:
            return gzip.compress(data)
        case Packing.XZ:
            return lzma.compress(data)
        case Packing.BZIP2:
            return bz2.compress(data)
        case Packing.ZSTD:
            return zstandard.ZstdCompressor().compress(data)
        case Packing.ZIP:
            return zipped(**{name: data})
        case Packing.TAR:
            return tarred(**{name: data})
        case Packing.OVA:
            return tarred(**{"machine.ovf": b"<Envelope/>", "machine.mf": b"SHA256", name.replace("img", "vmdk"): data})


def packed_file(path: Path, packing: Packing, data: bytes) -> Path:
    path.write_bytes(packed(packing, data))
    return path
