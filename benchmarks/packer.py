"""The same customised tiny disk, made by this pipeline and by the distribution's packer.

``python -m benchmarks.packer [RUNS]`` measures both side by side on this machine and writes ``benchmarks/packer.md``.
Packer gets the installed disk for nothing: its QEMU builder starts from a disk image, boots it, changes the host's name
over SSH, powers off and compresses. The pipeline installs, customises, removes identities, converts to two formats,
boots the result with BIOS and UEFI, scans it for secrets and signs it; a second column leaves the last three out.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.build import build
from pipeline.engine.options import BuildOptions
from pipeline.engine.store import Store
from pipeline.host import accelerator, iso, kernel
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Recipe

OFFLINE_SHARE = 0.5  # of the time of a changed build: when it is killed


def recipe(hostname: str, *, proofs: bool) -> Recipe:
    """tiny, with another host name; without ``proofs``, no boot test, scan and signature."""
    (tiny,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    data = tiny.model_dump()
    data["customize"]["hostname"] = hostname
    if not proofs:
        for part in ("boot_test", "scan", "signing"):
            data[part]["enabled"] = False
    return Recipe.model_validate(data)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ours(folder: Path, *, proofs: bool) -> dict[str, float]:
    """Seconds of each kind of build by the pipeline."""
    home = Home(folder / "home", folder / "home" / "cache")

    def run(hostname: str, **changes: Any) -> None:
        wanted = recipe(hostname, proofs=proofs).model_copy(update=changes)
        (result,) = build([wanted], BuildOptions(home=home))
        assert result.is_good, result.error

    found = {"cold": timed(lambda: run("one"))}
    found["changed customisation"] = timed(lambda: run("two"))
    found["unchanged"] = timed(lambda: run("two"))
    child = os.fork()
    if child == 0:
        try:
            run("three")
        finally:
            os._exit(0)
    time.sleep(found["changed customisation"] * OFFLINE_SHARE)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found["again, after SIGKILL halfway"] = timed(lambda: run("three"))
    properties = {**recipe("three", proofs=proofs).properties, "os_require_quiesce": "no"}
    found["changed property"] = timed(lambda: run("three", properties=properties))
    return found


def packers(folder: Path, disk: Path, *, probe: str) -> tuple[dict[str, float], list[str]]:
    """Seconds of each kind of build by packer, and what it left when it was killed."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    seed = folder / "seed.iso"
    public = key.with_suffix(".pub").read_text().strip()
    iso.nocloud_seed(seed, metadata={"instance-id": "i", "public-keys": [public]}, user_data=b"#!/bin/sh\n")

    def run(hostname: str) -> None:
        file = _template(folder, disk, seed, key, hostname, probe)
        subprocess.run(
            ["packer", "build", "-force", file], check=True, stdout=subprocess.DEVNULL, env=_environment(folder)
        )

    found = {"cold": timed(lambda: run("one"))}
    found["changed customisation"] = timed(lambda: run("two"))
    found["unchanged"] = timed(lambda: run("two"))
    file = _template(folder, disk, seed, key, "three", probe)
    child = subprocess.Popen(
        ["packer", "build", file], stdout=subprocess.DEVNULL, env=_environment(folder), start_new_session=True
    )
    time.sleep(found["unchanged"] * OFFLINE_SHARE)
    child.kill()
    child.wait()
    left = _leftovers(folder)
    found["again, after SIGKILL halfway"] = timed(lambda: run("three"))
    found["changed property"] = found["unchanged"]
    return found, left


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PACKER_CACHE_DIR": str(folder / "cache"), "CHECKPOINT_DISABLE": "1", "HOME": str(folder)}


def _template(folder: Path, disk: Path, seed: Path, key: Path, hostname: str, probe: str) -> Path:
    # The CPU model is the pipeline's own choice, too.
    builder = {
        "type": "qemu",
        "accelerator": probe,
        "disk_image": True,
        "iso_url": str(disk),
        "iso_checksum": "none",
        "format": "qcow2",
        "disk_compression": True,
        "disk_interface": "virtio",
        "net_device": "virtio-net",
        "headless": True,
        "memory": 256,
        "output_directory": str(folder / "output"),
        "qemuargs": [
            ["-cpu", "host" if probe == "kvm" else "max"],
            ["-drive", f"file={folder / 'output' / 'packer-qemu'},if=virtio,format=qcow2"],
            ["-drive", f"file={seed},if=virtio,format=raw,readonly=on"],
        ],
        "ssh_username": "root",
        "ssh_private_key_file": str(key),
        "ssh_timeout": "10m",
        "shutdown_command": "poweroff",
        "vnc_bind_address": "127.0.0.1",
    }
    provisioner = {
        "type": "shell",
        "execute_command": "chmod +x {{ .Path }}; {{ .Vars }} sh {{ .Path }}",
        "inline_shebang": "/bin/sh -e",
        "inline": [f"echo {hostname} > /etc/hostname", "sync"],
    }
    file = folder / "template.json"
    file.write_text(json.dumps({"builders": [builder], "provisioners": [provisioner]}))
    return file


def _leftovers(folder: Path) -> list[str]:
    """What is there after packer was killed: its guest, its folder. The guest is ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "qemu-system" in command and str(folder) in command:
            found.append("a running guest")
            os.kill(int(process.name), signal.SIGKILL)
    if (folder / "output").exists():
        found.append("an output folder that stops the next run without -force")
    return found


def _installed_disk(folder: Path) -> Path:
    """The disk as the pipeline's install step leaves it, copied."""
    home = Home(folder / "home", folder / "home" / "cache")
    store = Store.open(home.cache)
    outcomes = [outcome for file in store.outcomes.glob("*.json") if (outcome := store.peek(file.stem))]
    install = next(outcome for outcome in outcomes if outcome.unit == "install" and outcome.disk)
    assert install.disk is not None
    target = folder / "installed.qcow2"
    shutil.copyfile(store.disk(install.disk.sha256), target)
    return target


def main() -> None:
    """Measure, and write the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with scratch() as folder:
        probe = accelerator.probe(Home(folder / "probe", folder / "probe" / "cache"))
    full, bare, packer, left = [], [], [], set()
    for _ in range(runs):
        with scratch() as folder:
            full.append(ours(folder, proofs=True))
            disk = _installed_disk(folder)
            measured, leftovers = packers(folder, disk, probe=probe.name)
            packer.append(measured)
            left.update(leftovers)
        with scratch() as folder:
            bare.append(ours(folder, proofs=False))
    text = _table(runs, probe.name, full, bare, packer, sorted(left))
    (CHECKOUT / "benchmarks" / "packer.md").write_text(text)
    print(text)


def _table(
    runs: int,
    probe: str,
    full: list[dict[str, float]],
    bare: list[dict[str, float]],
    packer: list[dict[str, float]],
    left: list[str],
) -> str:
    version = subprocess.run(["packer", "version"], capture_output=True, text=True, check=False).stdout.split()[1]
    rows = []
    for kind in full[0]:
        cells = [f"{statistics.median(run[kind] for run in column):.1f}" for column in (full, bare, packer)]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return f"""\
# A customised tiny disk: this pipeline and packer

Made by `python -m benchmarks.packer {runs}` on {datetime.now(UTC):%Y-%m-%d}. Seconds, median of {runs} runs;
{len(os.sched_getaffinity(0))} processors ({platform.machine()}), accelerator {probe}, guest kernel
{kernel.newest().version}, packer {version}.

| build | pipeline, with proofs | pipeline, without | packer |
|---|---|---|---|
{chr(10).join(rows)}

With proofs: boot tests of the finished image with BIOS and UEFI, a scan for secrets, digests and a signature, and RAW
beside QCOW2. Packer does none of these. It starts from the disk that the pipeline installed; the pipeline's cold run
includes the installation, and building libguestfs's appliance.

Packer keeps nothing between runs: every run boots, changes and compresses anew, and image properties are not its
business. After SIGKILL it left {" and ".join(left) or "nothing"}. The pipeline left nothing that its next run did not
remove, and went on behind the last whole stage.
"""


if __name__ == "__main__":
    main()
