"""Run ``qemu-img``, never trusted with more than it needs: explicit formats, a sandbox, and a second look at what it
made.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.host.system import process, sandbox
from pipeline.image import formats
from pipeline.image.integrity.check import require_whole

# Ours (OpenStack's) names and QEMU's.
_QEMU_NAMES = {"vhd": "vpc", "iso": "raw", "gpt": "raw", "ami": "raw"}
_WRITABLE = frozenset({"raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"})
_WITH_BACKING = frozenset({"qcow2", "vmdk"})
# qemu-img(1), "check": fine; clusters that nothing refers to; no checker for the format
_SOUND, _LEAKS, _NO_CHECKER = 0, 3, 63
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_INSIDE = "/in"
_INFO_BOUNDS = sandbox.SandboxLimits(memory=1 << 30, seconds=10)


class Qcow2Compression(StrEnum):
    """How the clusters of a QCOW2 are compressed."""

    NONE = "none"
    ZLIB = "zlib"  # every QEMU reads it
    ZSTD = "zstd"  # five times as fast to write; needs QEMU 5.1 to read


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert. ``threads`` is the number of parallel requests (1–16); ``timeout`` is in seconds.

    ``ordered`` writes block after block, so that equal disks give equal files.
    """

    format: str
    compression: Qcow2Compression = Qcow2Compression.NONE
    threads: int = 8
    cluster_size: int | None = None
    ordered: bool = False
    timeout: float = 4 * 3600

    def words(self) -> list[str]:
        """Return them as options of ``qemu-img convert``. Raises ``PipelineError`` when they don't fit together."""
        if self.format not in _WRITABLE:
            raise PipelineError(
                f"images cannot be written as {self.format!r}", hint=f"use one of {', '.join(sorted(_WRITABLE))}"
            )
        if self.compression is not Qcow2Compression.NONE and self.format != "qcow2":
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
        if self.compression is Qcow2Compression.NONE:
            return ["-o", ",".join(settings)]
        return ["-c", "-o", ",".join([*settings, f"compression_type={self.compression}"])]


def qemu_name(disk_format: str) -> str:
    """Return QEMU's name for a disk format named in OpenStack's way."""
    return _QEMU_NAMES.get(disk_format, disk_format)


def info(path: Path, disk_format: str) -> dict[str, Any]:
    """Return what ``qemu-img info`` says of an image in a known format; its words are checked, not believed.

    Raises ``PipelineError`` when QEMU cannot open it in that format, or says that it needs other files.
    """
    with _opened(path) as descriptor:
        finished = sandbox.run(
            ["qemu-img", "info", "--output=json", graph(disk_format, _INSIDE)],
            readable={_INSIDE: descriptor},
            bounds=_INFO_BOUNDS,
        )
    try:
        facts = json_text.loads(finished.stdout)
        if not isinstance(facts, dict) or facts.get("format") != qemu_name(disk_format):
            raise ValueError("another format than asked for")
    except ValueError as error:
        raise PipelineError(f"{path.name}: qemu-img info answered nonsense: {error}") from None
    specific = facts.get("format-specific", {}).get("data", {})
    if facts.get("backing-filename") or specific.get("data-file"):
        raise PipelineError(f"{path.name}: the image needs other files", hint="flatten it with qemu-img convert")
    return facts


def check(path: Path, detected: str, *, name: str | None = None) -> str | None:
    """Verify that an inspected image, ``detected`` as such, is whole, by our own reading and by QEMU's.

    Returns what is to be told of one that is taken, if anything. Raises ``FormatRefused`` when the image is cut off or
    damaged. QEMU has no checker for raw disks and VHD.
    """
    require_whole(path, detected)
    if qemu_name(detected) in ("raw", "vpc", "luks"):
        return None
    with _opened(path) as descriptor:
        finished = sandbox.run(
            ["qemu-img", "check", "--output=json", graph(detected, _INSIDE)],
            readable={_INSIDE: descriptor},
            bounds=sandbox.SandboxLimits(memory=4 << 30, seconds=600),
            timeout=900,
            check=False,
        )
    if finished.status in (_SOUND, _NO_CHECKER):
        return None
    if finished.status == _LEAKS:
        return f"{name or path.name} holds clusters that belong to nothing, which is harmless: qemu-img check -r leaks"
    errors = finished.stderr.strip().splitlines()[-1:] or [f"qemu-img check ended with status {finished.status}"]
    raise formats.FormatRefused(
        formats.RefusalReason.DAMAGED,
        f"the {detected} image is damaged: {errors[0]}",
        detected=detected,
        hint="fetch it again",
    )


def graph(disk_format: str, path: str, *, part: tuple[int, int] | None = None, chain: bool = False) -> str:
    """Return the image at ``path`` as a graph of block drivers, so that QEMU guesses no format and opens no other file.

    ``part``: only that much of the disk, offset and size in bytes. With ``chain`` it may have the layers it names.
    """
    driver = qemu_name(disk_format)
    top: dict[str, Any] = {"driver": driver, "file": {"driver": "file", "filename": path}}
    if driver in _WITH_BACKING and not chain:
        top["backing"] = None
    if part is not None:
        top = {"driver": "raw", "offset": part[0], "size": part[1], "file": top}
    return f"json:{json.dumps(top)}"


def convert(
    source: Path,
    source_format: str,
    target: Path,
    options: ConvertOptions,
    *,
    own_layers: Path | None = None,
    part: tuple[int, int] | None = None,
    limits: formats.FormatLimits | None = None,
    progress: Progress = nothing,
    mode: int = 0o644,
) -> formats.FormatVerdict:
    """Write ``source`` as ``target`` in another format; return the verdict on what was written.

    ``target`` appears whole or not at all. ``own_layers`` is for the build line's overlays only: the folder under which
    the source and all its backing files lie; images from outside may not have any. ``part`` takes only that much of the
    disk: offset and size in bytes. Raises ``FormatRefused``
    before QEMU runs when the source must not be converted, ``PipelineError`` when the conversion fails.
    """
    words = options.words()
    with _opened(source) as descriptor, _workplace(target) as folder:
        readable: dict[str, Path | int]
        if own_layers is None:
            claimed = judged(source.name, descriptor, source_format, limits, progress)
            inside, readable = _INSIDE, {_INSIDE: descriptor}
        else:
            claimed = _virtual_size_of_layer(source, source_format)
            inside, readable = str(source.resolve()), {str(own_layers.resolve()): own_layers}
        claimed = part[1] if part is not None else claimed
        opened = graph(source_format, inside, part=part, chain=own_layers is not None)
        command = ["qemu-img", "convert", "-p", *words, opened, f"{sandbox.INSIDE_OUT}/image"]
        bounds = sandbox.SandboxLimits(
            memory=4 << 30, seconds=int(options.timeout) * 16, files=256, written=claimed + claimed // 8 + (64 << 20)
        )
        with sandbox.confined(command, readable=readable, out=folder, bounds=bounds) as (confined, descriptors):
            _watch(confined, options.timeout, progress, pass_fds=descriptors)
        made = folder / "image"
        verdict = formats.inspect(made, options.format, limits=limits)
        if verdict.virtual_size is not None and verdict.virtual_size < claimed:
            raise PipelineError(
                f"{target.name}: the conversion lost {claimed - verdict.virtual_size} bytes of the disk"
            )
        with atomic.new_file(target, mode=mode) as temporary:
            made.replace(temporary)
    return verdict


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Provide a descriptor of the file: QEMU gets what was judged, even if another file takes its name meanwhile."""
    with path.open("rb", buffering=0) as file:
        yield file.fileno()


def judged(
    name: str, descriptor: int, disk_format: str, limits: formats.FormatLimits | None, progress: Progress = nothing
) -> int:
    """Return the size of the disk in an image from outside, judged once more now that QEMU is about to open it.

    ``descriptor``: of the file, which QEMU is to be given. Raises ``FormatRefused``.
    """
    path = Path(f"/proc/self/fd/{descriptor}")
    verdict = formats.inspect(path, disk_format, limits=limits)
    remark = check(path, verdict.format if disk_format != "raw" or verdict.is_raw else "raw", name=name)
    if remark:
        progress.say(remark)
    return verdict.virtual_size or path.stat().st_size


def _virtual_size_of_layer(source: Path, source_format: str) -> int:
    # An overlay names its backing file, so the inspector refuses it; -U and no chain: only the top header is read.
    finished = process.run(["qemu-img", "info", "-U", "-f", qemu_name(source_format), "--output=json", source])
    return int(json_text.loads(finished.stdout)["virtual-size"])


@contextlib.contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Provide a private folder next to ``target``, gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = atomic.temporary_name(target)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(command: list[str], timeout: float, progress: Progress, pass_fds: Sequence[int]) -> None:
    """Run a ``qemu-img -p`` command, telling its percentage."""
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryFile() as output, process.started(command, log=output, pass_fds=pass_fds) as child:
        while (status := _wait(child)) is None:
            if time.monotonic() > deadline:
                raise process.ProcessFailed(command, f"did not end within {timeout:.0f} s", _text(output))
            found = _PERCENT.findall(_last(output))
            if found:
                progress.advance(int(float(found[-1])), 100, "%")
        if status != 0:
            raise process.ProcessFailed(command, f"failed with status {status}", _text(output), status=status)
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
    tail = _last(file, 16 << 10).decode(errors="replace")
    return "\n".join(line for line in tail.replace("\r", "\n").splitlines() if "/100%)" not in line)
