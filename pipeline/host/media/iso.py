"""Write and read ISO 9660 media in memory: seeds for a first boot, answer files for installers."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pycdlib

from pipeline.base import atomic
from pipeline.base.errors import PipelineError

# ECMA-119 gives the volume identifier 32 characters; Joliet (UCS-2 in the same field) 16.
_LABEL_LIMIT, _JOLIET_LABEL_LIMIT = 32, 16
# Platforms of the El Torito specification and of UEFI's, section 13.3.2.
_PLATFORMS = {0x00: "bios", 0xEF: "uefi"}


def write(target: Path, label: str, files: Mapping[str, bytes | Path]) -> None:
    """Write an ISO image with ``files`` (path → bytes, or the file to take them from).

    Long names are kept as Rock Ridge for Linux, and as Joliet for Windows when the label is short enough for it.
    """
    if not 0 < len(label) <= _LABEL_LIMIT:
        raise PipelineError(f"an ISO's label has 1 to {_LABEL_LIMIT} characters, {label!r} has {len(label)}")
    joliet = len(label) <= _JOLIET_LABEL_LIMIT
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3 if joliet else None, rock_ridge="1.09", vol_ident=label)
    try:
        names = _Names(iso, joliet)
        for path, content in sorted(files.items()):
            names.add_file(PurePosixPath(path), content)
        with atomic.new_file(target) as temporary, temporary.open("wb") as out:
            iso.write_fp(out)
    finally:
        iso.close()


def nocloud_seed(
    target: Path, *, metadata: Mapping[str, Any], user_data: bytes, vendor_data: bytes | None = None
) -> None:
    """Write a NoCloud seed. Its meta-data is JSON, which cloud-init reads as YAML and cirros reads at all."""
    files = {"meta-data": json.dumps(dict(metadata), indent=1).encode(), "user-data": user_data}
    if vendor_data is not None:
        files["vendor-data"] = vendor_data
    write(target, "cidata", files)


def config_drive(target: Path, *, metadata: Mapping[str, Any], user_data: bytes) -> None:
    """Write an OpenStack config drive (label ``config-2``, ``openstack/latest``)."""
    files = {
        "openstack/latest/meta_data.json": json.dumps(dict(metadata), indent=1).encode(),
        "openstack/latest/user_data": user_data,
    }
    write(target, "config-2", files)


class _Names:
    """Gives every entry a plain ISO name next to its real one, unique without reading the real ones' rules."""

    def __init__(self, iso: Any, joliet: bool) -> None:
        self._iso = iso
        self._joliet = joliet
        self._folders: dict[PurePosixPath, str] = {PurePosixPath("."): ""}
        self._count = 0

    def add_file(self, path: PurePosixPath, content: bytes | Path) -> None:
        folder = self._folder(path.parent)
        names = {"iso_path": f"{folder}/{self._next('F')}.;1", **self._long_names(path)}
        if isinstance(content, Path):
            self._iso.add_file(str(content), **names)
        else:
            self._iso.add_fp(io.BytesIO(content), len(content), **names)

    def _folder(self, path: PurePosixPath) -> str:
        if path not in self._folders:
            parent = self._folder(path.parent)
            self._folders[path] = f"{parent}/{self._next('D')}"
            self._iso.add_directory(self._folders[path], **self._long_names(path))
        return self._folders[path]

    def _long_names(self, path: PurePosixPath) -> dict[str, str]:
        return {"rr_name": path.name, **({"joliet_path": f"/{path}"} if self._joliet else {})}

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count:07d}"


class Medium:
    """An ISO image opened for reading; paths are relative, by their Rock Ridge, Joliet or plain names."""

    def __init__(self, iso: Any) -> None:
        self._iso = iso
        # Microsoft's media have their files in UDF only; what ISO 9660 shows there is a note that says so.
        kinds = (("udf_path", iso.has_udf), ("rr_path", iso.has_rock_ridge), ("joliet_path", iso.has_joliet))
        self._kind = next((kind for kind, there in kinds if there()), "iso_path")

    @property
    def label(self) -> str:
        """The volume identifier, by which a guest finds the medium."""
        identifier: bytes = self._iso.pvd.volume_identifier
        return identifier.decode(errors="replace").rstrip()

    @property
    def firmware(self) -> frozenset[str]:
        """Which firmware finds something to start, by the El Torito boot catalog: ``bios``, ``uefi``."""
        catalog = self._iso.eltorito_boot_catalog
        if catalog is None:
            return frozenset()
        platforms = {catalog.validation_entry.platform_id, *(each.platform_id for each in catalog.sections)}
        return frozenset(name for number, name in _PLATFORMS.items() if number in platforms)

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, or ``None`` when there is no such file."""
        content = io.BytesIO()
        return content.getvalue() if self._copy(path, content) else None

    def extract(self, path: str, target: Path) -> bool:
        """Write a file to ``target``; whether there is such a file."""
        with target.open("wb") as out:
            return self._copy(path, out)

    def names(self, folder: str) -> list[str] | None:
        """Return the names in a folder, or ``None`` when there is no such folder."""
        try:
            children = list(self._iso.list_children(**{self._kind: f"/{folder.strip('/')}"}))
        except pycdlib.pycdlibexception.PyCdlibInvalidInput:
            return None
        return sorted(
            name for each in children if each is not None and (name := self._name(each)) not in (".", "..", "")
        )

    def find(self, path: str) -> str | None:
        """Return how the medium itself spells ``path``, without regard to case, as Windows reads it; ``None`` without
        it.
        """
        found = ""
        for part in PurePosixPath(path).parts:
            names = self.names(found) or []
            match = next((name for name in names if name.lower() == part.lower()), None)
            if match is None:
                return None
            found = f"{found}/{match}".lstrip("/")
        return found

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open a file of any size, for reading and seeking. Raises ``PipelineError`` when there is none."""
        try:
            opened = self._iso.open_file_from_iso(**{self._kind: f"/{path}"})
        except pycdlib.pycdlibexception.PyCdlibInvalidInput:
            raise PipelineError(f"{path} is not on the medium") from None
        with opened as file:
            yield file

    def _name(self, child: Any) -> str:
        if self._kind == "rr_path":
            return str(child.rock_ridge.name().decode(errors="replace")) if child.rock_ridge else ""
        name: bytes = child.file_identifier()
        text = name.decode("utf-16_be" if self._kind == "joliet_path" else "utf-8", errors="replace")
        return text.partition(";")[0] if self._kind != "udf_path" else text.strip("/\0")

    def _copy(self, path: str, out: IO[bytes]) -> bool:
        name = f"/{path.upper()};1" if self._kind == "iso_path" else f"/{path}"
        try:
            self._iso.get_file_from_iso_fp(out, **{self._kind: name})
        except pycdlib.pycdlibexception.PyCdlibInvalidInput:
            return False
        return True


@contextlib.contextmanager
def opened(source: Path) -> Iterator[Medium]:
    """Open the ISO image ``source``. Raises ``PipelineError`` when it is none."""
    iso = pycdlib.PyCdlib()
    try:
        iso.open(str(source))
    except (pycdlib.pycdlibexception.PyCdlibException, OSError) as error:
        raise PipelineError(f"{source.name}: not an ISO image that can be read: {error}") from None
    try:
        yield Medium(iso)
    finally:
        iso.close()


def read(source: Path, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the files of ``paths`` that an ISO image holds. Raises ``PipelineError`` when ``source`` is no ISO
    image.
    """
    with opened(source) as medium:
        found = {path: medium.read(path) for path in paths}
    return {path: content for path, content in found.items() if content is not None}
