import errno
from pathlib import Path

import pytest
from invoke.context import Context

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.cli import task
from pipeline.cli.task import Exit


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_chapters", {})


def _end(failure: BaseException) -> int:
    """How a task that fails in this way ends the program."""

    @task.task("fail", "Test")
    def fail(context: Context) -> None:
        raise failure

    with pytest.raises(SystemExit) as ended:
        fail(Context())
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_failure_prints_message_details_and_hint_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    error = PipelineError("the key is locked", details=["line one", "[red]not markup[/]"], hint="say the passphrase")
    assert _end(error) == Exit.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: the key is locked\n  line one\n  [red]not markup[/]\nhint: say the passphrase\n"


def test_a_long_line_is_not_wrapped_so_that_it_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    command = "$ qemu " + "-device x " * 60
    _end(PipelineError("QEMU failed", details=[command]))
    assert f"  {command}\n" in capsys.readouterr().err


def test_an_interrupt_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    assert _end(KeyboardInterrupt()) == Exit.INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


def test_what_a_task_prints_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain ``invoke`` starts tasks as well."""

    @task.task("say", "Test")
    def say(context: Context) -> None:
        print("a\x1b[2K\x9b1A\u202eb")

    say(Context())
    assert capsys.readouterr().out == "a�[2K�1A�b\n"


def test_a_full_disk_is_not_a_bug(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    assert _end(OSError(errno.ENOSPC, "No space left on device", "/var/x")) == Exit.FAILED
    out = capsys.readouterr().err
    assert out.startswith("error: /var/x: No space left on device\nhint: free some space")
    assert not home.root.exists()
    assert _end(OSError(errno.ENOSPC, "No space left on device")) == Exit.FAILED
    assert f"  state is in {home.root}, scratch in " in capsys.readouterr().err


@pytest.mark.parametrize("failure", [ZeroDivisionError("oops"), OSError(errno.EBADF, "Bad file descriptor")])
def test_a_bug_leaves_a_report(capsys: pytest.CaptureFixture[str], home: Home, failure: Exception) -> None:
    assert _end(failure) == Exit.BUG
    output = capsys.readouterr().err
    (report,) = (home.root / "crashes").iterdir()
    assert type(failure).__name__ in output
    assert str(report) in output
    assert "Traceback" not in output
    assert "Traceback" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


def test_a_status_of_the_tasks_own_passes() -> None:
    assert _end(SystemExit(7)) == 7


def test_tasks_are_gathered_by_their_dotted_names_and_kept_in_order() -> None:
    for name, chapter in (
        ("serve", "Service"),
        ("build", "Build"),
        ("service.stop", "Service"),
        ("service.start", "Service"),
    ):

        @task.task(name, chapter)
        def made(context: Context) -> None:
            """Do it."""

    assert task.namespace().task_names.keys() == {"serve", "build", "service.stop", "service.start"}
    assert [name for _, name, _ in task.chapters()] == ["serve", "service.stop", "service.start", "build"]


def test_the_report_of_a_bug_that_cannot_be_written_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "file"))
    assert _end(ZeroDivisionError("oops")) == Exit.BUG
    assert "the report could not be written" in capsys.readouterr().err
