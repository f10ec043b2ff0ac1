"""Install recipes that start from a ready-made image: fetch it, check it, lay it on the recipe's disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.network import download
from pipeline.host.system import process
from pipeline.image import convert, formats
from pipeline.image.integrity.raw import SECTOR
from pipeline.image.packing import unpack
from pipeline.recipes.model.install import ImageInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.source_given import missing
from pipeline.steps import release
from pipeline.steps.step import Context, ExternalInput, Stage


class InstallImage:
    """Makes the disk of a recipe from an image that somebody else made.

    The image is hostile until it was judged: its format is the one the recipe names, it names no other files, and
    its digest is the pinned one.
    """

    name = "install"
    stage = Stage.INSTALL

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether the recipe's install method is ``image``."""
        return isinstance(recipe.install, ImageInstall)

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the image by its digest, from wherever it comes; of a release, the engine adds what its list was."""
        install = _options(recipe)
        if not (install.file or install.download or install.release):
            raise missing(recipe.name, install.supplied)
        digest = install.file.sha256 if install.file else install.download.sha256 if install.download else ""
        found = {"sha256": digest, "format": str(install.format), "size": recipe.disk.size}
        if install.release is None or install.file:
            return found
        return {**found, "release": install.release.model_dump(mode="json", exclude={"folders"})}

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        """Return, for a release, the list of checksums and its signature. A file given by a person needs neither."""
        install = _options(recipe)
        return [] if install.release is None or install.file else release.external_inputs(install.release)

    def run(self, context: Context) -> Mapping[str, Any]:
        """Fetch, judge and convert the image; then give the disk its size."""
        recipe, install = context.recipe, _options(context.recipe)
        source, origin = _source(context, install)
        with _unpacked(context, source) as (image, unpacked):
            context.progress.say("judging the image and laying it on the disk")
            _tell_filling(context, install, image)
            verdict = convert.convert(
                image,
                str(install.format),
                context.disk,
                convert.ConvertOptions(format="qcow2"),
                limits=formats.FormatLimits(raw_must_be_raw=True),
                progress=context.progress,
            )
        virtual_size = verdict.virtual_size or 0
        if virtual_size > recipe.disk.size:
            raise PipelineError(
                f"recipe {recipe.name}: the image has a disk of {virtual_size >> 20} MiB, disk.size is "
                f"{recipe.disk.size >> 20} MiB",
                hint="a disk cannot shrink: set disk.size to at least that",
            )
        if virtual_size < recipe.disk.size:
            process.run(["qemu-img", "resize", "-q", "-f", "qcow2", context.disk, str(recipe.disk.size)])
        given = install.file.given if install.file else source.name
        return {"source": given, "virtual_size": virtual_size, **unpacked, **origin}


def _options(recipe: Recipe) -> ImageInstall:
    if not isinstance(recipe.install, ImageInstall):
        raise TypeError(f"recipe {recipe.name} does not start from an image")
    return recipe.install


@contextlib.contextmanager
def _unpacked(context: Context, source: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Provide the image itself, out of what it is packed in, and what is to be remembered of that."""
    if unpack.packing_of_file(source) is None:
        yield source, {}
        return
    size = context.recipe.disk.size
    target = context.disk.with_name("unpacked.image")
    try:
        # A full disk in any other format is a little longer than the disk.
        found = unpack.unpack(source, target, limit=size + size // 64 + (64 << 20), progress=context.progress)
        context.progress.say(f"{source.name}: {found.summary}")
        facts = {"packing": str(found.packing), "packed_sha256": found.packed_sha256, "sha256": found.sha256}
        yield target, {"unpacked": facts}
    finally:
        target.unlink(missing_ok=True)


def _tell_filling(context: Context, install: ImageInstall, image: Path) -> None:
    odd = image.stat().st_size % SECTOR
    if install.format == "raw" and odd:
        context.progress.say(f"the image's last sector has {odd} bytes: zeroes fill it up")


def _source(context: Context, install: ImageInstall) -> tuple[Path, Mapping[str, Any]]:
    """Return the image's file, and of a release what proves where it comes from."""
    if install.release is not None:
        if install.file is not None:
            return install.file.path, release.check_release(context, install.release, install.file.path)
        return release.fetch(context, install.release)
    return _pinned(context, install), {}


def _pinned(context: Context, install: ImageInstall) -> Path:
    source = install.download
    pin = None
    if source is not None:
        others = {name: value for name in ("md5", "sha512") if (value := getattr(source, name))}
        pin = download.Pin(source.sha256, others, source.size)
    if install.file is not None:
        problem = pin.problem(install.file.path) if pin else None
        if problem:
            raise PipelineError(f"{install.file.given} is not the image that the recipe names: it {problem}")
        return install.file.path
    if source is None or pin is None:
        raise PipelineError(f"recipe {context.recipe.name} names no image")
    context.progress.say(f"fetching {source.urls[0].rpartition('/')[2]}")
    folder = context.home.cache / "downloads"
    return download.fetch(source.urls, pin, folder, progress=context.progress, offline=context.offline)
