"""What a listing of a guest tells, held against real folders and the shell patterns of this machine."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.host.guestfs.guest_tree import GuestTree, parsed

LATIN = os.fsdecode(b"caf\xe9.bak")


def tree(**links: str) -> GuestTree:
    made = GuestTree()
    for path in ("/var/log/a.log", "/var/log/.hidden", f"/var/log/{LATIN}", "/run/utmp", "/etc/x\ny"):
        made.add(path, "f")
    for path, target in {"/var/run": "/run", "/var/up": "../run", "/loop": "loop", "/gone": "nowhere", **links}.items():
        made.add(path, "l", target)
    return made


def test_a_listing_is_read_whatever_its_names_are() -> None:
    found = parsed(b"dvar\0\0fvar/caf\xe9.bak\0\0lvar/link\0caf\xe9.bak\0feven\nso\0\0")
    assert found.kinds == {"/var": "d", f"/var/{LATIN}": "f", "/var/link": "l", "/even\nso": "f"}
    assert found.target("/var/link") == f"/var/{LATIN}"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("/var/log/*", ["/var/log/a.log", f"/var/log/{LATIN}"]),
        ("/var/log/.[!.]*", ["/var/log/.hidden"]),
        ("/var/run/utmp*", ["/var/run/utmp"]),
        ("/var/up/utmp", ["/var/up/utmp"]),
        ("/var/*/", ["/var/log/", "/var/run/", "/var/up/"]),
        ("/*/x?y", ["/etc/x\ny"]),
        ("/loop/*", []),
        ("/gone", ["/gone"]),
        ("/gone/*", []),
        ("/absent/*", []),
    ],
)
def test_patterns_follow_the_guests_own_links(pattern: str, matches: list[str]) -> None:
    assert tree().glob(pattern) == sorted(matches)


def test_where_a_path_lies() -> None:
    found = tree()
    assert found.real("/var/run/utmp") == "/run/utmp"
    assert found.real("/var/run") == "/var/run" and found.target("/var/run") == "/run"
    assert found.real("/loop/x") is None and found.real("/absent") is None and found.real("/") == ""
    assert found.target("/var/../../etc") == "/etc"
    assert found.is_file("/var/run/utmp") and not found.is_file("/var/run")


def test_what_is_removed_is_gone_with_all_below() -> None:
    found = tree()
    found.remove("/var/log")
    assert found.glob("/var/*") == ["/var/run", "/var/up"] and "/var/log/a.log" not in found.kinds
    found.remove("/var/log")
    found.add("/var/log/new/file", "f")
    assert found.glob("/var/log/*/") == ["/var/log/new/"]


def test_only_whole_paths_are_looked_for() -> None:
    with pytest.raises(ValueError, match="not a pattern of whole paths: etc"):
        tree().glob("etc/*")


NAME = st.text("ab.[é", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))


@given(
    paths=st.lists(st.lists(NAME, min_size=1, max_size=3), max_size=6),
    links=st.lists(st.tuples(NAME, st.lists(st.one_of(NAME, st.just("..")), min_size=1, max_size=2)), max_size=3),
    pattern=st.lists(st.sampled_from(["*", "a*", "?", "[ab]", ".*", ".[!.]*", "a", "b."]), min_size=1, max_size=3),
    folders=st.booleans(),
)
def test_patterns_match_what_they_match_on_a_disk(
    paths: list[list[str]], links: list[tuple[str, list[str]]], pattern: list[str], folders: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root, found = Path(name, "root"), GuestTree()
        root.mkdir()
        for parts in paths:
            file = root.joinpath(*parts)
            if not any(parent.is_file() for parent in [file, *file.parents]) and not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("")
                found.add(f"/{'/'.join(parts)}", "f")
        for link, target in links:
            # Out of the folder, this machine's own root would be another one than the guest's.
            if not os.path.lexists(root / link) and target[0] != "..":
                (root / link).symlink_to("/".join(target))
                found.add(f"/{link}", "l", "/".join(target))
        wanted = "/".join(pattern) + "/" * folders
        real = sorted(f"/{path}" for path in glob.glob(wanted, root_dir=root) if not _leaves(root, path))
        mine = [path for path in found.glob(f"/{wanted}") if not _leaves(root, path.lstrip("/"))]
    assert mine == real


def _leaves(root: Path, path: str) -> bool:
    return not (root / path).parent.resolve().is_relative_to(root.resolve())
