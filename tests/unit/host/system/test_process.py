import sys
import time
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import process

pytestmark = pytest.mark.subprocess


def test_the_result_is_what_was_printed() -> None:
    done = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert done == process.Finished(3, "out\n", "err\n")


def test_a_failure_shows_a_command_that_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(process.ProcessFailed) as caught:
        process.run(["sh", "-c", "echo why >&2; exit 3", "a b"], hint="try again")
    error = caught.value
    assert (error.message, error.status, error.hint) == ("sh failed with status 3", 3, "try again")
    command, *tail = error.details
    assert tail == ["why"]
    assert process.run(["sh", "-c", command.removeprefix("$ ")], check=False).status == 3


def test_a_signal_is_named() -> None:
    with pytest.raises(process.ProcessFailed, match="was ended by SIGSEGV"):
        process.run(["sh", "-c", "kill -SEGV $$"])


def test_a_deadline_ends_the_program_and_its_children(tmp_path: Path) -> None:
    note = tmp_path / "child"
    with pytest.raises(process.ProcessFailed, match="did not end within 1 s") as caught:
        process.run(["sh", "-c", f"echo soon; sleep 6000 & echo $! >{note}; wait"], timeout=1)
    assert "soon" in caught.value.details
    _wait_until_gone(int(note.read_text()))


def test_a_running_program_ends_with_its_block() -> None:
    with process.started(["sleep", "600"]) as child:
        assert child.poll() is None
    assert child.poll() is not None
    _wait_until_gone(child.pid)


def test_standard_input_is_closed() -> None:
    assert process.run(["cat"], timeout=10).stdout == ""
    assert process.run(["cat"], stdin=b"given").stdout == "given"


def test_secrets_of_ours_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PASSWORD", "hunter2")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    said = process.run([sys.executable, "-c", "import os; print(dict(os.environ))"], env={"EXTRA": "1"}).stdout
    assert "hunter2" not in said
    assert "'LC_ALL': 'C.UTF-8'" in said
    assert "'EXTRA': '1'" in said


def test_output_goes_to_the_log_and_its_end_into_the_error(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        log.write(b"earlier\n")
        log.flush()
        with pytest.raises(process.ProcessFailed) as caught:
            process.run(["sh", "-c", "echo out; echo err >&2; false"], log=log)
    assert (tmp_path / "log").read_text() == "earlier\nout\nerr\n"
    assert caught.value.details[1:] == ("out", "err")


def test_long_output_is_cut_in_the_error_only() -> None:
    with pytest.raises(process.ProcessFailed) as caught:
        process.run(["sh", "-c", "seq 1000; false"])
    assert caught.value.details[1:] == tuple(str(number) for number in range(981, 1001))


@pytest.mark.parametrize(
    ("program", "message"), [("no-such-program", "not installed"), ("/etc/passwd", "may not be run")]
)
def test_a_program_that_cannot_start(program: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        process.run([program])


def _wait_until_gone(pid: int) -> None:
    """Reparented children are reaped by init a moment later."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
