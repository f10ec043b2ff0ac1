"""The examples in docs/ci: they parse, and what they call exists."""

from __future__ import annotations

import configparser
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import tasks  # noqa: F401  (makes the tasks)
from pipeline.base.home import CHECKOUT
from pipeline.cli import task
from pipeline.host.system import process

EXAMPLES = sorted((CHECKOUT / "docs" / "ci").iterdir())


def _text(name: str) -> str:
    return (CHECKOUT / "docs" / "ci" / name).read_text()


def test_every_example_is_told_of_and_every_one_told_of_is_there() -> None:
    told = set(re.findall(r"\]\(ci/([^)]+)\)", (CHECKOUT / "docs" / "ci.md").read_text()))
    assert told == {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_tasks_that_are_called_exist_with_their_options(path: Path) -> None:
    made = {name: each for _, name, each in task.chapters()}
    calls = re.findall(r"(?:\./|/)inv ((?:[a-z][\w.]*)(?: [-\w./]+)*)", path.read_text())
    if path.name not in ("golden-images.timer", "zuul.yaml"):
        assert calls
    for call in calls:
        name, *words = call.split()
        texts = dict(made[name].help)
        options = {f"--{argument.name}" for argument in made[name].get_arguments()}
        made[name].help = texts  # invoke takes them away as it goes
        assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_yaml_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text())


def test_github_runs_one_night_at_a_time_and_keeps_the_evidence() -> None:
    # YAML 1.1 takes the key "on" for a truth.
    workflow: dict[Any, Any] = yaml.safe_load(_text("github.yaml"))
    assert workflow[True]["schedule"] and workflow["concurrency"]
    steps = workflow["jobs"]["nightly"]["steps"]
    assert all(re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    night = next(location for location, step in enumerate(steps) if "nightly" in step.get("run", ""))
    assert [step["if"] for step in steps[night + 1 :]] == ["always()"] * 3, "also after a night that failed"
    # The folder's name begins with a dot, and the action leaves such out unless it is told otherwise.
    assert steps[-1]["with"] == {"name": "run", "path": ".pipeline/last-run/", "include-hidden-files": True}


def test_gitlab_reads_the_report() -> None:
    job = yaml.safe_load(_text("gitlab.yaml"))["nightly"]
    assert job["artifacts"]["reports"]["junit"] == ".pipeline/last-run/junit.xml"


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.subprocess
def test_gitlab_keeps_the_cache_of_a_night_that_failed(tmp_path: Path, status: int) -> None:
    job = yaml.safe_load(_text("gitlab.yaml"))["nightly"]
    assert job["cache"]["when"] == "always"
    called = tmp_path / "inv"
    called.write_text(f'#!/bin/sh\necho "$@" >> called\n[ "$1" != nightly ] || exit {status}\n')
    called.chmod(0o755)
    # As its runner does: all lines in one shell that ends at the first failure.
    done = process.run(["sh", "-ec", "\n".join(job["script"])], cwd=tmp_path, check=False)
    assert done.status == status
    assert (tmp_path / "called").read_text() == "nightly --ci\ncache.export cache.tar.gz\n"


@pytest.mark.subprocess
@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_keys_and_clouds_are_given_to_the_runner(tmp_path: Path, system: str) -> None:
    made = tmp_path / "elsewhere" / "keys" / "default"
    made.mkdir(parents=True, mode=0o700)
    (made / "1.pem").write_text("a key")
    (command,) = re.findall(r"  (tar --create .*)\n", (CHECKOUT / "docs" / "ci.md").read_text())
    packed = process.run(["sh", "-c", command.replace(".pipeline", "elsewhere")], cwd=tmp_path).stdout
    runner = tmp_path / "runner"
    runner.mkdir()
    clouds = tmp_path / "clouds.yaml"
    if system == "github":
        steps = yaml.safe_load(_text("github.yaml"))["jobs"]["nightly"]["steps"]
        (script,) = [step["run"] for step in steps if "KEYS" in step.get("env", {})]
        given = {"KEYS": packed, "CLOUDS": "clouds: {}", "OS_CLIENT_CONFIG_FILE": str(clouds)}
    else:
        (tmp_path / "keys.txt").write_text(packed)
        lines = yaml.safe_load(_text("gitlab.yaml"))["nightly"]["script"]
        script = "\n".join(line for line in lines if "inv" not in line and "exit" not in line)
        given = {"GOLDEN_IMAGES_KEYS": str(tmp_path / "keys.txt")}
    for variables in (dict.fromkeys(given, ""), given):
        process.run(["sh", "-ec", script], cwd=runner, env=variables)
    assert (runner / ".pipeline" / "keys" / "default" / "1.pem").read_text() == "a key"
    assert (runner / ".pipeline").stat().st_mode & 0o077 == 0
    if system == "github":
        assert clouds.read_text() == "clouds: {}" and clouds.stat().st_mode & 0o077 == 0


def test_zuul_brings_the_logs_of_a_night_that_failed_home() -> None:
    ((play,),) = (yaml.safe_load(_text("zuul-nightly.yaml")),)
    (night,) = play["tasks"]
    # The checkout, and a home in it, would be new each night: new keys, and nothing known.
    (build,) = night["block"]
    assert build["environment"]["PIPELINE_HOME"] == "{{ home }}" and "checkout" not in play["vars"]["home"]
    assert "nightly" in str(night["block"]) and "last-run" in str(night["always"])


def test_units_have_what_systemd_knows(tmp_path: Path) -> None:
    for name in ("golden-images.service", "golden-images.timer"):
        unit = configparser.ConfigParser(strict=True, interpolation=None)
        unit.optionxform = str  # type: ignore[method-assign,assignment]
        unit.read_string(_text(name))
        assert {"Unit", "Install"} < set(unit.sections())
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed; only the form was checked")
    units = [str(CHECKOUT / "docs" / "ci" / f"golden-images.{kind}") for kind in ("service", "timer")]
    done = process.run(["systemd-analyze", "verify", "--man=no", *units], check=False)
    # The program it starts lies where the operator puts it.
    complaints = [line for line in done.stderr.splitlines() if "golden-images" in line and "not executable" not in line]
    assert not complaints


def test_cron_line() -> None:
    (line,) = [line for line in _text("golden-images.cron").splitlines() if not line.startswith("#")]
    assert re.match(r"\d+ \d+ \* \* \* golden-images \S", line)
    assert "%" not in line, "cron would take it for a line break"
