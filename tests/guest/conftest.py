"""A small real guest for tests, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import Home
from pipeline.base.progress import nothing
from pipeline.host.guestfs.appliance import Appliance, Drive
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.system import process
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Context
from pipeline.steps.tiny.step import InstallTiny
from tests.environments.traced_steps import traced_steps

__all__ = ["traced_steps"]  # all steps that run here are held against what their keys hold

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "os": {"type": "linux", "distro": "cirros", "version": "0.6", "admin_user": "cirros"},
    "disk": {"size": "64MiB"},
    "install": {"method": "tiny"},
    "products": [{"format": "qcow2", "compression": "zlib"}, {"format": "raw"}],
    "properties": {"hw_video_model": "vga"},
}


def tiny_recipe(**changes: Any) -> Recipe:
    """A tiny recipe with some parts replaced."""
    return Recipe.model_validate({**RECIPE, **changes})


def context_for(recipe: Recipe, folder: Path, disk: Path | None = None, **parts: Any) -> Context:
    """What a step of ``recipe`` is given, in ``folder``."""
    for name in ("scratch", "evidence", "documents"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Context(
        recipe=recipe,
        home=Home.default(),
        folder=folder / "scratch",
        disk=disk or folder / "disk.qcow2",
        products=parts.pop("products", {}),
        evidence=folder / "evidence",
        log=(folder / "log").open("ab"),
        progress=nothing,
        accelerator="tcg",
        layers=folder,
        documents=folder / "documents",
        **parts,
    )


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the disk of a tiny recipe, with some parts of it replaced."""

    def make(**changes: Any) -> Path:
        context = context_for(tiny_recipe(**changes), tmp_path_factory.mktemp("tiny"))
        InstallTiny().run(context)
        return context.disk

    return make


@pytest.fixture(scope="session")
def tiny_disk(make_tiny: Callable[..., Path]) -> Path:
    """The disk of the tiny guest, as it is installed (QCOW2)."""
    return make_tiny()


@pytest.fixture(scope="session")
def appliance_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where libguestfs keeps its appliance for all tests of a run."""
    return tmp_path_factory.mktemp("appliance")


def overlay(disk: Path, folder: Path) -> Path:
    """A disk in ``folder`` that begins as ``disk``, which stays as it is."""
    made = folder / "overlay.qcow2"
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, made])
    return made


@pytest.fixture(scope="session")
def system(tiny_disk: Path, appliance_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestSystem]:
    """The tiny guest, open in an appliance: launching and inspecting one takes longer than most tests.

    Its root file system is for all tests to write to. What others stand on, such as what is mounted where, is put back.
    """
    folder = tmp_path_factory.mktemp("tiny-system")
    log = (folder / "log").open("w+b")
    appliance = Appliance("tcg", appliance_cache, folder, log)
    with appliance.launched([Drive(overlay(tiny_disk, folder), "qcow2")]) as handle:
        yield GuestSystem.open(handle, log)


@pytest.fixture(autouse=True)
def one_appliance(home: Home, appliance_cache: Path) -> None:
    """Let every test's home have the same appliance: making one takes longer than many tests."""
    home.cache.mkdir(parents=True, exist_ok=True)
    (home.cache / "appliance").symlink_to(appliance_cache)
