"""Each way an installation is known to fail, by an installer that really does: an error names the cause, in time.

What the linter would find first is led past it here: media, mirrors and guests can go wrong after it has looked, too.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.base.owner import Owner
from pipeline.host.diagnosis.stall import StallPolicy
from pipeline.host.install import install_tree
from pipeline.host.qemu.guest import GuestFailed
from pipeline.recipes.model.kickstart import InstallEngine, KickstartInstall
from pipeline.steps.kickstart import render
from pipeline.steps.kickstart import run as installer
from tests.guest.conftest import context_for
from tests.guest.steps.kickstart.stock import Stock

pytestmark = pytest.mark.guest

DEADLINE = 240
TOKEN = "5e417e1"
# Ends before the packages, which take most of the time.
SHORT_POST = "%post --erroronfail\nset -eu\nexec > /dev/ttyS0 2>&1\n"


@dataclass
class Attempt:
    """One installation that goes wrong."""

    stock: Stock
    folder: Path

    def fail(
        self,
        name: str,
        change: Callable[[str], str],
        engine: InstallEngine = InstallEngine.QEMU,
        *,
        deadline: int = DEADLINE,
        policy: StallPolicy | None = None,
    ) -> GuestFailed:
        recipe = self.stock.recipe(name, engine, timeout=deadline)
        assert isinstance(recipe.install, KickstartInstall)
        text = change(render.render(recipe, recipe.install, TOKEN))
        context = context_for(recipe, self.folder, stall_policy=policy or StallPolicy())
        with install_tree.opened(self.stock.media.iso) as tree, pytest.raises(GuestFailed) as caught:
            wanted = installer.Installation(
                recipe.install, self.stock.media.iso, tree, text, (), f"{render.SENTINEL} {TOKEN}"
            )
            installer.run(context, wanted)
        assert left_of_it(self.folder) == []
        return caught.value


def left_of_it(folder: Path) -> list[str]:
    """What still runs of it. A program that was ended by force may take a moment."""
    deadline = time.monotonic() + 20
    while (found := programs(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def programs(folder: Path) -> list[str]:
    """Those that run for what is in ``folder``, or that bear our mark, as guests and libvirts do."""
    traces = [str(folder).encode(), Owner.current().mark.encode()]
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes()
            if any(trace in words for trace in traces):
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture
def attempt(seven: Stock, tmp_path: Path) -> Attempt:
    return Attempt(seven, tmp_path)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def with_post(script: str) -> Callable[[str], str]:
    """A kickstart of few packages whose ``%post`` is another."""

    def change(text: str) -> str:
        before = text[: text.index("%packages")]
        return f"{before}%packages\n@core\n%end\n{SHORT_POST}{script}\n%end\n"

    return change


def test_a_disk_by_a_wrong_name(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", replaced("--only-use=sda", "--only-use=vda"))
    assert error.diagnosis == "no-such-disk"
    assert "the kickstart names the disk vda, which the guest does not have" in error.message
    assert (attempt.folder / "evidence/install-serial.log").is_file()
    known = json.loads((attempt.folder / "evidence/install-triage.json").read_text())
    assert known["diagnosis"]["name"] == "no-such-disk"


@pytest.mark.long
def test_a_prompt_that_nobody_answers(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", replaced("rootpw --lock --iscrypted locked\n", ""))
    assert error.diagnosis == "prompt"
    assert "the installer waits for a person to answer: rootpw" in error.message


@pytest.mark.long
def test_a_command_that_the_installer_does_not_know(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", replaced("skipx\n", "skipx\nupgrade\n"))
    assert error.diagnosis == "kickstart-error"
    assert "Unknown command: upgrade" in error.message


@pytest.mark.long
def test_a_mirror_that_is_dead(attempt: Attempt) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://10.0.2.2:{nobody.getsockname()[1]}/"
        error = attempt.fail("rhel7", replaced(attempt.stock.mirror, dead))
    assert error.diagnosis == "dead-mirror"
    assert "Cannot retrieve repository metadata (repomd.xml) for repository: extra" in error.message


@pytest.mark.long
def test_a_script_that_fails_is_told_by_its_step(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", replaced("grub2-mkconfig -o", "grub2-mkconfig --no-such-option -o"))
    assert error.diagnosis == "post-failed"
    assert "the kickstart's script failed in the serial console: status" in error.message
    assert any("no-such-option" in line for line in error.details)


@pytest.mark.long
def test_a_power_off_without_the_sentinel(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", with_post("echo all went well"))
    assert error.message.startswith("the guest ended before the kickstart's last line")
    assert any("all went well" in line for line in error.details)


@pytest.mark.long
def test_a_guest_that_panics(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", with_post("echo c > /proc/sysrq-trigger"))
    assert error.diagnosis == "panic"
    assert "the guest's kernel panicked: sysrq triggered crash" in error.message


@pytest.mark.long
def test_an_installer_that_does_nothing_any_more(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", with_post("sleep 10000"), policy=StallPolicy(20))
    assert "the guest is stuck before the kickstart's last line" in error.message
    assert "nothing has moved" in error.message


@pytest.mark.long
def test_a_deadline_that_passes(attempt: Attempt) -> None:
    error = attempt.fail("rhel7", lambda text: text, deadline=3)
    assert "did not happen within 3 s" in error.message


@pytest.mark.long
def test_failures_under_virt_install_are_told_alike(attempt: Attempt) -> None:
    change = replaced("--only-use=sda", "--only-use=vda")
    error = attempt.fail("rhel7", change, InstallEngine.VIRT_INSTALL)
    assert error.diagnosis == "no-such-disk"
    log = attempt.folder / "evidence/install-serial.log"
    assert log.is_file() and not log.is_symlink()
    assert (attempt.folder / "evidence/install-screen.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_release_six_refuses_what_only_release_seven_knows(six: Stock, tmp_path: Path) -> None:
    error = Attempt(six, tmp_path).fail("rhel6", replaced("skipx\n", "skipx\neula --agreed\n"))
    assert error.diagnosis == "kickstart-error"
    assert "Unknown command: eula" in error.message
