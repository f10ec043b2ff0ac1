"""Check what a machine needs to build images: the rules of this room for ``./inv doctor``."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host import doctor
from pipeline.host.doctor import PreflightResult
from pipeline.host.qemu import accelerator
from pipeline.host.system import kernel, memory, packages, process, sandbox, syscall_filter
from pipeline.host.system.packages import RequiredPackage

_GIB = 1 << 30
# What a run may need: below the first number it will most likely fail, below the second it may.
_HOME_SPACE = (2 * _GIB, 8 * _GIB)
_CACHE_SPACE = (2 * _GIB, 8 * _GIB)
_TMP_SPACE = (_GIB // 2, 2 * _GIB)
_APPLIANCE_SPACE = (_GIB // 2, _GIB)
_MEMORY = (3 * _GIB // 2, 3 * _GIB)
_APPLIANCE_DEADLINE = 300.0  # seconds; 20 are usual, the very first launch also makes the appliance


@doctor.rule("packages")
def system_packages(home: Home) -> Iterator[PreflightResult]:
    """Check that everything in ``requirements/system.txt`` that a build needs is installed."""
    column = packages.distribution()
    if column is None:
        yield doctor.failure(
            "this distribution is not supported", "use Debian 12, Ubuntu 24.04, Fedora, EL 10 or newer"
        )
        return
    lacking = packages.missing(("core", "build"), column)
    if lacking:
        yield doctor.failure(f"not installed: {_reasons(lacking, column)}", _installing(lacking, column))
    else:
        yield doctor.good("all that a build needs are installed")
    optional = packages.missing(("optional",), column)
    if optional:
        yield doctor.note(f"optional, not installed: {_reasons(optional, column)}", _installing(optional, column))


@doctor.rule("Python bindings")
def bindings(home: Home) -> Iterator[PreflightResult]:
    """Check that the distribution's libraries can be imported in our environment."""
    column = packages.distribution() or "debian"
    rows = {row.debian: row.name_for(column) for row in packages.table()}
    for module in ("guestfs", "hivex", "libvirt"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = rows[f"python3-{module}"]
            fix = f"{packages.install_command([package or module], column)}; then ./inv links it in"
            yield doctor.failure(f"{module} cannot be imported: {error}", fix)
        else:
            yield doctor.good(f"{module} can be imported")
    yield doctor.good(f"Python {sys.version.split()[0]} in {sys.prefix}")


@doctor.rule("disk space")
def disk_space(home: Home) -> Iterator[PreflightResult]:
    """Check that each file system that a run writes to has room: what several folders need of one adds up."""
    temporary = Path(tempfile.gettempdir())
    appliance = Path(os.environ.get("LIBGUESTFS_CACHEDIR") or "/var/tmp")  # noqa: S108
    needs = (
        (home.root, _HOME_SPACE),
        (home.cache, _CACHE_SPACE),
        (temporary, _TMP_SPACE),
        (appliance, _APPLIANCE_SPACE),
    )
    together: dict[int, list[tuple[Path, tuple[int, int]]]] = defaultdict(list)
    for folder, need in needs:
        together[_existing(folder).stat().st_dev].append((folder, need))
    for members in together.values():
        yield _free_space(
            [folder for folder, _ in members],
            sum(low for _, (low, _) in members),
            sum(high for _, (_, high) in members),
        )


@doctor.rule("memory")
def enough_memory(home: Home) -> Iterator[PreflightResult]:
    """Check that a guest and the appliance fit."""
    free = memory.available()
    least, recommended = _MEMORY
    text = f"{_gib(free)} of memory available"
    if free < least:
        yield doctor.failure(
            f"{text}: a guest needs {_gib(least)}",
            "end other programs, or raise the container's or the service's limit",
        )
    elif free < recommended:
        yield doctor.warning(
            f"{text}: installations need {_gib(recommended)}", "end other programs, or build one at a time"
        )
    else:
        yield doctor.good(text)


@doctor.rule("guest kernel")
def guest_kernel(home: Home) -> Iterator[PreflightResult]:
    """There is a kernel this user may read; libguestfs wants to read every one (Ubuntu closes them)."""
    found = kernel.newest()
    yield doctor.good(f"{found.vmlinuz}")
    closed = [str(path) for path in sorted(Path("/boot").glob("vmlinuz-*")) if not os.access(path, os.R_OK)]
    if closed:
        text = f"this user may not read {', '.join(closed)}, and libguestfs starts the newest"
        yield doctor.failure(text, kernel.opening(closed))


@doctor.rule("sandbox")
def sandbox_works(home: Home) -> Iterator[PreflightResult]:
    """Check that programs that read images can be locked up."""
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    try:
        sandbox.require()
    except PipelineError as error:
        if restricted.exists() and restricted.read_text().strip() == "1":
            fix = (
                f"sudo sysctl kernel.{restricted.name}=0, or load AppArmor's profile bwrap-userns-restrict "
                "(package apparmor-profiles)"
            )
            yield doctor.failure(error.message, fix)
            return
        raise
    if not syscall_filter.available():
        yield doctor.warning(
            "programs that read images are locked up without a filter of system calls", "install python3-seccomp"
        )
        return
    yield doctor.good("programs that read images are locked up")


@doctor.rule("accelerator")
def accelerator_works(home: Home) -> Iterator[PreflightResult]:
    """Check that a guest boots with the accelerator."""
    found = accelerator.probe(home)
    slower = f"; guests work about {found.slowdown:g} times slower than this machine" if found.slowdown else ""
    if found.name == "kvm":
        yield doctor.good(f"KVM: {found.why}{slower}")
    else:
        fix = "turn on (nested) virtualisation; sudo usermod -aG kvm $USER lets a user open /dev/kvm"
        yield doctor.warning(f"emulation (TCG): {found.why}{slower}", fix)


@doctor.rule("libguestfs")
def appliance_launches(home: Home) -> Iterator[PreflightResult]:
    """Check that the appliance starts, with the accelerator that works."""
    settings = ":".join(accelerator.probe(home).guestfs_settings)
    environment = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": settings}
    if not packages.of_program("libguestfs-test-tool"):
        raise PipelineError("libguestfs-test-tool is not installed", hint="see the rule packages")
    process.run(
        ["libguestfs-test-tool"],
        env=environment,
        timeout=_APPLIANCE_DEADLINE,
        hint="libguestfs-test-tool shows more; see the rules guest kernel and disk space",
    )
    yield doctor.good("the appliance launches")


def _reasons(rows: list[RequiredPackage], column: str) -> str:
    return "; ".join(f"{row.name_for(column)} ({row.why})" for row in rows)


def _installing(rows: list[RequiredPackage], column: str) -> str:
    return packages.install_command([str(row.name_for(column)) for row in rows], column)


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _free_space(folders: list[Path], least: int, recommended: int) -> PreflightResult:
    location = _existing(folders[0])
    system = os.statvfs(location)
    free = system.f_bavail * system.f_frsize
    closed = [str(folder) for folder in folders if not os.access(_existing(folder), os.W_OK)]
    if closed:
        return doctor.failure(
            f"this user may not write {', '.join(closed)}",
            "set PIPELINE_HOME, PIPELINE_CACHE, TMPDIR or LIBGUESTFS_CACHEDIR to a folder of yours",
        )
    text = f"{_gib(free)} free for {', '.join(map(str, folders))}"
    fix = "free some, or set PIPELINE_HOME, PIPELINE_CACHE, TMPDIR or LIBGUESTFS_CACHEDIR to a larger file system"
    if system.f_files and system.f_favail < 10_000:
        return doctor.failure(f"only {system.f_favail} files may still be made on the file system of {location}", fix)
    if free < least:
        return doctor.failure(f"{text}: {_gib(least)} is the least", fix)
    if free < recommended:
        return doctor.warning(f"{text}: {_gib(recommended)} would be safe", fix)
    return doctor.good(text)


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"
