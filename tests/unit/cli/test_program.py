"""The command line as a person types it, in a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process

pytestmark = pytest.mark.subprocess


def inv(*words: str, cwd: Path = CHECKOUT) -> process.Finished:
    return process.run([sys.executable, "-m", "pipeline.cli", *words], check=False, cwd=cwd, env={"COLUMNS": "100"})


def test_the_list_is_a_tour_with_a_line_for_every_task() -> None:
    done = inv("--list")
    assert done.status == 0
    chapters = [line for line in done.stdout.splitlines() if line and not line.startswith((" ", "Usage"))]
    assert chapters[-1] == "This machine and this code"
    tasks = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  ")]
    assert {"doctor", "test", "lint"} <= {words[0] for words in tasks}
    assert all(len(words) == 2 and words[1].endswith(".") for words in tasks), (
        "a task without a sentence on what it does"
    )
    assert inv().stdout.startswith(done.stdout)


def test_invoke_itself_offers_the_same_tasks() -> None:
    done = process.run([sys.executable, "-m", "invoke", "--list"], cwd=CHECKOUT)
    assert "doctor" in done.stdout


def test_help_explains_one_task() -> None:
    for words in (["--help", "test"], ["test", "--help"]):
        output = inv(*words).stdout
        assert output.startswith("Usage: ./inv test [--options]\n\nRun the tests of this code.\n")
        assert "--shard=STRING   one part of the tests" in output
    # A task that waits for an argument does not take this for it.
    assert inv("verify", "--help").stdout.startswith("Usage: ./inv verify TARGET")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tset"], "error: there is no task tset (did you mean test?)\nhint: ./inv --list shows all tasks\n"),
        (["test", "--fsat"], "error: test has no option --fsat (did you mean --fast?)\nhint: ./inv --help test\n"),
        (["test", "--shard"], "error: the option --shard needs a value\n"),
        (["runs", "--count", "many"], "error: 'many' is no whole number\nhint: ./inv --help runs\n"),
        (["build", "tiny", "--jobs=2.5"], "error: '2.5' is no whole number\nhint: ./inv --help build\n"),
        (["--help", "tset"], "error: there is no task tset (did you mean test?)\nhint: ./inv --list shows all tasks\n"),
        (["--bogus"], "error: there is no option --bogus\nhint: ./inv --list shows all tasks\n"),
        (["--list", "nowhere"], "error: Sub-collection 'nowhere' not found!\nhint: ./inv --list shows all tasks\n"),
    ],
)
def test_a_wrong_command_line_is_answered_in_words(words: list[str], message: str) -> None:
    assert inv(*words) == process.Finished(2, "", message)


def test_a_value_that_makes_no_sense() -> None:
    done = inv("test", "--shard=3/2")
    assert (done.status, done.stderr.splitlines()[0]) == (1, "error: --shard=3/2: not one part of several")
    assert inv("test", "--fast", "--soak").stderr == "error: --fast, --all and --soak exclude each other\n"


def test_it_works_from_anywhere(tmp_path: Path) -> None:
    assert inv("--list", cwd=tmp_path) == inv("--list")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    script = f"{sys.executable} -m pipeline.cli --list 2>&1 | head -n 1"
    assert process.run(["sh", "-c", script], cwd=CHECKOUT).stdout.startswith("Usage")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_task_through_its_cleanup(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import sys, time, types; from pipeline.cli import program, task\n"
        "tasks = sys.modules['tasks'] = types.ModuleType('tasks')\n"
        "@task.task('wait', 'Test')\n"
        "def wait(context):\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned', flush=True)\n"
        "tasks.namespace = task.namespace(); sys.argv = ['inv', 'wait']; program.main()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=CHECKOUT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(number)
        assert child.stdout.read() == b"cleaned\n"
    assert child.returncode == 128 + number
