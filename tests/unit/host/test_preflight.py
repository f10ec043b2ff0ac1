import importlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host import preflight
from pipeline.host.doctor import PreflightLevel, PreflightResult
from pipeline.host.qemu import accelerator
from pipeline.host.qemu.accelerator import Accelerator
from pipeline.host.system import kernel, memory, packages, sandbox

_GIB = 1 << 30


def _levels(verdicts: Iterable[PreflightResult]) -> list[PreflightLevel]:
    return [verdict.level for verdict in verdicts]


@pytest.mark.subprocess
def test_a_missing_package_is_named_with_its_reason_and_command(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    row = packages.RequiredPackage("build", "qemu-system-x86", None, "qemu-kvm", "boots guests")
    monkeypatch.setattr(packages, "missing", lambda groups, column: [row] if "build" in groups else [])
    monkeypatch.setattr(packages, "distribution", lambda: "dnf")
    (verdict,) = preflight.system_packages(home)
    assert verdict == PreflightResult(
        PreflightLevel.FAILURE, "not installed: qemu-kvm (boots guests)", "sudo dnf install qemu-kvm"
    )


def test_an_unknown_distribution_is_told_which_are_known(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "distribution", lambda: None)
    (verdict,) = preflight.system_packages(home)
    assert verdict.level is PreflightLevel.FAILURE
    assert "Debian 12" in str(verdict.fix)


def test_a_binding_that_does_not_import_is_a_failure(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def broken(name: str) -> object:
        if name == "guestfs":
            raise ImportError("no guestfs here")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    failed = [verdict for verdict in preflight.bindings(home) if verdict.level is PreflightLevel.FAILURE]
    assert [verdict.text for verdict in failed] == ["guestfs cannot be imported: no guestfs here"]
    assert "./inv links it in" in str(failed[0].fix)


@pytest.mark.subprocess
def test_a_full_disk_is_seen_on_the_file_system_it_is(small_disk: Callable[[int], Path]) -> None:
    cache = small_disk(16 << 20)
    home = Home(Path("/tmp/not-there-yet"), cache / "below" / "deeper")
    full = [verdict for verdict in preflight.disk_space(home) if verdict.level is PreflightLevel.FAILURE]
    assert len(full) == 1
    assert str(home.cache) in full[0].text
    assert "PIPELINE_CACHE" in str(full[0].fix)


def test_needs_of_one_file_system_add_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        f_bavail, f_frsize, f_files, f_favail = 10 * 1024, 1 << 20, 1 << 20, 1 << 20

    monkeypatch.setattr(os, "statvfs", lambda path: Disk)
    low, high = 1 * _GIB, 8 * _GIB
    assert preflight._free_space([home.root], low, high).level is PreflightLevel.GOOD
    assert preflight._free_space([home.root], 2 * low, 2 * high).level is PreflightLevel.WARNING
    assert preflight._free_space([home.root], 12 * low, 2 * high).level is PreflightLevel.FAILURE


@pytest.mark.parametrize(
    ("free", "level"),
    [(1 * _GIB, PreflightLevel.FAILURE), (2 * _GIB, PreflightLevel.WARNING), (4 * _GIB, PreflightLevel.GOOD)],
)
def test_memory(home: Home, monkeypatch: pytest.MonkeyPatch, free: int, level: PreflightLevel) -> None:
    monkeypatch.setattr(memory, "available", lambda: free)
    assert _levels(preflight.enough_memory(home)) == [level]


def test_a_closed_kernel_beside_an_open_one(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kernel.Kernel("6", Path("/boot/vmlinuz-6"), Path("/lib/modules/6"))
    monkeypatch.setattr(kernel, "newest", lambda: found)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [folder / "vmlinuz-7"])
    good, closed = preflight.guest_kernel(home)
    assert (good.level, closed.level) == (PreflightLevel.GOOD, PreflightLevel.FAILURE)
    assert str(closed.fix).startswith("sudo chmod 0644 /boot/vmlinuz-7 ")


def test_emulation_is_a_warning_with_an_honest_estimate(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "probe", lambda home: Accelerator("tcg", 11.5, "there is no /dev/kvm"))
    (verdict,) = preflight.accelerator_works(home)
    assert verdict.level is PreflightLevel.WARNING
    assert verdict.text == (
        "emulation (TCG): there is no /dev/kvm; guests work about 11.5 times slower than this machine"
    )


def test_ubuntus_restriction_of_the_sandbox_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PipelineError("bubblewrap does not work here", hint="install it")

    monkeypatch.setattr(sandbox, "require", refused)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(PipelineError):
        list(preflight.sandbox_works(home))
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.setattr(Path, "read_text", lambda path: "1\n")
    (verdict,) = preflight.sandbox_works(home)
    assert str(verdict.fix).startswith("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0")
