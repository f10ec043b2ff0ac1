"""The tiny guest's readers of metadata, run by the busybox that runs them in the guest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.steps.tiny.system import BUSYBOX, GUEST_FILES

pytestmark = pytest.mark.subprocess
READERS = GUEST_FILES / "usr" / "lib" / "tiny"

# What the reader keeps as it is: printable ASCII. (Other characters pass through as bytes; control ones are dropped.)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
NAME = st.from_regex(r"[a-z][a-z_-]{0,8}", fullmatch=True)
DATA = st.recursive(
    TEXT | st.integers(-(10**6), 10**6) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
    max_leaves=8,
)


def read(reader: str, text: str) -> tuple[int, list[str]]:
    finished = subprocess.run(
        [BUSYBOX, "awk", "-f", READERS / reader], input=text.encode(), capture_output=True, timeout=60, check=False
    )
    return finished.returncode, finished.stdout.decode(errors="replace").splitlines()


def flat(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{path}/{key}" if path else key)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from flat(each, f"{path}/{index}")
    else:
        yield f"{path}\t{value if isinstance(value, str) else json.dumps(value)}"


@settings(max_examples=60)
@given(data=st.dictionaries(NAME, DATA, max_size=4), indent=st.sampled_from([None, 1]))
def test_json_is_read_as_python_reads_it(data: dict[str, Any], indent: int | None) -> None:
    assert read("json-lines", json.dumps(data, indent=indent)) == (0, list(flat(data)))


@settings(max_examples=40)
@given(st.text(st.characters(min_codepoint=9, max_codepoint=126), max_size=60))
def test_what_is_not_json_ends_and_is_told(text: str) -> None:
    status, _ = read("json-lines", text)
    try:
        json.loads(text)
    except ValueError:
        return
    assert status == 0


@pytest.mark.parametrize("text", ["", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', "[1", '"x', '{"a" 1}', "{1:2}"])
def test_broken_json_is_an_error(text: str) -> None:
    assert read("json-lines", text)[0] == 1


def test_json_of_a_config_drive() -> None:
    said = {"public_keys": {"mine": "ssh-ed25519 AAAA me@x\n"}, "hostname": "a\u00e9b", "many": "one\ntwo"}
    status, lines = read("json-lines", json.dumps(said))
    assert status == 0
    assert lines == ["public_keys/mine\tssh-ed25519 AAAA me@x", "hostname\ta?b", "many\tone", "many\ttwo"]


@pytest.mark.parametrize(
    "text",
    [
        "instance-id: i-1\nlocal-hostname: web\n",
        "# comment\n---\ninstance-id: 'i-1'  \npublic-keys:\n  - ssh-rsa AAAA a@b\n  - \"ssh-rsa BBBB c\"\n",
        "public-keys:\n  default: ssh-rsa AAAA a@b # mine\n  other: ssh-ed25519 C\ninstance-id: x\n",
    ],
)
def test_simple_yaml_is_read_as_yaml_reads_it(text: str) -> None:
    assert read("yaml-lines", text) == (0, list(flat(yaml.safe_load(text))))


def test_guest_files_carry_no_mistakes_of_windows_editors() -> None:
    for file in Path(GUEST_FILES).rglob("*"):
        if file.is_file():
            assert b"\r" not in file.read_bytes(), file
