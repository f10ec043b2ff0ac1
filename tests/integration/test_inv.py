"""``./inv`` on little checkouts: a real environment is made, from a package beside it, without a network."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from tests.conftest import OrdinaryUser

SYSTEM = "core  python3  =  python3  runs everything\ncore  python3-venv  =  -  makes the environment\n"
MISSING = "build  no-such-package  =  no-such-rpm  boots guests\n"
FACE = """
import os, sys
import example
print("task", *sys.argv[1:], "in", sys.prefix)
"""


@dataclass
class Little:
    """A checkout that has ``inv`` and just enough below it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.folder / "wheels"), "PIP_CONFIG_FILE": "/dev/null"}

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def command(self) -> Path:
        return self.folder / "inv"

    def inv(self, *words: str, **env: str) -> process.Finished:
        return process.run([self.command, *words], env={**self.environment, **env}, check=False, timeout=300)

    def log(self) -> str:
        return (self.folder / ".pipeline" / "setup.log").read_text()


def make_little(folder: Path) -> Little:
    (folder / "pipeline" / "cli").mkdir(parents=True)
    (folder / "requirements").mkdir()
    (folder / "wheels").mkdir()
    for room in ("pipeline", "pipeline/cli"):
        (folder / room / "__init__.py").touch()
    (folder / "pipeline" / "cli" / "__main__.py").write_text(FACE)
    shutil.copy(CHECKOUT / "inv", folder / "inv")
    (folder / "requirements" / "system.txt").write_text(SYSTEM)
    digest = _wheel(folder / "wheels")
    for lock in ("runtime.txt", "dev.txt"):
        (folder / "requirements" / lock).write_text(f"example==1.0 \\\n    --hash=sha256:{digest}\n")
    return Little(folder)


def _wheel(folder: Path) -> str:
    wheel = folder / "example-1.0-py3-none-any.whl"
    about = "example-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("example/__init__.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture
def little(tmp_path: Path) -> Little:
    return make_little(tmp_path / "checkout")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Little:
    """One that was called before, for tests that leave it as it is."""
    made = make_little(tmp_path_factory.mktemp("prepared") / "checkout")
    assert made.inv("build", "tiny").status == 0
    return made


def test_a_second_call_starts_the_task_at_once(prepared: Little, tmp_path: Path) -> None:
    """Without asking the package manager, and without a word in the log of preparations."""
    (tmp_path / "dpkg-query").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    (tmp_path / "dpkg-query").chmod(0o755)
    log = prepared.log()
    done = prepared.inv("build", "tiny", "--option=a b", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert prepared.log() == log
    assert not (tmp_path / "asked").exists()
    assert done == process.Finished(0, f"task build tiny --option=a b in {prepared.venv}\n", "")


def test_it_can_be_called_from_anywhere_through_a_link(prepared: Little, tmp_path: Path) -> None:
    (tmp_path / "inv").symlink_to(prepared.folder / "inv")
    done = process.run([tmp_path / "inv", "plan"], cwd=tmp_path, env=prepared.environment)
    assert done.stdout == f"task plan in {prepared.venv}\n"


def test_only_the_bindings_are_linked_in(prepared: Little) -> None:
    python = prepared.venv / "bin" / "python"
    process.run([python, "-c", "import guestfs, hivex, libvirt; guestfs.GuestFS(python_return_dict=True)"])
    others = {path.name for path in Path("/usr/lib/python3/dist-packages").glob("apt*")}
    site = next(prepared.venv.glob("lib/python3*/site-packages"))
    assert not others & set(os.listdir(site))
    assert process.run([python, "-c", "import sys; print(*sys.path)"]).stdout.count("dist-packages") == 0


def test_the_callers_python_settings_do_not_leak_in(prepared: Little, tmp_path: Path) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "__init__.py").write_text("raise SystemExit('leaked')")
    assert prepared.inv("plan", PYTHONPATH=str(tmp_path)).status == 0


@pytest.mark.slow
def test_two_first_calls_at_once_make_one_environment(little: Little) -> None:
    calls = [
        subprocess.Popen(
            [little.command, "build"],
            env={**process.environment(), **little.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [call.communicate(timeout=300) for call in calls]
    assert [call.returncode for call in calls] == [0, 0], said
    assert little.log().count("-m venv") == 1
    assert sum("waiting" in err for _, err in said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["-m venv", "pip install"])
def test_a_call_killed_half_way_is_mended_by_the_next(little: Little, moment: str) -> None:
    child = subprocess.Popen(
        [little.command, "build"], env={**process.environment(), **little.environment}, start_new_session=True
    )
    log = little.folder / ".pipeline" / "setup.log"
    while not (log.exists() and moment in log.read_text()):
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert little.inv("build").stdout == f"task build in {little.venv}\n"
    assert not (little.venv / "unfinished").exists()


@pytest.mark.slow
def test_a_moved_checkout_gets_an_environment_anew(little: Little, tmp_path: Path) -> None:
    assert little.inv("build").status == 0
    moved = Little(little.folder.rename(tmp_path / "elsewhere"))
    assert moved.inv("build").stdout == f"task build in {moved.venv}\n"


@pytest.mark.slow
def test_a_package_that_is_not_the_locked_one_is_refused_and_nothing_is_lost(little: Little) -> None:
    lock = little.folder / "requirements" / "runtime.txt"
    good = lock.read_text()
    lock.write_text(good.replace("sha256:", "sha256:0000")[:-5] + "\n")
    done = little.inv("build")
    assert done.status == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert done.stderr.endswith("hint: pip needs a package index (see its settings) and room on the disk\n")
    lock.write_text(good)
    assert little.inv("build").status == 0


def test_a_folder_that_is_something_else_is_not_replaced(little: Little, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").touch()
    done = little.inv("build", PIPELINE_VENV=str(tmp_path / "precious"))
    assert (done.status, "is not a Python environment" in done.stderr) == (1, True)
    assert os.listdir(tmp_path / "precious") == ["thesis"]


def test_an_environment_behind_a_link_is_somebody_elses(little: Little, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "pyvenv.cfg").touch()
    (little.folder / ".venv").symlink_to(theirs)
    done = little.inv("build")
    assert (done.status, "is a link" in done.stderr) == (1, True)
    assert os.listdir(theirs) == ["pyvenv.cfg"]


def test_an_environment_runs_the_code_of_one_checkout(prepared: Little, little: Little) -> None:
    done = little.inv("build", PIPELINE_VENV=str(prepared.venv))
    assert (done.status, f"runs the code of {prepared.folder}" in done.stderr) == (1, True)
    assert prepared.inv("build").stdout.startswith("task build")


@pytest.fixture
def theirs(ordinary_user: OrdinaryUser) -> Iterator[Little]:
    """A checkout of somebody who may not install packages."""
    made = make_little(ordinary_user.folder / "checkout")
    (made.folder / "requirements" / "system.txt").write_text(SYSTEM + MISSING)
    ordinary_user.own(made.folder)
    yield made


def test_who_may_not_install_gets_the_one_command(theirs: Little, ordinary_user: OrdinaryUser) -> None:
    done = ordinary_user.run(theirs.command, "build", env=theirs.environment, check=False)
    assert done.status == 1
    assert "  no-such-package              boots guests\n" in done.stderr
    assert "  sudo apt-get install --no-install-recommends no-such-package\n" in done.stderr
    assert "  sudo dnf install python3 no-such-rpm\n" in done.stderr
    assert not theirs.venv.exists()


@pytest.mark.slow
def test_the_doctor_speaks_also_when_packages_are_missing(theirs: Little, ordinary_user: OrdinaryUser) -> None:
    for _ in range(2):
        done = ordinary_user.run(theirs.command, "doctor", env=theirs.environment)
        assert done.stdout == f"task doctor in {theirs.venv}\n"
    done = ordinary_user.run(theirs.command, "build", env=theirs.environment, check=False)
    assert done.status == 1


def test_somebody_elses_checkout_is_told_so(ordinary_user: OrdinaryUser) -> None:
    if not ordinary_user.prefix:
        pytest.skip("the tests run as an ordinary user: there is nobody else's checkout")
    made = make_little(ordinary_user.folder / "checkout")
    done = ordinary_user.run(made.command, "build", env=made.environment, check=False)
    assert done.status == 1
    assert "cannot be written" in done.stderr
    assert "PIPELINE_VENV and PIPELINE_HOME" in done.stderr


def _elsewhere(little: Little, replaced: dict[str, str], *words: str) -> process.Finished:
    """Call it on a machine where files of the system are others."""
    binds = []
    for number, (file, content) in enumerate(replaced.items()):
        stand_in = little.folder / f"stand-in-{number}"
        stand_in.write_text(content)
        stand_in.chmod(0o755)
        binds += ["--ro-bind", str(stand_in), str(Path(file).resolve())]
    command = ["bwrap", "--dev-bind", "/", "/", *binds, "--", str(little.command), *words]
    path = f"{little.folder / 'tools'}:{os.environ['PATH']}"
    return process.run(command, env={**little.environment, "PATH": path}, check=False)


def test_an_unknown_distribution_is_refused(little: Little) -> None:
    done = _elsewhere(little, {"/etc/os-release": "ID=arch\n"}, "build")
    assert done.status == 1
    assert done.stderr == (
        "inv: this distribution is not supported\n"
        "hint: use Debian 12, Ubuntu 24.04, Fedora or Enterprise Linux 10 (or newer), on x86_64\n"
    )


def test_an_old_python_is_refused(little: Little) -> None:
    old = '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n'
    done = _elsewhere(little, {"/usr/bin/python3": old}, "build")
    assert done.status == 1
    assert done.stderr.startswith("inv: /usr/bin/python3 is Python 3.9.2, and 3.11 is needed\nhint: use Debian 12,")


def test_fedora_is_asked_about_its_own_packages(little: Little) -> None:
    (little.folder / "requirements" / "system.txt").write_text(SYSTEM + MISSING)
    tools = little.folder / "tools"
    tools.mkdir()
    (tools / "rpm").write_text('#!/bin/sh\ncase "$*" in *no-such-rpm) exit 1 ;; esac\n')
    (tools / "rpm").chmod(0o755)
    done = _elsewhere(little, {"/etc/os-release": "ID=fedora\n"}, "build")
    assert done.status == 1
    assert "  no-such-rpm                  boots guests\n" in done.stderr
    assert "  sudo dnf install no-such-rpm\n" in done.stderr
