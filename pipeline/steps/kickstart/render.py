"""Render the kickstart file of one installation from the recipe's template."""

from __future__ import annotations

from typing import Any

from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.kickstart import template

SENTINEL = "BUILD-SENTINEL ok"
FAILED = "BUILD-FAILED"
SECRETS_LABEL = "SUBSCRIPTION"
_DISKS = {"virtio": "vda", "scsi": "sda", "sata": "sda", "ide": "sda", "usb": "sda"}


def disk_name(recipe: Recipe) -> str:
    """Return what a Linux guest calls its first disk on the recipe's bus (``hw_disk_bus``, virtio by default)."""
    return _DISKS[recipe.image_properties.get("hw_disk_bus", "virtio")]


def render(recipe: Recipe, install: KickstartInstall, token: str) -> str:
    """Return the kickstart for an installation that proves its success by ``SENTINEL`` and ``token`` on the serial
    line.

    Raises ``PipelineError`` with the line of the template that is wrong (see ``template``).
    """
    file = install.kickstart
    return template.render(file.given, file.path.read_bytes(), _variables(recipe, install, token))


def _variables(recipe: Recipe, install: KickstartInstall, token: str) -> dict[str, Any]:
    subscription = install.subscription
    return {
        "recipe": recipe.name,
        "disk": disk_name(recipe),
        "admin_user": recipe.os.admin_user or "cloud-user",
        "repositories": [
            {"name": each.name, "url": each.url, "keep": each.keep, "gpg_key": each.gpg_key or ""}
            for each in install.repositories
        ],
        "packages": list(install.packages),
        "update": install.update,
        "subscription": None
        if subscription is None
        else {
            "with_key": subscription.activation_key is not None,
            "with_pool": subscription.pool is not None,
            "repositories": list(subscription.repositories),
            "label": SECRETS_LABEL,
        },
        "sentinel": f"{SENTINEL} {token}",
        "failed": f"{FAILED} {token}",
    }
