"""Write ext4 file systems into a file, as an ordinary user, without a mount: the same bytes from the same tree.

``mke2fs`` makes an empty one with everything that is random or dated given from outside; ``debugfs`` puts the tree into
it in sorted order. (``mke2fs -d`` alone takes owners and change times from the build machine's files, and their
order from its directories.)
"""

from __future__ import annotations

import re
import shlex
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.host.media import partitions
from pipeline.host.media.file_tree import FileTree, TreeEntry
from pipeline.host.system import process

_BLOCK = 4096
# Said one by one, so that neither the version of e2fsprogs nor the machine's mke2fs.conf decides: what a kernel of
# 2.6.32 can mount, and what resize2fs needs to grow it while mounted.
_FEATURES = (
    "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize"
)
_FULL = re.compile(r"No free space|Could not allocate|No space left")


@dataclass(frozen=True)
class Ext4Options:
    """What a new file system is told. ``time`` is in seconds since the epoch, for every entry and the superblock."""

    label: str
    identity: uuid.UUID
    time: int
    inodes: int | None = None


def write(image: Path, offset: int, size: int, tree: FileTree, options: Ext4Options, scratch: Path) -> None:
    """Make a file system of ``size`` bytes at byte ``offset`` of the file ``image`` and put ``tree`` into it.

    ``scratch`` is a private folder. Raises ``PipelineError`` when the tree doesn't fit.
    """
    alone = scratch / "ext4.img"
    alone.unlink(missing_ok=True)
    with alone.open("wb") as file:
        file.truncate(size)
    environment = {"E2FSPROGS_FAKE_TIME": str(options.time), "MKE2FS_CONFIG": "/dev/null"}
    process.run(_mke2fs(alone, options), env=environment)
    _fill(alone, tree, scratch, environment, size)
    process.run(["e2fsck", "-fn", alone], env=environment)
    partitions.splice(alone, image, offset)
    alone.unlink()
    shutil.rmtree(scratch / "ext4-contents")


def _mke2fs(image: Path, options: Ext4Options) -> list[str | Path]:
    extended = f"hash_seed={options.identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    words: list[str | Path] = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-I", "256", "-m", "1"]
    words += ["-O", f"none,{_FEATURES}", "-L", options.label, "-U", str(options.identity), "-E", extended]
    if options.inodes is not None:
        words += ["-N", str(options.inodes)]
    return [*words, image]


def _fill(image: Path, tree: FileTree, scratch: Path, environment: dict[str, str], size: int) -> None:
    contents = scratch / "ext4-contents"
    contents.mkdir(exist_ok=True)
    script = scratch / "ext4.debugfs"
    script.write_text("".join(f"{line}\n" for line in _commands(tree, contents)))
    finished = process.run(["debugfs", "-w", "-f", script, image], env=environment)
    script.unlink()
    # debugfs ends with 0 whatever happens, and greets on standard error.
    complaints = [line for line in finished.stderr.splitlines() if not line.startswith("debugfs 1.")]
    if any(_FULL.search(line) for line in complaints):
        raise PipelineError(f"the system does not fit into {size >> 20} MiB", hint="give the recipe a larger disk.size")
    if complaints:
        raise PipelineError("debugfs could not write the file system", details=complaints[:10])


def _commands(tree: FileTree, contents: Path) -> Iterator[str]:
    folder = ""
    for number, node in enumerate(tree):
        parent = str(node.path.parent)
        if parent != folder:
            folder = parent
            yield f"cd {_quoted(folder)}"
        yield from _entry(node, contents / str(number))


def _entry(node: TreeEntry, location: Path) -> Iterator[str]:
    name = _quoted(node.path.name)
    if node.is_folder:
        # The file system is made with this one.
        if str(node.path) != "/lost+found":
            yield f"mkdir {name}"
    elif node.is_link:
        yield f"symlink {name} {_quoted(str(node.content))}"
        return
    elif stat.S_ISREG(node.mode):
        content = node.content
        if isinstance(content, bytes):
            location.write_bytes(content)
            content = location
        yield f"write {_quoted(str(content))} {name}"
    else:
        raise PipelineError(f"{node.path}: neither file, folder nor link")
    yield f"sif {name} mode 0{node.mode:o}"
    if node.uid or node.gid:
        yield f"sif {name} uid {node.uid}"
        yield f"sif {name} gid {node.gid}"


def _quoted(word: str) -> str:
    if any(ord(character) < 32 for character in word):
        raise PipelineError(f"a name with control characters cannot be written: {word!r}")
    return '"' + word.replace('"', '""') + '"' if shlex.quote(word) != word else word
