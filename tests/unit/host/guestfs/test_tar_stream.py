"""The stream of a tree's files: this machine's tar and shell on one side; the appliance's are in tests/guest."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import contents, tar_stream
from pipeline.host.guestfs.manifest import nodes
from tests.standins.tree_port import TreePort

pytestmark = pytest.mark.subprocess
LARGE = os.urandom(3 << 20) + bytes(5 << 20)
NAMES = [b"plain", b"new\nline", b"\xff\xfe", b"-b", b"q'uo\"te", b"a" * 200]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with odd names, links, and a file of many records."""
    root = tmp_path / "root"
    root.mkdir()
    for name in NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(name)
    (root / "large").write_bytes(LARGE)
    (root / "again").hardlink_to(root / "large")
    (root / "link").symlink_to("nowhere")
    return root


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Longer than a socket's address may be."""
    folder = tmp_path / ("s" * 120)
    folder.mkdir()
    return folder


def gone(group: int) -> bool:
    """Whether no process of a group is left; those that ended may wait for somebody to ask."""
    stats = (path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists())
    return not [fields for fields in stats if int(fields[2]) == group and fields[0] != "Z"]


def test_every_file_comes_as_it_is_and_streams_can_follow_each_other(root: Path, scratch: Path) -> None:
    port = TreePort(scratch, root)
    for _ in range(3):
        found: dict[bytes, bytes] = {}
        with tar_stream.opened(port, scratch) as archive:
            for member in tar_stream.members(archive):
                opened = archive.extractfile(member) if member.isfile() else None
                name = member.name.removeprefix("./").encode(errors="surrogateescape")
                found[name] = opened.read() if opened else member.linkname.encode()
        assert {name: found[name] for name in NAMES} == {name: name for name in NAMES}
        # Which of two hard links is the file is tar's choice.
        assert {found.pop(b"large"), found.pop(b"again")} in ({LARGE, b"./large"}, {LARGE, b"./again"})
        assert found.pop(b"link") == b"nowhere" and set(found) == {*NAMES, b"."}
    assert all(gone(group) for group in port.groups) and len(port.groups) == 3


def test_an_archive_is_saved_whole(root: Path, scratch: Path, tmp_path: Path) -> None:
    tar_stream.save(TreePort(scratch, root), scratch, tmp_path / "saved.tar")
    with tarfile.open(tmp_path / "saved.tar", errors="surrogateescape") as archive:
        assert sum(member.size for member in archive) == len(LARGE) + sum(map(len, NAMES))


@pytest.mark.parametrize(
    ("tar", "told"),
    [
        ('"$TAR" "$@"; echo "tar: ./bad: Cannot stat: Structure needs cleaning" >&2; exit 2', "status 2\n  tar: ./bad"),
        ('"$TAR" "$@" | head -c 1048576; kill -s KILL $$', "status 137"),
        ('"$TAR" "$@" | head -c 1048576; kill -s KILL 0', "the appliance ended while"),
        ("exit 1", "status 1"),
    ],
    ids=["a file that cannot be read", "a tar that is killed", "an appliance that dies", "nothing"],
)
def test_what_cannot_be_read_whole_is_an_error(tar: str, told: str, root: Path, scratch: Path) -> None:
    port = TreePort(scratch, root, tar)
    with pytest.raises(PipelineError, match=told):
        nodes(port, scratch)
    assert gone(port.groups[0])


def test_bytes_that_are_no_archive_are_an_error(root: Path, scratch: Path) -> None:
    port = TreePort(scratch, root, "head -c 1048576 /dev/urandom")
    with pytest.raises(PipelineError, match="could not be read to their end"):
        nodes(port, scratch)


@pytest.mark.parametrize("cause", [KeyboardInterrupt, ValueError])
def test_an_abandoned_stream_leaves_nobody_who_reads_and_the_next_is_whole(
    cause: type[BaseException], root: Path, scratch: Path
) -> None:
    slow_at_first = '[ -e "$0.again" ] && exec "$TAR" "$@"; : >"$0.again"; "$TAR" "$@"; sleep 600'
    port = TreePort(scratch, root, slow_at_first)
    with pytest.raises(cause), tar_stream.opened(port, scratch) as archive:
        next(tar_stream.members(archive))
        assert not gone(port.groups[0])
        raise cause
    assert gone(port.groups[0])
    assert len(nodes(port, scratch)) == len(NAMES) + 4


def test_the_options_of_the_port_fit_into_a_sockets_address(scratch: Path) -> None:
    with tar_stream.port(scratch) as options:
        path = dict(options)["-chardev"].split("path=")[1].split(",")[0]
        assert len(path) < 108 and Path(path).parent.samefile(scratch)


def test_files_that_cannot_all_be_read_are_not_listed(root: Path, scratch: Path) -> None:
    log = io.BytesIO()
    port = TreePort(scratch, root, '"$TAR" "$@"; exit 2')
    system: Any = SimpleNamespace(handle=port, identity=SimpleNamespace(type="linux"), log=log)
    assert contents.files(system, scratch) is None
    assert b"cannot be listed: the files of the image could not be read whole" in log.getvalue()
