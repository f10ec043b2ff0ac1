"""A passphrase that a person types reaches the workers that sign, and nothing else."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.signing.keys.keyring import Keyring

pytestmark = pytest.mark.subprocess
SECRET = "correct horse battery"
# A recipe whose only step signs, in a worker of the engine, and says where it was asked to.
SCRIPT = """
import sys
from pathlib import Path
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.build import build
from pipeline.engine.run.options import BuildOptions
from tests.integration.engine import light, light_signing

steering = Path(sys.argv[1])
light.Install = light_signing.Signing
recipe = light.recipe().model_copy(update={"signing": light.recipe().signing.model_copy(update={"key": "release"})})
try:
    results = build([recipe], BuildOptions(home=Home.default(), accelerator="tcg"), steps=light.steps(steering, 60))
except PipelineError as error:
    print("refused:", error)
else:
    print("built" if all(result.is_good for result in results) else f"failed: {results}")
"""


@contextlib.contextmanager
def on_a_terminal(home: Home, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The script on a terminal of its own, and that terminal's other side."""
    steering = folder / "steering"
    steering.mkdir()
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PIPELINE_HOME": str(home.root), "PYTHONPATH": str(CHECKOUT)}
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(steering), SECRET]
    child = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=CHECKOUT, env=environment, text=True,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield child, ours
    finally:
        child.kill()
        child.wait()
        os.close(ours)


@pytest.fixture
def protected(home: Home) -> Home:
    Keyring(home, passphrases=lambda name: None).new("release", protect=SECRET.encode())
    return home


def typed(child: subprocess.Popen[str], terminal: int, text: str) -> tuple[str, str]:
    """What the terminal and standard output show when ``text`` is typed at the prompt."""
    shown = b""
    while b"passphrase of the key release: " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, text.encode() + b"\n")
    said, _ = child.communicate(timeout=120)
    os.set_blocking(terminal, False)
    with contextlib.suppress(OSError):
        shown += os.read(terminal, 65536)
    return shown.decode(), said


def test_a_worker_signs_with_what_was_typed_before(protected: Home, tmp_path: Path) -> None:
    with on_a_terminal(protected, tmp_path) as (child, terminal):
        shown, said = typed(child, terminal, SECRET)
    assert said.strip().endswith("built"), shown + said
    assert shown.count("passphrase of the key") == 1
    # The log has what the step wrote, without the passphrase.
    logs = [path.read_bytes() for path in protected.root.rglob("*") if path.is_file()]
    assert any(b"typed: [secret]" in log for log in logs)
    assert not any(SECRET.encode() in log for log in logs)


def test_a_wrong_one_is_told_before_anything_is_built(protected: Home, tmp_path: Path) -> None:
    with on_a_terminal(protected, tmp_path) as (child, terminal):
        _, said = typed(child, terminal, "wrong horse battery")
    assert "refused: the passphrase for the key release is wrong" in said
    assert not (tmp_path / "steering" / "ran").exists()
