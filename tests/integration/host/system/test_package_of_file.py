"""Files of this machine and the packages they came from."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pipeline.host.system import package_of_file, process, tool_versions

pytestmark = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs a machine with Debian packages")


def test_a_file_is_named_by_its_package_and_digest() -> None:
    file = Path("/usr/bin/dpkg-query")
    (found,) = package_of_file.materials([file, file])
    version = process.run(["dpkg-query", "-W", "-f=${Version}", "dpkg"]).stdout
    assert found["name"] == str(file)
    assert found["uri"].startswith("pkg:deb/")
    assert found["uri"].endswith("#usr/bin/dpkg-query")
    assert f"/dpkg@{version.replace('+', '%2B').replace('~', '~')}?arch=" in found["uri"]
    assert found["digest"] == {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_merged_folders_are_the_same_folder() -> None:
    known = package_of_file.packages([Path("/bin/sh").resolve(), Path("/usr/bin/ldd"), Path("/bin/ldd")])
    assert known[Path("/usr/bin/ldd")] == known[Path("/bin/ldd")]
    assert known[Path("/usr/bin/ldd")].name == "libc-bin"


def test_a_file_of_no_package_is_still_named(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("x")
    assert package_of_file.packages([file]) == {}
    assert package_of_file.materials([file])[0]["uri"] == file.as_uri()


def test_answers_are_remembered_while_their_files_stay(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho x >>$0.asked\necho $1 one\n")
    program.chmod(0o755)
    asked = tmp_path / "program.asked"
    for _ in range(3):
        assert tool_versions.version(program) == "--version one"
    assert asked.read_text() == "x\n"
    program.write_text("#!/bin/sh\necho x >>$0.asked\necho $1 two, later\n")
    assert tool_versions.version(program) == "--version two, later"
    assert asked.read_text() == "x\nx\n"


def test_a_failing_answer_is_an_error_unless_it_does_not_matter() -> None:
    with pytest.raises(process.ProcessFailed):
        tool_versions.output_of(["false"])
    assert tool_versions.output_of(["false"], check=False).status == 1
