"""Hives of the Windows registry, made with hivex."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import hivex

_NONE, _PAGE, _ROOT = 0xFFFFFFFF, 0x1000, 0x20
_TEXT = 1  # REG_SZ


def make(path: Path, keys: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a hive with these keys (their parts joined by a backslash) and values, all of them texts."""
    path.write_bytes(_empty())
    hive = hivex.Hivex(str(path), write=True)
    for key, values in keys.items():
        node = hive.root()
        for part in key.split("\\"):
            node = hive.node_get_child(node, part) or hive.node_add_child(node, part)
        for name, text in values.items():
            hive.node_set_value(node, {"key": name, "t": _TEXT, "value": f"{text}\0".encode("utf-16-le")})
    hive.commit(None)
    return path


def _empty() -> bytes:
    """A hive with nothing but its root and the root's security descriptor; hivex makes none from nothing."""
    security = _ROOT + len(_cell(_root(0)))
    descriptor = struct.pack("<2sHIIII", b"sk", 0, security, security, 1, 0)
    cells = _cell(_root(security)) + _cell(descriptor)
    free = struct.pack("<i", _PAGE - _ROOT - len(cells))
    page = struct.pack("<4sII20s", b"hbin", 0, _PAGE, b"") + cells + free
    head = struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 3, 0, 1, _ROOT, _PAGE, 1).ljust(0x1FC, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", head):
        checksum ^= word
    return (head + struct.pack("<I", checksum)).ljust(_PAGE, b"\0") + page.ljust(_PAGE, b"\0")


def _root(security: int) -> bytes:
    name = b"ROOT"
    kind, lists = 0x2C, (0, 0, _NONE, _NONE, 0, _NONE)
    fields = (b"nk", kind, 0, 0, _ROOT, *lists, security, _NONE, 0, 0, 0, 0, 0, 0, len(name), 0)
    return struct.pack("<2sHQIIIIIIIIIIHHIIIIHH", *fields) + name


def _cell(body: bytes) -> bytes:
    padded = body + bytes(-(len(body) + 4) % 8)
    return struct.pack("<i", -(len(padded) + 4)) + padded
