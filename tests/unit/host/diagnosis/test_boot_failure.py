from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.host.diagnosis import boot_failure

# What guests really said: one sample for each signature.
SAID = {
    "post-failed": "post: the serial console\r\nBUILD-FAILED 8a2c the serial console: status 1\r\n",
    "no-such-disk": "The following problem occurred on line 18 of the kickstart file:\n\n"
    "Specified nonexistent disk sda in ignoredisk command",
    "kickstart-error": "The following problem occurred on line 5 of the kickstart file:\n\nUnknown command: netwrok",
    "dead-mirror": "Cannot retrieve repository metadata (repomd.xml) for repository: epel. Please verify its path",
    "no-such-package": "You have specified that the package 'cloud-int' should be installed.  "
    "This package does not exist.",
    "installer-crashed": "An unknown error has occurred\nanaconda 21.48.22.159-1 exception report",
    "prompt": " 4) [!] Root password                      5) [x] Network configuration\n      (Password is not set.)",
    "root-not-found": "[    3.1] VFS: Unable to mount root fs on unknown-block(0,0)\r\nKernel panic - not syncing",
    "init-missing": "Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.",
    "panic": "[   12.0] Kernel panic - not syncing: Fatal exception in interrupt",
    "dracut-timeout": "dracut-initqueue[313]: Warning: dracut-initqueue timeout - starting timeout scripts",
    "maintenance": 'You are in emergency mode. After logging in, type "journalctl -xb"',
    "initramfs-shell": "(initramfs) ",
    "grub-rescue": "error: no such device: 0f3c.\nEntering rescue mode...\ngrub rescue> ",
    "loader-kernel": "Could not find kernel image: /vmlinuz\nboot:",
    "firmware-crash": "!!!! X64 Exception Type - 06(#UD - Invalid Opcode)  CPU Apic ID - 00000000 !!!!",
    "no-bootable-device": "Booting from Hard Disk...\nBoot failed: not a bootable disk\n\nNo bootable device.",
    "out-of-memory": "Out of memory: Killed process 311 (dnf)",
    "disk-full": "cp: error writing '/x': No space left on device",
    "filesystem-damage": "EXT4-fs error (device vda1): ext4_lookup:1855: inode #2",
    "no-datasource": "ci-info: no instance data; DataSourceNone",
}


def test_every_signature_has_a_sample() -> None:
    assert set(SAID) == {signature.name for signature in boot_failure.SIGNATURES}


@pytest.mark.parametrize("name", SAID)
def test_each_failure_is_known_by_its_words(name: str) -> None:
    found = boot_failure.diagnose("harmless lines\n" + SAID[name])
    assert found is not None
    assert found.name == name
    assert "{" not in found.cause
    assert found.action


def test_a_panic_tells_its_reason() -> None:
    found = boot_failure.diagnose(SAID["panic"])
    assert found is not None
    assert found.cause == "the guest's kernel panicked: Fatal exception in interrupt"


def test_a_root_without_init_is_told_from_other_panics() -> None:
    found = boot_failure.diagnose(
        "[   14.9] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"
        "switch_root: can't execute '/sbin/init': No such file or directory\n"
    )
    assert found is not None and found.name == "init-missing"
    assert "switch_root: can't execute '/sbin/init'" in found.cause


@pytest.mark.parametrize(
    "said",
    [
        "",
        "cirros login: ",
        "[    1.0] panic=10 console=ttyS0",
        "systemd[1]: Reached target Multi-User System.",
        "Booting from Hard Disk...\nBooting from 0000:7c00",
    ],
)
def test_a_healthy_guest_is_not_diagnosed(said: str) -> None:
    assert boot_failure.diagnose(said) is None


def test_control_sequences_do_not_hide_words() -> None:
    assert boot_failure.clean("\x1b[2J\x1b[01;01HKernel\x1b[0m panic\r\n") == "Kernel panic\n"
    assert boot_failure.last_words("\x1b[1mfirst\r\n\r\n\x1b[2mlast\x1b[0m \r\n\n") == "last"
    assert boot_failure.last_words(" \n\x1b[0m\n") is None


@given(st.text())
def test_nothing_a_guest_says_breaks_triage(said: str) -> None:
    boot_failure.diagnose(said)
    words = boot_failure.last_words(said)
    assert words is None or len(words) <= 200
