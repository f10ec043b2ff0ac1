"""Hold commit messages to one form: by a hook at once, and by ``./inv lint`` for all new commits.

``python -m pipeline.cli.commits FILE`` is what the hook runs, with the message git is about to take.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.host.system import process

LONGEST_SUBJECT = 72
# When the rule came; what is older is left as it is. A date also means something in a shallow clone.
SINCE = "2026-11-30T20:00:00+00:00"

_SCISSORS = " >8 "
_TRAILER = re.compile(r"[A-Z][a-z]+(-[A-Za-z]+)+: ")  # as Signed-off-by: says nothing of the change
_HELPERS = ("fixup! ", "squash! ", "amend! ")  # gone again once they are squashed
_HOOK = """\
#!/bin/sh
# commit-msg, written by ./inv lint: see pipeline/cli/commits.py. Work trees without it are left alone.
top=$(git rev-parse --show-toplevel) && python=${PIPELINE_VENV:-$top/.venv}/bin/python || exit 0
[ -x "$python" ] && [ -f "$top/pipeline/cli/commits.py" ] || exit 0
cd "$top" && exec "$python" -m pipeline.cli.commits "$1"
"""


def problems(message: str) -> Iterator[str]:
    """Yield everything that is wrong with a commit message, one sentence each."""
    subject, *rest = message.rstrip().split("\n")
    if len(subject) > LONGEST_SUBJECT:
        yield f"its subject has {len(subject)} characters, of at most {LONGEST_SUBJECT}: say what, and why in the body"
    if rest and rest[0].strip():
        yield "its second line is not empty, so that git takes it for the subject's"
    if not any(line.strip() and not _TRAILER.match(line) for line in rest[1:]):
        yield "it has no body: say why, after an empty line"


def unfit() -> list[str]:
    """Return what is wrong with the commits since ``SINCE``; merges and folders without a repository have nothing to
    say.
    """
    command = ["git", "log", "--no-merges", f"--since={SINCE}", "--format=%h%n%B%x00"]
    listed = process.run(command, cwd=CHECKOUT, check=False)
    if listed.status != 0:
        return []
    found = []
    for entry in listed.stdout.split("\0"):
        name, _, message = entry.strip("\n").partition("\n")
        found += [f"commit {name} ({message[:40]} ...): {problem}" for problem in problems(message)] if name else []
    return found


def install_hook() -> str | None:
    """Have git ask before each commit, unless there is a hook already; returns what the user has to do themselves."""
    asked = ["git", "rev-parse", "--path-format=absolute", "--git-common-dir", "--git-path", "hooks/commit-msg"]
    found = process.run(asked, cwd=CHECKOUT, check=False)
    if found.status != 0:
        return None  # an archive, not a clone
    folder, hook = map(Path, found.stdout.splitlines())
    if not hook.exists() and folder in hook.parents and os.access(folder, os.W_OK):
        atomic.write_text(hook, _HOOK, mode=0o755)
    elif not hook.exists() or "pipeline.cli.commits" not in hook.read_text(errors="replace"):
        return f"have {hook} run: python -m pipeline.cli.commits MESSAGE-FILE"
    return None


def main() -> None:
    """Judge the message in the file that git names; raises ``SystemExit``."""
    text = Path(sys.argv[1]).read_text(errors="replace")
    kept = "".join(line for line in _before_scissors(text))
    message = process.run(["git", "stripspace", "--strip-comments"], stdin=kept.encode()).stdout
    if not message or message.startswith((*_HELPERS, "Merge ")):
        return
    if found := list(problems(message)):
        error = PipelineError("this commit's message is not as CONTRIBUTING.md asks", details=found)
        raise SystemExit("\n".join([error.message, *(f"  {each}" for each in error.details)]))


def _before_scissors(text: str) -> Iterator[str]:
    """Yield the lines above the diff that ``git commit --verbose`` shows."""
    for line in text.splitlines(keepends=True):
        if _SCISSORS in line and line.lstrip("#;@!$%^&|: ").startswith("-"):
            return
        yield line


if __name__ == "__main__":
    main()
