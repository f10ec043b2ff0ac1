"""Bytes that are no UTF-8, long outputs, programs left behind, attributes and links: in one appliance."""

from __future__ import annotations

import os

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.progress import nothing
from pipeline.host.guestfs import appliance_shell, contents, guest_process
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.steps.offline import customize, inspection, sysprep
from tests.guest.conftest import tiny_recipe

pytestmark = pytest.mark.guest
ODD = os.fsdecode(b"caf\xe9")


def test_output_is_bytes_and_bounded(system: GuestSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.run("printf 'caf\\351\\n'; echo 2 >&2", "x") == f"{ODD}\n2\n"
    # More than a message of libguestfs.
    assert len(system.run("dd if=/dev/zero bs=1M count=5 2>/dev/null", "x")) == 5 << 20
    monkeypatch.setattr(guest_process, "MOST", 1000)
    assert system.run("dd if=/dev/zero bs=1000 count=3 2>/dev/null; echo end", "the command") == "\0" * 1000
    assert system.notes[-1].startswith("the command printed 2004 bytes more than the ")


def test_commands_see_a_running_root_and_leave_none_of_it(system: GuestSystem) -> None:
    before = set(system.tree().kinds)
    said = system.run("cat /proc/1/comm; ls -d /dev/null /sys/class; echo x >/dev/shm/x; cat", "x")
    assert said.split() == ["sh", "/dev/null", "/sys/class"]
    assert set(system.tree().kinds) == before


def test_programs_in_the_background_are_named_and_ended(system: GuestSystem) -> None:
    system.run("sleep 7200 & (sleep 7100 >/dev/null 2>&1 &); true", "customize.commands[0]")
    words = [text for text in system.notes if "left a program running" in text]
    assert [text.rpartition(": ")[2] for text in sorted(words)] == ["sleep 7100", "sleep 7200"]
    assert words[0].startswith("customize.commands[0] left a program running, which was ended: ")
    running = appliance_shell.read(system.handle, "for p in /proc/[0-9]*; do readlink $p/root; done | sort -u")
    assert running == b"/\n"


def test_a_failing_command_of_any_bytes_shows_its_words(system: GuestSystem) -> None:
    with pytest.raises(PipelineError) as caught:
        system.run("printf 'n\\351 file\\n' >&2; exit 3", "the command")
    assert caught.value.details == ("n\ufffd file",)


def test_names_of_any_bytes_are_found_and_removed(system: GuestSystem) -> None:
    network = "/etc/sysconfig/network-scripts"
    system.run(
        f"""cd /etc; n=$(printf 'caf\\351'); echo x >$n.bak; echo x >/var/log/$n.log; mkdir -p "/tmp/$n dir/x"
        mkdir -p {network}; printf 'HWADDR=1\\nNAME=\\351\\n' >{network}/ifcfg-$n; mkdir -p /etc/systemd/system
        ln -s /dev/null /etc/systemd/system/$n.service
        printf 'Package: x\\nStatus: install ok installed\\nVersion: 1\\nMaintainer: Ren\\351\\n' >/tmp/status""",
        "planting",
    )
    changed = sysprep.apply(system, tiny_recipe())
    assert changed["backup-files"] == 1 and changed["logfiles"] == 1 and changed["net-hwaddr"] == 1
    assert not system.glob("/etc/*.bak") and not system.glob("/tmp/*") and not system.glob("/var/log/*.log")
    assert system.read(f"{network}/ifcfg-{ODD}") == os.fsdecode(b"NAME=\xe9\n")
    system.forget()
    assert contents.facts(system)["services"]["caf\ufffd"] == "masked"
    assert inspection.facts(system)["distro"] == "cirros"
    system.run("rm -r /etc/systemd /etc/sysconfig", "cleaning")


def test_attributes_that_forbid_changes_are_told_and_kept(system: GuestSystem) -> None:
    system.write("/etc/machine-id", "0123\n")
    system.write("/var/log/x.log", "x")
    system.write("/etc/motd", "old\n")
    lying = "/etc/machine-id /etc/motd /etc"
    appliance_shell.read(system.handle, f"cd /sysroot; chattr +i .{lying.replace(' ', ' .')}; chattr +a var/log/x.log")
    try:
        before = len(system.notes)
        changed = sysprep.apply(system, tiny_recipe())
        customize.apply(system, tiny_recipe(customize={"files": [{"path": "/etc/motd", "content": "new\n"}]}), nothing)
        assert changed["machine-id"] == 1 and changed["logfiles"] == 1
        assert system.read("/etc/machine-id") == "" and system.read("/etc/motd") == "new\n"
        assert not system.exists("/var/log/x.log")
        said = " ".join(system.notes[before:])
        for path, letter in (("/etc/machine-id", "i"), ("/etc/motd", "i"), ("/var/log/x.log", "a")):
            assert f"{path} has the attribute {letter} (chattr): it is changed nevertheless" in said
        flags = appliance_shell.read(system.handle, "cd /sysroot; lsattr -d ./etc ./etc/motd ./etc/machine-id")
        assert [line.split()[0].count(b"i") for line in flags.splitlines()] == [1, 1, 1]
    finally:
        appliance_shell.read(system.handle, f"cd /sysroot; chattr -i .{lying.replace(' ', ' .')}")


def test_a_file_takes_the_place_of_a_link_that_leads_nowhere(system: GuestSystem) -> None:
    system.run("ln -s ../run/absent/stub-resolv.conf /etc/dangling; ln -s motd /etc/alive", "planting")
    wanted = [{"path": f"/etc/{name}", "content": f"{name}\n", "mode": "0600"} for name in ("dangling", "alive")]
    customize.apply(system, tiny_recipe(customize={"files": wanted}), nothing)
    assert system.read("/etc/dangling") == "dangling\n" and not system.handle.is_symlink("/etc/dangling")
    assert system.handle.is_symlink("/etc/alive") and system.read("/etc/motd") == "alive\n"
    assert "/etc/dangling was a link to ../run/absent/stub-resolv.conf, which is not there" in " ".join(system.notes)


def test_a_guest_in_which_nothing_runs_is_told(system: GuestSystem) -> None:
    system.handle.mv("/proc", "/procx")
    try:
        with pytest.raises(PipelineError, match="nothing can be run in the guest") as caught:
            system.run("true", "x")
        assert caught.value.details == ("the guest has no folder /proc",)
    finally:
        system.handle.mv("/procx", "/proc")
