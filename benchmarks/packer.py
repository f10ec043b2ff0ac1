"""The same customised tiny disk, made by this pipeline and by the distribution's packer.

    python -m benchmarks.packer [--rounds N] [--only full,bare,packer] [--folder FOLDER] [--table]

Packer gets the installed disk for nothing: its QEMU builder starts from a disk image, boots it once with BIOS,
changes the host's name over SSH, powers off and compresses. The pipeline (``full``) installs, customises in
libguestfs's appliance, removes identities, converts to two formats, boots the result with BIOS and UEFI, scans it for
secrets and signs it; ``bare`` leaves the last three out. Kernel, initramfs, the disk's size, accelerator, memory and
processor model are the same. A round does one after the other. ``--folder`` keeps the figures, so that the columns
can be measured one at a time, first ``full`` or ``bare``, which make packer's disk; ``--table`` only shows them.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import figures
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.build import build
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.run.options import BuildOptions
from pipeline.host.media import iso
from pipeline.host.qemu import accelerator
from pipeline.host.system import kernel
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe

COLUMNS = ("full", "bare", "packer")
_SSH = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
OFFLINE_SHARE = 0.5  # of the time of a changed build: when it is killed


def recipe(hostname: str, *, proofs: bool) -> Recipe:
    """tiny, with another host name; without ``proofs``, no boot test, scan and signature."""
    (tiny,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    customize = tiny.customize.model_copy(update={"hostname": hostname})
    off = {} if proofs else without(tiny, "boot_test", "scan", "signing")
    return tiny.model_copy(update={"customize": customize, **off})


def without(recipe: Recipe, *parts: str) -> dict[str, Any]:
    """Return these parts of a recipe, switched off."""
    return {part: getattr(recipe, part).model_copy(update={"enabled": False}) for part in parts}


@contextmanager
def scratch() -> Iterator[Path]:
    """Provide a folder that is gone afterwards."""
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
    # Steps ask for the key where everybody's is.
    os.environ["PIPELINE_HOME"] = str(home.root)

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
    iso.nocloud_seed(
        seed, metadata={"instance-id": "i", "public-keys": [public]}, user_data=_with_rsa_host_key(folder).encode()
    )

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


def _with_rsa_host_key(folder: Path) -> str:
    """User-data that starts tiny's SSH server with an RSA key, too: this packer's client asks for one first."""
    key = folder / "host-key"
    subprocess.run(["dropbearkey", "-t", "rsa", "-s", "2048", "-f", key], check=True, capture_output=True)
    text = base64.b64encode(key.read_bytes()).decode()
    return f"""#!/bin/sh
kill "$(cat /run/dropbear.pid)"
echo {text} | base64 -d > /etc/dropbear/rsa
dropbear -s -r /etc/dropbear/rsa -P /run/dropbear.pid
"""


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
        "disk_size": "64M",
        "disk_interface": "virtio",
        "net_device": "virtio-net",
        "headless": True,
        "memory": 256,
        "output_directory": str(folder / "output"),
        "qemuargs": [
            ["-cpu", accelerator.Accelerator(probe, None, "").qemu_args[-1]],
            ["-drive", f"file={folder / 'output' / 'packer-qemu'},if=virtio,format=qcow2"],
            ["-drive", f"file={seed},if=virtio,format=raw,readonly=on"],
        ],
        "ssh_username": "root",
        "ssh_private_key_file": str(key),
        "ssh_timeout": "10m",
        "shutdown_command": "poweroff",
        "vnc_bind_address": "127.0.0.1",
    }
    # The shell provisioner uploads its script by scp, which the tiny guest lacks, and tries for five minutes.
    provisioner = {
        "type": "shell-local",
        "environment_vars": ["PORT={{ build `Port` }}", "HOST={{ build `Host` }}"],
        "inline": [f'ssh -i {key} {_SSH} -p "$PORT" "root@$HOST" "echo {hostname} > /etc/hostname; sync"'],
    }
    file = folder / "template.json"
    file.write_text(json.dumps({"builders": [builder], "provisioners": [provisioner]}))
    return file


def _leftovers(folder: Path) -> list[str]:
    """Return what is there after packer was killed: its guest, its folder. The guest is ended."""
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


def _installed_disk(home: Home) -> Path:
    """Return the frozen disk that the pipeline's install step left."""
    store = CacheStore.open(home.cache)
    outcomes = [outcome for file in store.outcomes.glob("*.json") if (outcome := store.peek(file.stem))]
    install = next(outcome for outcome in outcomes if outcome.unit == "install" and outcome.disk)
    assert install.disk is not None
    return store.disk(install.disk.sha256)


class Figures:
    """What was measured, by column, in a folder that may be kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "figures.json"
        self.disk = folder / "installed.qcow2"
        self.known: dict[str, list[dict[str, float]]] = {column: [] for column in COLUMNS}
        self.left: list[str] = []
        if self.file.is_file():
            self.known, self.left = json.loads(self.file.read_text())

    def measure(self, column: str, probe: str) -> None:
        """Measure one column once."""
        with scratch() as folder:
            if column == "packer":
                measured, leftovers = packers(folder, self.disk, probe=probe)
                self.left = sorted({*self.left, *leftovers})
            else:
                measured = ours(folder, proofs=column == "full")
                shutil.copyfile(_installed_disk(Home(folder / "home", folder / "home" / "cache")), self.disk)
        self.known[column].append(measured)
        self.file.write_text(json.dumps([self.known, self.left], indent=1))
        for kind, seconds in measured.items():
            figures.note(f"{column}: {kind}", seconds, "s")
        print(f"{column}: {', '.join(f'{kind} {seconds:.1f} s' for kind, seconds in measured.items())}", flush=True)

    def table(self, probe: str) -> str:
        """Medians, side by side."""
        version = subprocess.run(["packer", "version"], capture_output=True, text=True, check=False).stdout.split()[1]
        kinds = next((list(measured[0]) for measured in self.known.values() if measured), [])
        packers = self.known["packer"]
        rows = [
            f"| {kind} | {' | '.join(_median(self.known[column], kind) for column in COLUMNS)} | {self._ratio(kind)} |"
            for kind in kinds
        ]
        rounds = "/".join(str(len(self.known[column])) for column in COLUMNS)
        machine = f"{len(os.sched_getaffinity(0))} processors ({platform.machine()}), accelerator {probe}"
        return "\n".join(
            [
                f"Seconds, median of {rounds} rounds; {machine}, kernel {kernel.newest().version}, packer {version}.",
                "",
                "| build | pipeline, with proofs | pipeline, without | packer | packer / pipeline without proofs |",
                "|---|---|---|---|---|",
                *rows,
                *(["", f"After SIGKILL packer left {' and '.join(self.left) or 'nothing'}."] if packers else []),
            ]
        )

    def _ratio(self, kind: str) -> str:
        if not (self.known["packer"] and self.known["bare"]):
            return ""
        other, own = (statistics.median(run[kind] for run in self.known[column]) for column in ("packer", "bare"))
        return f"{other / own:.1f}"


def _median(runs: list[dict[str, float]], kind: str) -> str:
    return f"{statistics.median(run[kind] for run in runs):.1f}" if runs else ""


def main() -> None:
    """Measure, then show the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=1)
    asked.add_argument("--only", default=",".join(COLUMNS))
    asked.add_argument("--folder", type=Path)
    asked.add_argument("--table", action="store_true")
    options = asked.parse_args()
    with scratch() as temporary:
        folder = options.folder or temporary
        folder.mkdir(parents=True, exist_ok=True)
        probe = accelerator.probe(Home(folder / "probe", folder / "probe" / "cache")).name
        kept = Figures(folder)
        for _ in range(0 if options.table else options.rounds):
            for column in options.only.split(","):
                kept.measure(column, probe)
        print(kept.table(probe))


if __name__ == "__main__":
    main()
