"""The kickstart file of one installation, from the recipe's template."""

from __future__ import annotations

from typing import Any

import jinja2

from pipeline.base.errors import PipelineError
from pipeline.recipes.kickstart import KickstartInstall
from pipeline.recipes.model import Recipe

SENTINEL = "BUILD-SENTINEL ok"
FAILED = "BUILD-FAILED"
SECRETS_LABEL = "SUBSCRIPTION"
_DISKS = {"virtio": "vda", "scsi": "sda", "sata": "sda", "ide": "sda", "usb": "sda"}


def disk_name(recipe: Recipe) -> str:
    """What a Linux guest calls its first disk on the recipe's bus (``hw_disk_bus``, virtio by default)."""
    return _DISKS[recipe.image_properties.get("hw_disk_bus", "virtio")]


def render(recipe: Recipe, install: KickstartInstall, token: str) -> str:
    """The kickstart for an installation that proves its success by ``SENTINEL`` and ``token`` on the serial line.

    Raises ``PipelineError`` with the line of the template that is wrong.
    """
    file = install.kickstart
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - no markup
    )
    try:
        template = environment.from_string(file.path.read_text(encoding="utf-8"))
        return template.render(_variables(recipe, install, token))
    except jinja2.TemplateSyntaxError as error:
        raise PipelineError(f"{file.given}:{error.lineno}: {error.message}") from None
    except jinja2.UndefinedError as error:
        known = ", ".join(sorted(_variables(recipe, install, token)))
        raise PipelineError(f"{file.given}: {error.message}", hint=f"a kickstart knows: {known}") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{file.given} is not UTF-8 text") from None


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
