from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import process, sandbox, syscall_filter

pytestmark = pytest.mark.subprocess
SEVERAL = sandbox.SandboxLimits(processes=32)


# What programs need to find their libraries, and each other's names.
_ETC = ("/etc/alternatives", "/etc/ld.so.cache")


def test_it_sees_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("for you")
    other = tmp_path / "other"
    other.write_text("not for you")
    shown = sandbox.run(
        ["sh", "-c", f"cat /in; ls {other}; echo; ls -A /; ls -d /etc/* /root/* /run/* /var/* /tmp/* /home/*"],
        readable={"/in": given},
        bounds=SEVERAL,
        whole_system=True,
        check=False,
    )
    assert shown.stdout.startswith("for you")
    folders = shown.stdout.splitlines()[1:]
    machine = {"bin", "dev", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "usr"}
    assert {folder for folder in folders if folder not in machine} <= {"in", "etc", "tmp", *_ETC}
    assert "not for you" not in shown.stdout
    assert "No such file" in shown.stderr


def test_it_cannot_write_what_it_reads_nor_reach_the_network(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("mine")
    shown = sandbox.run(
        ["sh", "-c", "echo bad > /in; cat /proc/net/dev"],
        readable={"/in": given},
        bounds=SEVERAL,
        whole_system=True,
        check=False,
    )
    assert given.read_text() == "mine"
    assert [line.split(":")[0].strip() for line in shown.stdout.splitlines()[2:]] == ["lo"]


def test_bounds_hold(tmp_path: Path) -> None:
    small = sandbox.SandboxLimits(memory=200 << 20, seconds=1, written=1000, processes=8)
    words = ["sh", "-c", "head -c 5000 /dev/zero > /out/file"]
    sandbox.run(words, readable={}, out=tmp_path, bounds=small, whole_system=True, check=False)
    assert (tmp_path / "file").stat().st_size == 1000
    with pytest.raises(process.ProcessFailed):
        sandbox.run(["sh", "-c", "while :; do :; done"], readable={}, bounds=small, whole_system=True, timeout=20)
    with pytest.raises(process.ProcessFailed):
        sandbox.run(["python3", "-c", "bytearray(300 << 20)"], readable={}, bounds=small, whole_system=True)


def test_a_missing_bubblewrap_is_told_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.require.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PipelineError, match="package bubblewrap"):
        sandbox.run(["true"], readable={}, whole_system=True)
    sandbox.require.cache_clear()


# Each attempt is Python that ends with what the kernel said; "escaped" must never be seen.
_CALLS = {
    "new user namespace": "call(libc.unshare(0x10000000))",
    "new mount namespace": "call(libc.unshare(0x20000))",
    "clone into a user namespace": "call(libc.syscall(56, 0x10000011, 0, 0, 0, 0))",
    "clone3": "call(libc.syscall(435, 0, 0))",
    "mount": "call(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "keys": "call(libc.syscall(250, 0, -3, 1))",
    "tracing": "call(libc.ptrace(0, 0, 0, 0))",
    "program in the kernel": "call(libc.syscall(321, 0, 0, 0))",
    "ring of requests": "call(libc.syscall(425, 8, ctypes.create_string_buffer(120)))",
    "network": "socket.socket(socket.AF_INET)",
    "kernel's messages socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "input to the terminal": "call(libc.ioctl(0, 0x5412, b'x'))",
    "write what is read": "open('/in', 'r+b').write(b'bad')",
    "write to the system": "open('/usr/x', 'w')",
    "device": "os.mknod('/tmp/sda', 0o60600, os.makedev(8, 0))",
}
_ATTEMPT = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
try:
    {attempt}
    print("escaped")
except OSError as error:
    print(error)
"""


def test_attempts_to_escape_say_what_they_met(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("mine")
    met = {}
    for name, attempt in _CALLS.items():
        words = ["/usr/bin/python3", "-I", "-S", "-c", _ATTEMPT.format(attempt=attempt)]
        finished = sandbox.run(words, readable={"/in": given}, whole_system=True, check=False)
        met[name] = finished.stdout.strip() or finished.stderr.strip()
    print("\n".join(f"{name}: {said}" for name, said in met.items()))
    assert all(said and "escaped" not in said and "Traceback" not in said for said in met.values()), met
    assert given.read_text() == "mine"
    assert syscall_filter.available()
    assert "not supported by protocol" in met["network"]
    assert "not implemented" in met["clone3"]


def test_the_sandbox_itself_carries_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of-somebody")
    words = ["sh", "-c", "cat /proc/[0-9]*/environ; echo; ls /proc | grep -c '^[0-9]'"]
    shown = sandbox.run(words, readable={}, bounds=SEVERAL, whole_system=True, check=False).stdout
    assert "PATH=" in shown
    assert "of-somebody" not in shown
    assert int(shown.splitlines()[-1]) < 8


def test_it_starts_no_processes_but_threads() -> None:
    attempt = """
import os, threading
threading.Thread(target=print, args=["a thread"]).start()
for name in ("fork", "vfork", "spawn"):
    try:
        os.fork() if name == "fork" else os.posix_spawn("/usr/bin/true", ["true"], {})
        print("escaped")
    except OSError as error:
        print(name, error)
"""
    finished = sandbox.run(["/usr/bin/python3", "-c", attempt], readable={}, whole_system=True)
    assert "a thread" in finished.stdout
    assert finished.stdout.count("Operation not permitted") == 3, finished
    assert "escaped" not in finished.stdout


def test_a_program_sees_its_own_files_only() -> None:
    with sandbox.confined(["qemu-img", "--version"], readable={}) as (command, descriptors):
        finished = process.run(command, pass_fds=descriptors)
    assert "qemu-img version" in finished.stdout
    bound = [command[at + 2] for at, word in enumerate(command) if word == "--ro-bind"]
    assert "/usr" not in bound
    assert not any("python" in file or file.endswith("/sh") for file in bound)
