"""The gate on a real build: what the build deleted is gone from every file system, what it forgot is told, no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import scrub
from pipeline.host.media import partitions
from pipeline.host.system import kernel as kernels
from pipeline.host.system import process
from pipeline.steps import small_disk
from pipeline.steps.offline.step import OfflineStep
from pipeline.steps.products import ProductsStep
from pipeline.steps.reproducible import EPOCH
from pipeline.steps.scan import SECRETS_FILE, ScanStep
from pipeline.steps.tiny import boot, system
from tests.guest.conftest import context_for, tiny_recipe

pytestmark = [pytest.mark.guest, pytest.mark.long]
MIB = 1 << 20
# The root is ext4; these are mounted below it. XFS makes none that are smaller.
DATA = {"xfs": ("-L", 320), "ntfs": ("-L", 24), "vfat": ("-n", 24)}
PLACES = {"ext4": "/opt", **{kind: f"/srv/{kind}" for kind in DATA}}


def deleted(kind: str) -> str:
    return f"a secret that the build deletes on {kind}"


def kept(kind: str) -> str:
    return f"a secret that the build forgets on {kind}"


def commands(kind: str, location: str) -> str:
    """Small and large files, deleted at once and after other files were written; one is left."""
    return "\n".join(
        [
            f"mkdir -p {location}/work; cd {location}/work",
            f"echo '{deleted(kind)} small' > token; sync; rm token",
            f"for i in $(seq 2000); do echo '{deleted(kind)} large'; done > large",
            f"for i in $(seq 40); do echo '{deleted(kind)} many' > f$i; echo live > l$i; done; sync",
            "rm large f*",
            f"echo '{kept(kind)}' > {location}/forgotten; sync",
        ]
    )


def disk_of_four(folder: Path) -> Path:
    """The tiny guest with a partition of every other kind, which it mounts."""
    recipe = tiny_recipe()
    kernel = kernels.newest("cloud")
    root = system.build(recipe, kernel, EPOCH // 86400)
    lines = [f"LABEL=t{kind} {location} {kind} defaults 0 0\n" for kind, location in PLACES.items() if kind in DATA]
    root.add_file("/etc/fstab", f"LABEL={small_disk.ROOT_LABEL} / ext4 defaults 0 1\n{''.join(lines)}".encode())
    for kind in DATA:
        root.add_folder(f"/srv/{kind}", 0o755)
    raw, disk = folder / "disk.raw", folder / "disk.qcow2"
    small_disk.describe(recipe, boot.build(kernel, ()), root).write(raw, folder)
    start = raw.stat().st_size // MIB
    table = [f"start={32 * 2048}, size={(start - 33) * 2048}", f"start={2048}, size={31 * 2048}, type=U"]
    with raw.open("r+b") as file:
        file.truncate((start + sum(size for _, size in DATA.values()) + 1) * MIB)
    for kind, (label, size) in DATA.items():
        part = folder / "part"
        with part.open("wb") as file:
            file.truncate(size * MIB)
        process.run([f"mkfs.{kind}", *(["-F", "-q"] if kind == "ntfs" else []), label, f"t{kind}", part])
        partitions.splice(part, raw, start * MIB)
        part.unlink()
        table.append(f"start={start * 2048}, size={size * 2048}")
        start += size
    process.run(["sfdisk", "-q", raw], stdin=("label: gpt\n" + "\n".join(table)).encode())
    process.run(["qemu-img", "convert", "-O", "qcow2", raw, disk])
    raw.unlink()
    return disk


def build(disk: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **wishes: Any) -> Mapping[str, Path]:
    """The offline stage and the products; what the disk held before it was scrubbed is looked at on the way."""
    seen: set[bytes] = set()
    real = scrub.scrub

    def watched(handle: Any, *words: Any, **options: Any) -> dict[str, str]:
        handle.sync()
        seen.update(re.findall(rb"a secret that the build deletes on \w+ \w+", disk.read_bytes()))
        return real(handle, *words, **options)

    monkeypatch.setattr(scrub, "scrub", watched)
    # A ready-made image is scrubbed; a tiny guest's disk would be written anew.
    recipe = tiny_recipe(install={"method": "image", "file": disk.name}, disk={"size": "1GiB"}, **wishes)
    facts = OfflineStep().run(context_for(recipe, folder / "offline", disk))
    assert {f"{deleted(kind)} {size}".encode() for kind in PLACES for size in ("small", "large", "many")} <= seen
    assert "free extents" in facts["scrub"]["/dev/sda1"] and scrub.NOT_COVERED not in facts["scrub"].values()
    products = {"raw": folder / "image.raw", "qcow2": folder / "image.qcow2"}
    ProductsStep().run(context_for(recipe, folder, disk, products=products))
    process.run(["qemu-img", "compare", products["raw"], products["qcow2"]])
    return products


def test_what_the_build_leaves_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the recipe's files are
    secrets = tmp_path / "secrets"
    secrets.write_text("".join(f"{deleted(kind)}\n{kept(kind)}\n" for kind in PLACES))
    secrets.chmod(0o600)
    monkeypatch.setenv(SECRETS_FILE, str(secrets))
    allowed = {"rule": "known-secret", "path": "/srv/vfat/*", "reason": "left by this very test"}
    wishes = {
        "customize": {"commands": [commands(kind, location) for kind, location in PLACES.items()]},
        "scan": {"allow": [allowed]},
    }
    products = build(disk_of_four(tmp_path), tmp_path, monkeypatch, **wishes)
    data = products["raw"].read_bytes()
    assert [kind for kind in PLACES if deleted(kind).encode() in data] == []
    assert [kind for kind in PLACES if kept(kind).encode() not in data] == []

    recipe = tiny_recipe(**wishes)
    with pytest.raises(PipelineError, match="gives away 3 secrets") as refused:
        ScanStep().run(context_for(recipe, tmp_path / "scan", products=products))
    # Exactly these: nothing else of this image is taken for a secret.
    places = {detail.split(":")[0] for detail in refused.value.details}
    assert places == {f"{PLACES[kind]}/forgotten" for kind in ("ext4", "xfs", "ntfs")}
    assert "that the build" not in str(refused.value)
