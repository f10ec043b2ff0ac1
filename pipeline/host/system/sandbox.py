"""Run a program that reads hostile data where it can reach nothing else.

bubblewrap gives it an empty file system with the program's own files, no network, no processes but its own, no
privileges and no way to new namespaces; a filter refuses the system calls it never needs; prlimit bounds memory,
processor time, processes, open files and what it may write. Works as root and as any user.
"""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.system import process, syscall_filter

INSIDE_OUT = "/out"
_THREADS = 256  # the kernel counts them as processes
_LOADER_CACHE = ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
# For programs that start others: everything that is installed.
_WHOLE_SYSTEM = (
    *("--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin"),
    # Where a distribution lets alternatives live outside /usr.
    *("--ro-bind-try", "/etc/alternatives", "/etc/alternatives"),
)
_OWN = ("--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp")  # noqa: S108 - a tmpfs of the sandbox's own
# Else the program could read in /proc/1/environ what bubblewrap was started with.
_CLEAN = ("env", "--ignore-environment", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8")
# As ldd prints them: "libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)".
_LIBRARY = re.compile(r"(?:=> |^\s*)(/\S+) \(0x", re.MULTILINE)
# Where distributions keep the block drivers that QEMU loads as modules.
_QEMU_MODULES = ("/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu-kvm", "/usr/lib64/qemu", "/usr/lib/qemu")


@dataclass(frozen=True)
class SandboxLimits:
    """What the program may use: address space and each written file in bytes, processor time in seconds.

    ``processes``: 1 lets it start none besides itself, by the filter: root's are not counted by the kernel's limit.
    """

    memory: int = 1 << 30
    seconds: int = 30
    files: int = 64
    written: int = 0
    processes: int = 1

    def words(self) -> list[str]:
        """Return them as the beginning of a prlimit command."""
        return [
            "prlimit",
            f"--as={self.memory}",
            f"--cpu={self.seconds}",
            f"--nofile={self.files}",
            f"--nproc={max(self.processes, _THREADS)}",
            f"--fsize={self.written}",
            "--core=0",
        ]


@contextmanager
def confined(
    words: Sequence[str],
    *,
    readable: Mapping[str, Path | int],
    out: Path | None = None,
    bounds: SandboxLimits | None = None,
    whole_system: bool = False,
) -> Iterator[tuple[list[str], list[int]]]:
    """Yield ``words`` as a command that runs in the sandbox, and the descriptors that it has to be started with.

    ``readable``: path inside → file or folder outside, read-only, by its path or by a descriptor. ``out``: the one
    folder it may write to, ``/out`` inside. The program sees its own libraries, and all of ``/usr`` only with
    ``whole_system``. Raises ``PipelineError`` when bubblewrap is missing or the kernel refuses it.
    """
    require()
    binds = [*_WHOLE_SYSTEM] if whole_system else [*_files_for("prlimit", words[0])]
    descriptors = []
    for inside, outside in readable.items():
        if isinstance(outside, int):
            # A descriptor is mounted, not handed over: what is open could be opened once more for writing.
            descriptors.append(outside)
            binds += ["--ro-bind", f"/proc/self/fd/{outside}", inside]
        else:
            binds += ["--ro-bind", str(outside.resolve(strict=True)), inside]
    if out is not None:
        binds += ["--bind", str(out.resolve(strict=True)), INSIDE_OUT]
    bounds = bounds or SandboxLimits()
    with syscall_filter.opened(forks=bounds.processes > 1) as rules:
        filtered = [] if rules is None else ["--seccomp", str(rules)]
        command = [*_wrapper(), *filtered, *binds, "--", *bounds.words(), *words]
        yield command, [*descriptors, *([] if rules is None else [rules])]


def run(
    words: Sequence[str],
    *,
    readable: Mapping[str, Path | int],
    out: Path | None = None,
    bounds: SandboxLimits | None = None,
    whole_system: bool = False,
    stdin: bytes | None = None,
    timeout: float = 60,
    check: bool = True,
) -> process.Finished:
    """Run ``words`` in the sandbox to its end. ``timeout`` is wall time in seconds."""
    with confined(words, readable=readable, out=out, bounds=bounds, whole_system=whole_system) as (
        command,
        descriptors,
    ):
        return process.run(command, stdin=stdin, timeout=timeout, check=check, pass_fds=descriptors)


@functools.cache
def require() -> None:
    """Raise ``PipelineError`` unless programs can be confined here; asked once a process."""
    hint = "install the package bubblewrap; in a container, allow user namespaces (kernel.unprivileged_userns_clone=1)"
    try:
        finished = process.run(
            [*_wrapper(), *_WHOLE_SYSTEM, "--", *SandboxLimits().words(), "true"], timeout=20, check=False
        )
    except process.ProcessFailed:
        raise
    except PipelineError as missing:
        raise PipelineError(f"images cannot be examined safely: {missing.message}", hint=hint) from None
    if finished.status != 0:
        reason = (finished.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise PipelineError(f"images cannot be examined safely: bubblewrap does not work here: {reason}", hint=hint)


def _wrapper() -> list[str]:
    return [
        *_CLEAN,
        "bwrap",
        "--unshare-all",
        *_without_namespaces(),
        "--die-with-parent",
        "--new-session",
        *_LOADER_CACHE,
        *_OWN,
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--clearenv", "--setenv", "PATH", "/usr/bin:/usr/sbin", "--setenv", "LC_ALL", "C.UTF-8"),
    ]


@functools.cache
def _without_namespaces() -> tuple[str, ...]:
    """Return what forbids new user namespaces inside; before bubblewrap 0.8 the filter alone does."""
    known = process.run(["bwrap", "--help"], timeout=20, check=False).stdout
    return ("--unshare-user", "--disable-userns") if "--disable-userns" in known else ("--unshare-user",)


def _files_for(*programs: str) -> list[str]:
    files = dict.fromkeys(file for program in programs for file in _program_files(program))
    return [word for file in files for word in ("--ro-bind", str(file), str(file))]


@functools.cache
def _program_files(program: str) -> tuple[Path, ...]:
    """Return the files and folders that ``program``, found on the path, needs. Raises ``PipelineError``."""
    found = shutil.which(program, path=process.environment()["PATH"])
    if found is None:
        raise PipelineError(f"the program {program} is not installed", hint="./inv doctor says which package has it")
    libraries = _LIBRARY.findall(process.run(["ldd", found]).stdout)
    modules = [folder for folder in _QEMU_MODULES if Path(folder).is_dir()] if program.startswith("qemu-") else []
    return tuple(Path(each) for each in dict.fromkeys([found, *libraries, *modules]))
