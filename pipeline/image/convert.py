"""``qemu-img``, never trusted with more than it needs: explicit formats, a sandbox, and a second look at what it made.

An image is inspected before ``qemu-img`` sees it (``formats``), since with a name it likes it opens backing files, data
files and network disks. It is never asked to guess a format.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.host import process, sandbox
from pipeline.image import formats

# Ours (OpenStack's) names and QEMU's.
_QEMU_NAMES = {"vhd": "vpc", "iso": "raw", "gpt": "raw", "ami": "raw"}
_WRITABLE = frozenset({"raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"})
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_INSIDE = "/in"
_INFO_BOUNDS = sandbox.Bounds(memory=1 << 30, seconds=10)


class Compression(StrEnum):
    """How the clusters of a QCOW2 are compressed."""

    NONE = "none"
    ZLIB = "zlib"  # every QEMU reads it
    ZSTD = "zstd"  # five times as fast to write; needs QEMU 5.1 to read


@dataclass(frozen=True)
class Options:
    """How to convert. ``threads`` is the number of parallel requests (1–16); ``timeout`` is in seconds.

    ``ordered`` writes block after block, so that equal disks give equal files.
    """

    format: str
    compression: Compression = Compression.NONE
    threads: int = 8
    cluster_size: int | None = None
    ordered: bool = False
    timeout: float = 4 * 3600

    def words(self) -> list[str]:
        """As options of ``qemu-img convert``. Raises ``PipelineError`` when they don't fit together."""
        if self.format not in _WRITABLE:
            raise PipelineError(
                f"images cannot be written as {self.format!r}", hint=f"use one of {', '.join(sorted(_WRITABLE))}"
            )
        if self.compression is not Compression.NONE and self.format != "qcow2":
            raise PipelineError(f"only qcow2 can be compressed, not {self.format}")
        return [
            "-O",
            qemu_name(self.format),
            "-m",
            str(self.threads),
            *([] if self.ordered else ["-W"]),
            *self._format_options(),
        ]

    def _format_options(self) -> list[str]:
        fixed = {
            # Without force_size QEMU rounds a VHD's size to a cylinder.
            "vhd": ["-o", "subformat=dynamic,force_size=on"],
            # The only kind of VMDK besides monolithicSparse that image services accept; it is always compressed.
            "vmdk": ["-o", "subformat=streamOptimized"],
        }
        if self.format != "qcow2":
            return fixed.get(self.format, [])
        settings = ["compat=1.1", "lazy_refcounts=off"]
        if self.cluster_size:
            settings.append(f"cluster_size={self.cluster_size}")
        if self.compression is Compression.NONE:
            return ["-o", ",".join(settings)]
        return ["-c", "-o", ",".join([*settings, f"compression_type={self.compression}"])]


def qemu_name(disk_format: str) -> str:
    """QEMU's name for a disk format named in OpenStack's way."""
    return _QEMU_NAMES.get(disk_format, disk_format)


def info(path: Path, disk_format: str) -> dict[str, Any]:
    """What ``qemu-img info`` says of an image in a known format; its words are checked, not believed.

    Raises ``PipelineError`` when QEMU cannot open it in that format, or says that it needs other files.
    """
    finished = sandbox.run(
        ["qemu-img", "info", "-f", qemu_name(disk_format), "--output=json", _INSIDE],
        readable={_INSIDE: path},
        bounds=_INFO_BOUNDS,
    )
    try:
        facts = json.loads(finished.stdout)
        if not isinstance(facts, dict) or facts.get("format") != qemu_name(disk_format):
            raise ValueError("another format than asked for")
    except ValueError as error:
        raise PipelineError(f"{path.name}: qemu-img info answered nonsense: {error}") from None
    specific = facts.get("format-specific", {}).get("data", {})
    if facts.get("backing-filename") or specific.get("data-file"):
        raise PipelineError(f"{path.name}: the image needs other files", hint="flatten it with qemu-img convert")
    return facts


def check(path: Path, disk_format: str) -> None:
    """Have QEMU verify the image's tables. Raises ``PipelineError`` when they are inconsistent.

    Formats without a checker (raw, VHD) pass.
    """
    finished = sandbox.run(
        ["qemu-img", "check", "-f", qemu_name(disk_format), "--output=json", _INSIDE],
        readable={_INSIDE: path},
        bounds=sandbox.Bounds(memory=4 << 30, seconds=600),
        timeout=900,
        check=False,
    )
    # qemu-img(1): 0 fine, 1 check not done, 2 corrupt, 3 leaked clusters, 63 no checker for the format
    if finished.status not in (0, 63):
        said = finished.stderr.strip().splitlines()[-1:] or [f"status {finished.status}"]
        raise PipelineError(
            f"{path.name}: the {disk_format} image is damaged: {said[0]}", hint="build or fetch it again"
        )


def convert(
    source: Path,
    source_format: str,
    target: Path,
    options: Options,
    *,
    own_layers: Path | None = None,
    part: tuple[int, int] | None = None,
    limits: formats.Limits | None = None,
    progress: Progress = nothing,
    mode: int = 0o644,
) -> formats.Verdict:
    """Write ``source`` as ``target`` in another format; return the verdict on what was written.

    ``target`` appears whole or not at all. ``own_layers`` is for the build line's overlays only: the folder under which
    the source and all its backing files lie; images from outside may not have any. ``part`` takes only that much of the
    disk: offset and size in bytes. Raises ``FormatRefused``
    before QEMU runs when the source must not be converted, ``PipelineError`` when the conversion fails.
    """
    words = options.words()
    if own_layers is None:
        claimed = formats.inspect(source, source_format, limits=limits).virtual_size or source.stat().st_size
        inside, readable = _INSIDE, {_INSIDE: source}
    else:
        claimed = _virtual_size_of_layer(source, source_format)
        inside, readable = str(source.resolve()), {str(own_layers.resolve()): own_layers}
    opened = ["-f", qemu_name(source_format), *words, inside]
    if part is not None:
        claimed = part[1]
        opened = ["--image-opts", *words, _window(inside, source_format, *part)]
    command = ["qemu-img", "convert", "-p", *opened, f"{sandbox.INSIDE_OUT}/image"]
    bounds = sandbox.Bounds(
        memory=4 << 30, seconds=int(options.timeout) * 16, files=256, written=claimed + claimed // 8 + (64 << 20)
    )
    with _workplace(target) as folder:
        _watch(sandbox.command(command, readable=readable, out=folder, bounds=bounds), options.timeout, progress)
        made = folder / "image"
        verdict = formats.inspect(made, options.format, limits=limits)
        if verdict.virtual_size is not None and verdict.virtual_size < claimed:
            raise PipelineError(
                f"{target.name}: the conversion lost {claimed - verdict.virtual_size} bytes of the disk"
            )
        with atomic.new_file(target, mode=mode) as temporary:
            made.replace(temporary)
    return verdict


def _window(inside: str, source_format: str, offset: int, size: int) -> str:
    """A part of a disk, as a block driver's options; a comma in them is doubled (qemu(1), "-drive")."""
    name = inside.replace(",", ",,")
    driver = qemu_name(source_format)
    return (
        f"driver=raw,offset={offset},size={size},file.driver={driver},file.file.driver=file,file.file.filename={name}"
    )


def _virtual_size_of_layer(source: Path, source_format: str) -> int:
    # An overlay names its backing file, so the inspector refuses it; -U and no chain: only the top header is read.
    finished = process.run(["qemu-img", "info", "-U", "-f", qemu_name(source_format), "--output=json", source])
    return int(json.loads(finished.stdout)["virtual-size"])


@contextlib.contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A private folder beside ``target``, gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = atomic.temporary_name(target)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(command: list[str], timeout: float, progress: Progress) -> None:
    """Run a ``qemu-img -p`` command, telling its percentage."""
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryFile() as said, process.started(command, log=said) as child:
        while (status := _wait(child)) is None:
            if time.monotonic() > deadline:
                raise process.ProcessFailed(command, f"did not end within {timeout:.0f} s", _text(said))
            found = _PERCENT.findall(_last(said))
            if found:
                progress.advance(int(float(found[-1])), 100, "%")
        if status != 0:
            raise process.ProcessFailed(command, f"failed with status {status}", _text(said), status=status)
    progress.advance(100, 100, "%")


def _wait(child: subprocess.Popen[bytes]) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return child.wait(0.2)
    return None


def _last(file: IO[bytes], count: int = 256) -> bytes:
    # The child shares the file's offset: read without moving it.
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), count, max(0, size - count))


def _text(file: IO[bytes]) -> str:
    said = _last(file, 16 << 10).decode(errors="replace")
    return "\n".join(line for line in said.replace("\r", "\n").splitlines() if "/100%)" not in line)
