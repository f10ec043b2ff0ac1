"""``./inv test`` on small trees of tests: what runs beside what, what the whole says, what Ctrl-C ends."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli import checks
from pipeline.host.system import process
from tests import skips

pytestmark = pytest.mark.slow

# Each waits until the other has begun, which it does only while both run.
_MEETS = """
import pathlib, time

def test_meets_the_other():
    pathlib.Path({mine!r}).touch()
    end = time.monotonic() + 120
    while not pathlib.Path({theirs!r}).exists():
        assert time.monotonic() < end
        time.sleep(0.05)

def test_is_on_its_own():
    assert {verdict}
"""
_WAITS = """
import pathlib, pytest, time

@pytest.fixture
def server():
    yield
    time.sleep(0.5)
    pathlib.Path({down!r}).touch()

def test_waits(server):
    pathlib.Path({up!r}).touch()
    time.sleep(600)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for room in ("guest", "integration", "unit"):
        (tmp_path / "tests" / room).mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -ra -p tests.conftest --import-mode=importlib -p no:cacheprovider\n"
    )
    return tmp_path


def _command(tree: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pytest",
        *checks.SIDE_BY_SIDE,
        "-n",
        "2",
        f"--rootdir={tree}",
        "-c",
        f"{tree}/pytest.ini",
    ]


def _meeting(tree: Path, *, verdict: bool) -> process.Finished:
    guest, server = str(tree / "guest.up"), str(tree / "server.up")
    (tree / "tests/guest/test_boot.py").write_text(_MEETS.format(mine=guest, theirs=server, verdict=verdict))
    (tree / "tests/integration/test_server.py").write_text(_MEETS.format(mine=server, theirs=guest, verdict=True))
    (tree / "tests/unit/test_plain.py").write_text("def test_plain(): pass\n")
    return process.run(_command(tree), cwd=tree, check=False, timeout=200)


def test_guests_and_servers_run_side_by_side_with_one_closing_line(tree: Path) -> None:
    done = _meeting(tree, verdict=True)
    assert done.status == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert " 5 passed in " in lines[-1]
    assert {line.split("] ")[1] for line in lines if line.startswith("[")} == {
        "tests/guest/test_boot.py ..",
        "tests/integration/test_server.py ..",
        "tests/unit/test_plain.py .",
    }


def test_what_needs_the_same_servers_is_run_by_one_process(tree: Path) -> None:
    ran = tree / "ran"
    text = f"import os\n\ndef test_here():\n    print(os.getpid(), file=open({str(ran)!r}, 'a'))\n"
    for name in ("environments/test_swift.py", "imageservice/stores/test_a.py", "imageservice/stores/test_b.py"):
        file = tree / "tests/integration" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for number in range(10):
        (tree / f"tests/integration/test_{number}.py").write_text("def test_fills_up(): pass\n")
    done = process.run(_command(tree), cwd=tree, check=False, timeout=200)
    assert done.status == 0, done.stdout + done.stderr
    processes = ran.read_text().split()
    assert len(processes) == 3
    assert len(set(processes)) == 1


def test_a_failure_on_one_side_fails_the_whole(tree: Path) -> None:
    done = _meeting(tree, verdict=False)
    assert done.status == 1
    assert " 1 failed, 4 passed in " in done.stdout.splitlines()[-1]
    assert "FAILED tests/guest/test_boot.py::test_is_on_its_own" in done.stdout
    assert "tests/guest/test_boot.py .F" in done.stdout


@pytest.mark.parametrize("everybody", [True, False], ids=["the terminal's", "one process's"])
def test_ctrl_c_ends_both_sides_with_what_they_started(tree: Path, everybody: bool) -> None:
    up, down = [[tree / f"{room}.{state}" for room in ("guest", "integration")] for state in ("up", "down")]
    for began, ended in zip(up, down, strict=True):
        file = tree / "tests" / began.stem / f"test_{began.stem}.py"
        file.write_text(_WAITS.format(up=str(began), down=str(ended)))
    log = tree / "log"
    with log.open("wb") as output, process.started(_command(tree), cwd=tree, log=output) as child:
        end = time.monotonic() + 120
        while not all(file.exists() for file in up):
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        (os.killpg if everybody else os.kill)(child.pid, signal.SIGINT)
        assert child.wait(timeout=120) == pytest.ExitCode.INTERRUPTED, log.read_text()
        assert [file for file in down if not file.exists()] == []


@pytest.mark.parametrize(
    ("everything", "fails", "status"), [("1", False, skips.NOT_ALLOWED), ("1", True, skips.NOT_ALLOWED), ("", False, 0)]
)
def test_a_skip_that_nobody_allowed_fails_a_run_where_everything_must_run(
    tree: Path, everything: str, fails: bool, status: int
) -> None:
    """With another status than failures, which may pass when they are run again."""
    (tree / "tests/unit/test_other.py").write_text(f"def test_other(): assert {not fails}\n")
    text = "import pytest\n\n@pytest.mark.skip(reason={reason!r})\ndef test_not(): pass\n"
    (tree / "tests/guest/test_here.py").write_text(text.format(reason="KVM works here"))
    (tree / "tests/unit/test_gone.py").write_text(text.format(reason="the program x is not installed"))
    done = process.run(_command(tree), cwd=tree, env={"PIPELINE_ALL_SERVERS": everything}, check=False, timeout=200)
    assert done.status == status, done.stdout
    said = "tests/unit/test_gone.py::test_not: the program x is not installed"
    assert (said in done.stdout.splitlines()) == bool(everything)
    assert "] tests/unit/test_gone.py:3: the program x is not installed" in done.stdout
    assert f"1 {'failed' if fails else 'passed'}, 2 skipped in " in done.stdout.splitlines()[-1]
