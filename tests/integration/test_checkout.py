"""What lies in the checkout beside code: documents, hooks, the virtual machine, the CI script. Their commands work."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from invoke.exceptions import ParseError
from invoke.parser import Parser

import tasks
from pipeline.base.home import CHECKOUT
from pipeline.cli import arguments, task
from pipeline.host.system import process


def _documents() -> list[Path]:
    return [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]


def commands(text: str) -> Iterator[str]:
    """Every ``./inv`` command line in the code of a document; where a line has several, each."""
    code = re.findall(r"```[^\n`]*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    for block, inline in code:
        for line in re.sub(r"\\\n\s*", " ", block or inline).splitlines():
            yield from re.findall(r"\./inv((?: [^\s;&|#)<>'\"]+)*)", line)


@pytest.mark.parametrize("document", _documents(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_command_in_the_documents_exists(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, _, made in task.chapters():
        # invoke takes a task's help texts away as it makes a parser.
        monkeypatch.setattr(made, "help", dict(made.help))
    known = {name for _, name, _ in task.chapters()}
    wrong = []
    for command in commands(document.read_text()):
        words = shlex.split(command)
        if not words or words[0].startswith("-") or words[0].isupper():
            continue
        if words == [words[0]] and words[0] in known:
            continue  # the text speaks of the task, whatever it waits for
        try:
            # A fresh parser for each: parsing leaves values in its contexts.
            Parser(contexts=tasks.namespace.to_contexts()).parse_argv(arguments.spelled_out(["inv", *words])[1:])
        except ParseError as error:
            wrong.append(f"./inv{command}: {error}")
    assert not wrong


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert list(commands("Type `./inv bulid tiny`.\n```sh\n./inv plan tiny && ./inv serve\n```")) == [
        " bulid tiny",
        " plan tiny",
        " serve",
    ]


@pytest.mark.parametrize("document", _documents(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_link_within_the_checkout_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    broken = [each for each in targets if "://" not in each and not (document.parent / each).exists()]
    assert not broken


def test_hooks_fetch_nothing_from_elsewhere() -> None:
    process.run([sys.executable, "-m", "pre_commit", "validate-config"], cwd=CHECKOUT)
    config = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system"}


def test_the_virtual_machine_is_described_validly(tmp_path: Path) -> None:
    if not shutil.which("vagrant"):
        pytest.skip("vagrant is not installed (./inv test installs it)")
    done = process.run(
        ["vagrant", "validate"],
        cwd=CHECKOUT,
        env={"VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")},
    )
    assert "validated successfully" in done.stdout


def test_continuous_integration_prepares_the_machine_and_runs_the_tests(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "inv").write_text('#!/bin/sh\necho "$CI: $*"; cat\ncase $1 in test) exit 5 ;; esac\n')
    (tmp_path / "inv").chmod(0o755)
    done = process.run([tmp_path / ".ci" / "run", "--shard=1/2"], cwd=Path("/"), check=False, stdin=b"not read")
    assert done == process.Finished(5, "true: --list\ntrue: test --shard=1/2\n", "")


def test_no_word_of_the_workplace() -> None:
    listed = process.run(["git", "ls-files", "-z"], cwd=CHECKOUT).stdout.split("\0")
    homes = re.compile(rb"/(root|home/[a-z]+|work|opt)/(main|shared|src|clone|\.venv|wheels)\b")
    found = [
        name for name in listed if name and _is_text(CHECKOUT / name) and homes.search((CHECKOUT / name).read_bytes())
    ]
    assert not found


def _is_text(file: Path) -> bool:
    return file.is_file() and b"\0" not in file.read_bytes()[:4096]
