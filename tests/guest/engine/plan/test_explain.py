"""Two real images: what is in them, and what is different."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.engine.plan.explain import contents
from pipeline.host.guestfs import manifest
from pipeline.host.guestfs.appliance import Appliance


@pytest.mark.guest
def test_a_changed_word_of_the_kernels_command_line_is_found(
    tiny_disk: Path, make_tiny: Callable[..., Path], appliance_cache: Path, tmp_path: Path
) -> None:
    other = make_tiny(install={"method": "tiny", "kernel_arguments": ["quiet"]})
    with (tmp_path / "log").open("wb") as log:
        appliance = Appliance("tcg", appliance_cache, tmp_path, log)
        one, two = (manifest.read(disk, "qcow2", appliance) for disk in (tiny_disk, other))
    paths = {node.path: node for node in one.nodes}
    assert paths["/bin/busybox"].kind == "file" and len(paths["/bin/busybox"].content) == 64
    assert paths["/bin/sh"].kind in ("link", "hard link")
    assert paths["/etc/shadow"].mode & 0o077 == 0
    found = contents(one, two, same_bytes=False, made=None)
    assert found.changed and all(line.endswith(": other bytes") for line in found.changed)
    assert any("syslinux.cfg" in line or "extlinux.conf" in line for line in found.changed), found.changed
    assert (found.added, found.removed, found.disk) == ((), (), ())
    assert not list(tmp_path.glob("*.tar")), "nothing of the contents stays"
