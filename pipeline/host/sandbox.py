"""Run a program that reads hostile data where it can reach nothing else.

bubblewrap gives it an empty file system with ``/usr`` read-only, no network, no processes but its own and no
privileges; prlimit bounds memory, processor time, open files and what it may write. Works as root and as any user.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host import process

INSIDE_OUT = "/out"
_ROOT = (
    *("--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
    # Where a distribution lets alternatives or the loader's cache live outside /usr.
    *(
        "--ro-bind-try",
        "/etc/alternatives",
        "/etc/alternatives",
        "--ro-bind-try",
        "/etc/ld.so.cache",
        "/etc/ld.so.cache",
    ),
    *("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108 - a tmpfs of the sandbox's own
)


@dataclass(frozen=True)
class Bounds:
    """What the program may use: address space and each written file in bytes, processor time in seconds."""

    memory: int = 1 << 30
    seconds: int = 30
    files: int = 64
    written: int = 0

    def words(self) -> list[str]:
        """As the beginning of a prlimit command."""
        return [
            "prlimit",
            f"--as={self.memory}",
            f"--cpu={self.seconds}",
            f"--nofile={self.files}",
            f"--fsize={self.written}",
            "--core=0",
        ]


def command(
    words: Sequence[str], *, readable: Mapping[str, Path], out: Path | None = None, bounds: Bounds | None = None
) -> list[str]:
    """``words`` as a command that runs in the sandbox.

    ``readable``: path inside → file or folder outside, read-only. ``out``: the one folder it may write to, ``/out``
    inside. Raises ``PipelineError`` when bubblewrap is missing or the kernel refuses it.
    """
    require()
    binds: list[str] = []
    for inside, outside in readable.items():
        binds += ["--ro-bind", str(outside.resolve(strict=True)), inside]
    if out is not None:
        binds += ["--bind", str(out.resolve(strict=True)), INSIDE_OUT]
    return [*_wrapper(), *binds, "--", *(bounds or Bounds()).words(), *words]


def run(
    words: Sequence[str],
    *,
    readable: Mapping[str, Path],
    out: Path | None = None,
    bounds: Bounds | None = None,
    timeout: float = 60,
    check: bool = True,
) -> process.Finished:
    """Run ``words`` in the sandbox to its end. ``timeout`` is wall time in seconds."""
    return process.run(command(words, readable=readable, out=out, bounds=bounds), timeout=timeout, check=check)


@functools.cache
def require() -> None:
    """Raise ``PipelineError`` unless programs can be confined here; asked once a process."""
    hint = "install the package bubblewrap; in a container, allow user namespaces (kernel.unprivileged_userns_clone=1)"
    try:
        finished = process.run([*_wrapper(), "--", *Bounds().words(), "true"], timeout=20, check=False)
    except process.ProcessFailed:
        raise
    except PipelineError as missing:
        raise PipelineError(f"images cannot be examined safely: {missing.message}", hint=hint) from None
    if finished.status != 0:
        said = (finished.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise PipelineError(f"images cannot be examined safely: bubblewrap does not work here: {said}", hint=hint)


def _wrapper() -> list[str]:
    return [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        *_ROOT,
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--clearenv", "--setenv", "PATH", "/usr/bin:/usr/sbin", "--setenv", "LC_ALL", "C.UTF-8"),
    ]
