"""Install recipes that run an installer by kickstart: lint, install, prove."""

from __future__ import annotations

import secrets as chance
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import secrets
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.host.install import install_tree
from pipeline.host.network import download
from pipeline.host.qemu.accelerator import emulator
from pipeline.host.qemu.hardware import Hardware
from pipeline.host.system import process
from pipeline.recipes.model.kickstart import InstallEngine, KickstartInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.source_given import missing
from pipeline.steps.kickstart import lint, render, repositories, syntax
from pipeline.steps.kickstart import run as installer
from pipeline.steps.step import ChangeProbe, Context, ExternalInput, Stage

_REPOMD = rb"\s*<(\?xml|repomd)"


class InstallKickstart:
    """Makes the disk of a recipe by its media's own installer.

    Its facts: ``release`` (what the media install), ``media`` (the file's name), ``engine``, ``seconds`` (of the
    guest), ``warnings`` (what the installer passes over in the kickstart, where it does).
    """

    name = "install"
    stage = Stage.INSTALL

    def applies_to(self, recipe: Recipe) -> bool:
        """Return whether the recipe's install method is ``kickstart``."""
        return isinstance(recipe.install, KickstartInstall)

    def inputs(self, recipe: Recipe) -> Mapping[str, Any]:
        """Return the media and the kickstart by their digests, the hardware, secrets by their generation."""
        install = _options(recipe)
        names = install.subscription.secrets.values() if install.subscription else ()
        return {
            "media": _digest(recipe, install),
            "install": install.model_dump(mode="json", exclude={"file", "download", "supplied", "timeout"}),
            "disk": recipe.disk.size,
            "hardware": str(Hardware.from_properties(recipe.image_properties)),
            "admin_user": recipe.os.admin_user,
            "name": recipe.name,
            "secrets": [secrets.reveal(name, Home.default()).identity for name in names],
            "tool": _version(install),
        }

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        """Return the repositories: what they offer decides what is installed. That of subscribers
        only they can read.
        """
        install = _options(recipe)
        found = [
            ExternalInput(f"repository {each.name}", (f"{each.url.rstrip('/')}/repodata/repomd.xml",), form=_REPOMD)
            for each in install.repositories
        ]
        network = ExternalInput("packages of the subscription", ("urn:content-delivery-network",), ChangeProbe.TIME)
        return [*found, network] if install.subscription else found

    def run(self, context: Context) -> Mapping[str, Any]:
        """Hold the kickstart against the media and the repositories; then have the installer do it."""
        recipe, install = context.recipe, _options(context.recipe)
        media = _media(context, install)
        token = chance.token_hex(16)
        text = render.render(recipe, install, token)
        (context.evidence / "kickstart.ks").write_text(text)
        context.progress.say("checking the kickstart against the media")
        with install_tree.opened(media) as tree:
            named = repositories.offers(install, syntax.parse(text), offline=context.offline)
            offers = {"the media": tree.repodata, **named}
            warnings = lint.require(text, recipe, tree.info, offers)
            for warning in warnings:
                context.progress.say(f"the installer will go on after this: {warning}")
                context.log.write(f"kickstart: {warning}\n".encode())
            context.progress.say(f"installing {tree.info.release}")
            seconds = installer.run(
                context,
                installer.Installation(
                    install=install,
                    media=media,
                    tree=tree,
                    kickstart=text,
                    cdroms=_secret_media(context, install),
                    sentinel=f"{render.SENTINEL} {token}",
                ),
            )
            return {
                "release": tree.info.release,
                "media": media.name,
                "engine": str(install.engine),
                "seconds": round(seconds, 1),
                **({"warnings": list(warnings)} if warnings else {}),
            }


def _options(recipe: Recipe) -> KickstartInstall:
    if not isinstance(recipe.install, KickstartInstall):
        raise TypeError(f"recipe {recipe.name} is not installed by a kickstart")
    return recipe.install


def _digest(recipe: Recipe, install: KickstartInstall) -> str:
    if install.file is not None:
        return install.file.sha256
    if install.download is not None:
        return install.download.sha256
    raise missing(recipe.name, install.supplied)


def _media(context: Context, install: KickstartInstall) -> Path:
    pin = _pin(install)
    if install.file is not None:
        problem = pin.problem(install.file.path) if pin else None
        if problem:
            raise PipelineError(f"{install.file.given} is not the medium that the recipe names: it {problem}")
        return install.file.path
    if install.download is None or pin is None:
        raise PipelineError(f"recipe {context.recipe.name} names no installation media")
    context.progress.say(f"fetching {install.download.urls[0].rpartition('/')[2]}")
    folder = context.home.cache / "downloads"
    return download.fetch(install.download.urls, pin, folder, progress=context.progress, offline=context.offline)


def _pin(install: KickstartInstall) -> download.Pin | None:
    source = install.download
    if source is None:
        return None
    others = {name: value for name in ("md5", "sha512") if (value := getattr(source, name))}
    return download.Pin(source.sha256, others, source.size)


def _secret_media(context: Context, install: KickstartInstall) -> list[Path]:
    if install.subscription is None:
        return []
    values = {kind: secrets.reveal(name, context.home).value for kind, name in install.subscription.secrets.items()}
    medium = context.folder / "subscription.iso"
    installer.write_secrets(medium, render.SECRETS_LABEL, values)
    return [medium]


def _version(install: KickstartInstall) -> str:
    command = [emulator()] if install.engine is InstallEngine.QEMU else ["virt-install"]
    return process.run([*command, "--version"]).stdout.splitlines()[0]
