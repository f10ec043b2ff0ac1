"""Make the filter of system calls for programs that read hostile data (seccomp(2)).

It refuses what such a program never needs and the kernel's holes are reached by: namespaces, mounts, keys, tracing,
programs in the kernel, rings of requests, and sockets other than local ones. Everything else is left to the sandbox
around it, so that a new version of QEMU or of the C library is not broken by a list of ours.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_THREAD = 0x10000  # CLONE_THREAD
_INJECT_INPUT, _CONSOLE = 0x5412, 0x541C  # TIOCSTI, TIOCLINUX
_REFUSED = (
    *("unshare", "setns", "chroot", "pivot_root", "mount", "umount", "umount2", "mount_setattr", "move_mount"),
    *("open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "quotactl", "quotactl_fd", "swapon", "swapoff"),
    *("name_to_handle_at", "open_by_handle_at", "acct", "syslog", "reboot", "sethostname", "setdomainname"),
    *("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd", "ptrace", "kcmp", "pidfd_getfd"),
    *("process_vm_readv", "process_vm_writev", "process_madvise", "init_module", "finit_module", "delete_module"),
    *("kexec_load", "kexec_file_load", "io_uring_setup", "io_uring_enter", "io_uring_register", "iopl", "ioperm"),
    *("clock_settime", "clock_adjtime", "settimeofday", "adjtimex", "lookup_dcookie", "nfsservctl", "vhangup"),
    *("fanotify_init", "migrate_pages", "move_pages"),
)


def available() -> bool:
    """Return whether libseccomp's binding for Python is there."""
    return _binding() is not None


@contextmanager
def opened(*, forks: bool) -> Iterator[int | None]:
    """Yield a descriptor of the filter as bubblewrap takes it, while the block runs; ``None`` without the binding.

    ``forks``: whether the program may start others; threads it always may.
    """
    program = _program(forks)
    if program is None:
        yield None
        return
    descriptor = os.memfd_create("syscall-filter")
    try:
        os.write(descriptor, program)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@functools.cache
def _program(forks: bool) -> bytes | None:
    seccomp = _binding()
    if seccomp is None:
        return None
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in _REFUSED:
        with suppress(RuntimeError):  # a call that this version does not know
            rules.add_rule(refuse, name)
    # The flags of clone3 lie in memory, where no filter can look: "not there" makes the C library use clone.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for bit in range(64):
        if _NEW_NAMESPACES & 1 << bit:
            rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, 1 << bit, 1 << bit))
    if not forks:
        rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _THREAD, 0))
        for name in ("fork", "vfork"):
            rules.add_rule(refuse, name)
    rules.add_rule(seccomp.ERRNO(errno.EAFNOSUPPORT), "socket", seccomp.Arg(0, seccomp.NE, socket.AF_UNIX))
    for request in (_INJECT_INPUT, _CONSOLE):
        rules.add_rule(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


@functools.cache
def _binding() -> ModuleType | None:
    try:
        import seccomp
    except ImportError:
        return None
    return seccomp  # type: ignore[no-any-return]
