"""Find the distribution's kernels on this machine: the newest one that guests can be booted with.

A guest needs a kernel image this user may read and the modules built with it. Distributions keep them as
``/boot/vmlinuz-VERSION`` or ``/lib/modules/VERSION/vmlinuz``, and ``/lib/modules/VERSION``.
"""

from __future__ import annotations

import functools
import gzip
import lzma
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

# Made for guests: small, virtio included. Debian says cloud, Ubuntu virtual or kvm.
_FOR_GUESTS = re.compile(r"cloud|virtual|kvm")
_FIX = (
    "Debian: apt install linux-image-cloud-amd64; Ubuntu: apt install linux-image-virtual; "
    "Fedora, EL: dnf install kernel-core"
)


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel: ``vmlinuz`` is readable, ``modules_dir`` holds its modules and ``modules.dep``."""

    version: str
    vmlinuz: Path
    modules_dir: Path

    def has(self, name: str) -> bool:
        """Return whether the kernel has the module ``name``, built in or as a file."""
        module = name.replace("-", "_")
        return module in _read_dependencies(self.modules_dir) or module in self._built_in()

    def load_order(self, *names: str) -> list[Path]:
        """Return the module files to load for ``names`` ("virtio_blk"), each after those it needs.

        A name that is built into the kernel needs no file. Raises ``PipelineError`` for one that is neither.
        """
        needs = _read_dependencies(self.modules_dir)
        built_in = self._built_in()
        order: dict[str, None] = {}
        for name in names:
            module = name.replace("-", "_")
            if module in needs:
                own, others = needs[module]
                # modules.dep lists what to load first last (depmod(8)).
                order.update(dict.fromkeys([*reversed(others), own]))
            elif module not in built_in:
                raise PipelineError(f"the kernel {self.version} has no module {name!r}", hint=_FIX)
        return [self.modules_dir / path for path in order]

    def _built_in(self) -> set[str]:
        return _read_built_in(self.modules_dir)


def newest(kind: str | None = None) -> Kernel:
    """Return the newest kernel this user may read, one made for guests before any other.

    ``kind`` narrows the choice: ``cloud`` (made for guests), ``generic`` (not), or one version. Raises
    ``PipelineError`` when there is none, naming those that exist but may not be read (Ubuntu's default).
    """
    usable = [kernel for kernel in _installed() if os.access(kernel.vmlinuz, os.R_OK) and _is_of(kernel, kind)]
    if usable:
        return max(usable, key=lambda kernel: (bool(_FOR_GUESTS.search(kernel.version)), _natural(kernel.version)))
    closed = [str(kernel.vmlinuz) for kernel in _installed() if _is_of(kernel, kind)]
    if closed:
        raise PipelineError(f"this user may not read {', '.join(closed)}", hint=opening(closed))
    which = f" of kind {kind!r}" if kind else ""
    raise PipelineError(f"there is no kernel{which} that a guest could be booted with", hint=_FIX)


def opening(kernels: Sequence[str]) -> str:
    """Return how to let everybody read kernel images that the distribution closes (Ubuntu does)."""
    return f"sudo chmod 0644 {' '.join(kernels)} (a kernel update closes them again: see dpkg-statoverride(1))"


def read_module(path: Path) -> bytes:
    """Return the bytes of a module file, decompressed (a small guest's insmod reads plain ones only)."""
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case ".zst":
            with tempfile.TemporaryFile() as plain:
                process.run(["zstd", "-dcq", path], log=plain)
                plain.seek(0)
                return plain.read()
        case _:
            return path.read_bytes()


def module_name(path: Path) -> str:
    """Return the name of the module in a file: ``virtio_blk`` for ``drivers/block/virtio-blk.ko.xz``."""
    return path.name.partition(".ko")[0].replace("-", "_")


def _is_of(kernel: Kernel, kind: str | None) -> bool:
    for_guests = bool(_FOR_GUESTS.search(kernel.version))
    return {None: True, "cloud": for_guests, "generic": not for_guests}.get(kind, kernel.version == kind)


def _installed() -> Iterator[Kernel]:
    for modules_dir in sorted(Path("/lib/modules").glob("*/")):
        if not (modules_dir / "modules.dep").is_file():
            continue
        for vmlinuz in (Path(f"/boot/vmlinuz-{modules_dir.name}"), modules_dir / "vmlinuz"):
            if vmlinuz.is_file():
                yield Kernel(modules_dir.name, vmlinuz, modules_dir)


def _natural(version: str) -> Sequence[tuple[int, str]]:
    """Return a key under which 6.10 comes after 6.9."""
    return [(int(number or 0), text) for number, text in re.findall(r"(\d+)|([^\d]+)", version)]


@functools.cache
def _read_dependencies(modules_dir: Path) -> dict[str, tuple[str, list[str]]]:
    needs = {}
    for line in _lines(modules_dir / "modules.dep"):
        own, _, others = line.partition(":")
        needs[module_name(Path(own))] = (own, others.split())
    return needs


@functools.cache
def _read_built_in(modules_dir: Path) -> set[str]:
    return {module_name(Path(line)) for line in _lines(modules_dir / "modules.builtin")}


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []
