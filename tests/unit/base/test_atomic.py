import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.base import atomic
from pipeline.base.owner import Owner


def test_a_file_appears_with_its_content_and_mode(tmp_path: Path) -> None:
    target = tmp_path / "new" / "key.pem"
    atomic.write_text(target, "secret", mode=0o600)
    assert target.read_text() == "secret"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(target.parent) == ["key.pem"]


def test_a_replaced_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    target = tmp_path / "state"
    atomic.write_text(target, "old")
    with atomic.new_file(target) as temporary:
        temporary.write_text("new, not yet")
        assert target.read_text() == "old"
    assert target.read_text() == "new, not yet"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "state"
    atomic.write_text(target, "old")
    with pytest.raises(RuntimeError), atomic.new_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["state"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with atomic.new_folder(tmp_path / "run") as temporary:
        (temporary / "a").write_text("1")
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "a").read_text() == "1"


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.new_folder(tmp_path / "run") as temporary:
        (temporary / "a").write_text("1")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_folder_that_exists_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").touch()
    with pytest.raises(OSError, match="not empty"), atomic.new_folder(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.subprocess
def test_a_full_disk_loses_nothing(small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(64 << 10)
    atomic.write_bytes(folder / "state", b"old")
    with pytest.raises(OSError, match="No space") as caught:
        atomic.write_bytes(folder / "state", bytes(1 << 20))
    assert caught.value.errno == errno.ENOSPC
    assert (folder / "state").read_bytes() == b"old"
    assert os.listdir(folder) == ["state"]


_KILLED = """
import sys, time
from pathlib import Path
from pipeline.base import atomic
with atomic.new_file(Path(sys.argv[1]) / "state") as file, atomic.new_folder(Path(sys.argv[1]) / "run") as folder:
    file.write_text("half")
    (folder / "half").touch()
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.subprocess
def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "state", "old")
    foreign = tmp_path / ".partial.someone-else"
    foreign.touch()
    ours = atomic.temporary_name(tmp_path / "mine")
    ours.touch()
    with subprocess.Popen([sys.executable, "-c", _KILLED, tmp_path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert atomic.sweep(tmp_path) == []
        child.send_signal(signal.SIGKILL)
    left = {path for path in tmp_path.iterdir() if (owner := Owner.find(path.name)) and owner.pid == child.pid}
    assert len(left) == 2
    assert set(atomic.sweep(tmp_path)) == left
    assert {path.name for path in tmp_path.iterdir()} == {"state", foreign.name, ours.name}
    assert (tmp_path / "state").read_text() == "old"


def test_sweeping_what_is_not_there_is_fine(tmp_path: Path) -> None:
    assert atomic.sweep(tmp_path / "nowhere") == []
