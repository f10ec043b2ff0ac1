"""Small real steps: real disks, overlays and products, made in milliseconds by qemu-img and qemu-io.

What a step does can be steered by files in ``steering`` (so that runs in other processes can be steered, too):
``sleep.<step>`` seconds to take, ``fail.<step>`` what to fail with, ``crash.<step>`` a signal to die of,
``spawn.<step>`` to leave a process behind. ``ran`` counts what ran, ``slept`` names what nobody woke.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.base import secrets
from pipeline.base.errors import PipelineError
from pipeline.engine.units.resources import Needs
from pipeline.engine.units.step_entry import StepEntry
from pipeline.host.system import process
from pipeline.image.digests import digest_file
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Context, Stage

_VERBS = "reveal spawn stubborn swallow library deaf fill brim hog sleep crash fail bug".split()


class Light:
    """What all small steps do: note that they ran, and what the steering says."""

    def __init__(self, steering: Path, name: str, stage: Stage) -> None:
        self.steering = steering
        self.name = name
        self.stage = stage

    def applies_to(self, recipe: Recipe) -> bool:
        return not (self.steering / f"unwanted.{self.name}").exists()

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        extra = self.steering / f"input.{self.name}"
        if (self.steering / f"blocked.{self.name}").exists():
            raise PipelineError("the medium is missing", hint="get it")
        return {"extra": extra.read_text() if extra.exists() else "", **self.options(recipe)}

    def options(self, recipe: Recipe) -> Mapping[str, Any]:
        return {}

    def run(self, context: Context) -> Mapping[str, Any]:
        with (self.steering / "ran").open("a") as ran:
            ran.write(f"{context.recipe.name}/{self.name}\n")
        context.log.write(f"{self.name} works on {context.recipe.name}\n".encode())
        context.progress.say(f"doing {self.name}")
        self._steered(context)
        context.progress.advance(1, 2, "parts")
        facts = self.work(context)
        context.progress.advance(2, 2, "parts")
        return facts

    def work(self, context: Context) -> Mapping[str, Any]:
        raise NotImplementedError

    def _steered(self, context: Context) -> None:
        for verb in _VERBS:
            for name in (f"{verb}.{self.name}", f"{verb}.{context.recipe.name}.{self.name}"):
                with contextlib.suppress(FileNotFoundError):
                    getattr(self, f"_{verb}")(context, (self.steering / name).read_text())

    def _spawn(self, context: Context, text: str) -> None:
        # Left behind on purpose, in a session of its own, as a guest would be.
        subprocess.Popen(["sleep", text], env=process.environment(), start_new_session=True)

    def _reveal(self, context: Context, text: str) -> None:
        value = secrets.reveal(text, context.home).value
        context.log.write(f"using {value}\n".encode())
        (context.evidence / "screen.txt").write_text(f"password: {value}")

    def _stubborn(self, context: Context, text: str) -> None:
        # As a library that is busy in C code.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _swallow(self, context: Context, text: str) -> None:
        # A library in C with callbacks, which swallows what a signal's handler raises in one of them.
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda one, other: _slowly())
        ctypes.CDLL(None).qsort((ctypes.c_int * 32)(), 32, 4, compare)
        context.log.write(b"sorted\n")
        self._sleep(context, text)

    def _library(self, context: Context, text: str) -> None:
        # A library in C that waits for a program of its own, and lets nobody interrupt it.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGALRM))
        for seconds in text.split():
            if subprocess.run(["sleep", seconds], env=process.environment(), check=False).returncode == 0:
                self._slept(context)
            time.sleep(0.5)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGALRM))

    def _deaf(self, context: Context, text: str) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGALRM))
        self._sleep(context, text)

    def _fill(self, context: Context, text: str) -> None:
        with (context.folder / "ballast").open("wb", buffering=0) as ballast:
            for _ in range(int(text) >> 20):
                ballast.write(bytes(1 << 20))

    def _brim(self, context: Context, text: str) -> None:
        # As a library that has its own word for it.
        with contextlib.suppress(OSError):
            self._fill(context, str(1 << 40))
        self._fail(context, text)

    def _hog(self, context: Context, text: str) -> None:
        # As on a machine that has no more than what is in use now.
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), used + (8 << 20)))
        bytearray(int(text))

    def _sleep(self, context: Context, text: str) -> None:
        time.sleep(float(text))
        self._slept(context)

    def _slept(self, context: Context) -> None:
        with (self.steering / "slept").open("a") as slept:
            slept.write(f"{context.recipe.name}/{self.name}\n")

    def _crash(self, context: Context, text: str) -> None:
        faulthandler.disable()  # pytest's would fill the terminal with a fault that is meant
        os.kill(os.getpid(), int(text))

    def _fail(self, context: Context, text: str) -> None:
        (context.evidence / "serial.log").write_text("the guest's last words\n")
        raise PipelineError(text, hint="mend it", details=["one detail"])

    def _bug(self, context: Context, text: str) -> None:
        raise ZeroDivisionError(text)


class Install(Light):
    """Makes a disk."""

    def options(self, recipe: Recipe) -> Mapping[str, Any]:
        return {"size": recipe.disk.size}

    def work(self, context: Context) -> Mapping[str, Any]:
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", context.disk, str(context.recipe.disk.size)])
        _write(context.disk, 0x11, 0)
        return {"installed": context.recipe.name}


class Customize(Light):
    """Changes it."""

    def options(self, recipe: Recipe) -> Mapping[str, Any]:
        return {"hostname": recipe.customize.hostname}

    def work(self, context: Context) -> Mapping[str, Any]:
        _write(context.disk, len(context.recipe.customize.hostname or "") + 1, 1 << 16)
        return {"properties": {"hw_rng_model": "virtio", "hw_disk_bus": "ide"}}


class Convert(Light):
    """Makes the products."""

    def options(self, recipe: Recipe) -> Mapping[str, Any]:
        return {"products": [product.model_dump(mode="json") for product in recipe.products]}

    def work(self, context: Context) -> Mapping[str, Any]:
        for name, target in context.products.items():
            process.run(["qemu-img", "convert", "-f", "qcow2", "-O", name, context.disk, target])
        return {}


class Boot(Light):
    """Looks at the products and leaves a document."""

    def work(self, context: Context) -> Mapping[str, Any]:
        for file in context.products.values():
            assert file.stat().st_mode & 0o777 == 0o444
        (context.documents / "serial.log").write_text("booted\n")
        return {"booted": sorted(context.products)}


class Look(Light):
    """Looks at a part of the products only: what the steering says it is."""

    def part(self, recipe: Recipe, facts: Mapping[str, Mapping[str, Any]]) -> str | None:
        part = self.steering / "part"
        return part.read_text() if part.exists() else None

    def work(self, context: Context) -> Mapping[str, Any]:
        return {"looked_at": self.part(context.recipe, context.facts)}


class Sign(Light):
    """Digests the products."""

    def work(self, context: Context) -> Mapping[str, Any]:
        return {
            "products": {
                name: {"digests": dict(digest_file(file).values), "signature": {"img_signature": name}}
                for name, file in context.products.items()
            }
        }


def _slowly() -> int:
    time.sleep(0.02)
    return 0


def _write(disk: Path, pattern: int, offset: int) -> None:
    process.run(["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} {offset} 64k", disk])


def steps(steering: Path, deadline: float = 60) -> list[StepEntry]:
    """The small steps as the engine wants them."""
    guest = lambda recipe: Needs(guests=1)  # noqa: E731
    return [
        StepEntry(Install(steering, "install", Stage.INSTALL), deadline),
        StepEntry(Customize(steering, "customize", Stage.OFFLINE), deadline),
        StepEntry(Convert(steering, "convert", Stage.PRODUCT), deadline),
        StepEntry(Boot(steering, "boot", Stage.RECORD), deadline, guest),
        StepEntry(Sign(steering, "sign", Stage.RECORD), deadline, after=("boot",)),
    ]


def recipe(name: str = "light", **changes: Any) -> Recipe:
    """A recipe for them."""
    return Recipe.model_validate(
        {
            "name": name,
            "os": {"type": "linux", "distro": "cirros", "version": "0"},
            "disk": {"size": "1MiB"},
            "install": {"method": "tiny"},
            "products": [{"format": "qcow2"}, {"format": "raw"}],
            "properties": {"hw_disk_bus": "virtio"},
            **changes,
        }
    )


def ran(steering: Path) -> list[str]:
    """What ran since the last call."""
    file = steering / "ran"
    lines = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines
